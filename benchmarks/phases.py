"""What is measured: one row for each load, with the words that the load generator takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Phase:
    """One load: its *name*, the generator's *words*, and how it is applied.

    *fresh*: to a subject that has just started, because memory that was once used stays. *tls*:
    with TLS between the subject and the upstream. *full*: only when everything is asked for.
    *growth*: for the tables of how cost grows, which is looked at once in a run, of two subjects.
    """

    name: str
    words: str
    fresh: bool = False
    tls: bool = False
    full: bool = False
    growth: bool = False

    def concerns(self, subject: str, number: int) -> bool:
        """Say whether *subject* is loaded in round *number*."""
        if self.growth:
            return number == 0 and subject in GROWING
        return subject != "direct" or not (self.fresh or self.tls)


#: Whose growth is shown.
GROWING: Final = ("nginx", "bridge")
#: The loads of the table in ``docs/performance.md``, and their like over TLS.
TABLE: Final = (
    Phase("small", "-mode requests -seconds 1.5"),
    Phase("many", "-mode requests -streams 32 -seconds 2"),
    Phase("first", "-mode first -seconds 1.5"),
    Phase("paced50", "-mode paced -streams 50 -seconds 3"),
    Phase("paced500", "-mode paced -streams 500 -seconds 3"),
    Phase("flat", "-mode flat -megabytes 600 -batch 80"),
    Phase("body1m", "-mode requests -size 1000000 -seconds 1.5"),
    Phase("idle", "-mode idle", fresh=True),
    Phase("open500", "-mode silent -streams 500 -seconds 1", fresh=True),
    Phase("stalled", "-mode stalled -megabytes 200", fresh=True),
    Phase("small-tls", "-mode requests -seconds 1.5", tls=True, full=True),
    Phase("first-tls", "-mode first -seconds 1.5", tls=True, full=True),
    Phase("paced50-tls", "-mode paced -streams 50 -seconds 3", tls=True, full=True),
    Phase("flat-tls", "-mode flat -megabytes 300 -batch 80", tls=True, full=True),
)

#: How cost grows with the streams and with the size of a body; the number is what it grows with.
STREAMS: Final = (1, 50, 500, 1000)
BODIES: Final = (10_000, 100_000, 1_000_000, 10_000_000, 32_000_000)
GROWTH: Final = (
    *(
        Phase(
            f"streams{n}", f"-mode paced -streams {n} -rate 10 -seconds 3", full=True, growth=True
        )
        for n in STREAMS
    ),
    *(
        Phase(
            f"silent{n}",
            f"-mode silent -streams {n} -seconds 2",
            fresh=True,
            full=True,
            growth=True,
        )
        for n in STREAMS
    ),
    *(
        Phase(
            f"body{n}", f"-mode requests -size {n} -seconds 1.5", fresh=True, full=True, growth=True
        )
        for n in BODIES
    ),
)

LOADS: Final = {phase.name: phase for phase in (*TABLE, *GROWTH)}
#: Phases without a load: commands whose running time is taken.
COMMANDS: Final = ("start", "check")


def chosen(names: str, *, full: bool) -> list[str]:
    """Return the phases that *names* (separated by commas) ask for; none named means all.

    Raises ``ValueError`` for a name that there is not.
    """
    every = [*LOADS, *COMMANDS]
    if names:
        wanted = [name for name in names.split(",") if name]
        if unknown := [name for name in wanted if name not in every]:
            raise ValueError(f"no such phase: {', '.join(unknown)}: there are {', '.join(every)}")
        return wanted
    return [name for name in every if full or name in COMMANDS or not LOADS[name].full]
