"""Goes through the loads in interleaved rounds, and repeats what others have disturbed."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.generator import Generator, LoadFailed, Result, WrongCredentials
from benchmarks.machine import CLOCK, FOREIGN_CORES, descriptors, resident_mb, wait_for_quiet
from benchmarks.phases import LOADS, Phase
from benchmarks.subjects import ALL, Subject

#: How often a load is put on again, while somebody else is at work.
REPEATS: Final = 2
#: Seconds that what has just started is left alone, so that its start is not measured.
SETTLE_SECONDS: Final = 0.5
#: Under a tenth of a second the kernel's ticks of 10 ms tell nothing about others.
TELLING_SECONDS: Final = 0.1

#: What one round has found: by phase, then by subject.
Round = dict[str, dict[str, Result]]


def undisturbed(load: Callable[[], Result], quiet: Callable[[], None], repeats: int) -> Result:
    """Return what *load* found at its least disturbed, put on again up to *repeats* times.

    *quiet* waits for a quiet moment. ``disturbed`` is 1.0 where even the best was disturbed.
    """
    found: list[Result] = []
    for _ in range(1 + repeats):
        quiet()
        found.append(load())
        if not _disturbed(found[-1]):
            break
    best = min(found, key=lambda result: result.get("foreign_cores", 0.0))
    return {**best, "disturbed": float(_disturbed(best)), "tries": float(len(found))}


def _disturbed(result: Result) -> bool:
    if result.get("seconds", 1.0) < TELLING_SECONDS:
        return False
    return result.get("foreign_cores", 0.0) > FOREIGN_CORES


def turned(names: Sequence[str], number: int) -> list[str]:
    """Return *names* beginning with another one in each round, so that none is always the first."""
    first = number % len(names) if names else 0
    return [*names[first:], *names[:first]]


@dataclass
class Bench:
    """The subjects *names* and the *rig* that loads them; its files are in *folder*.

    *say* is told what is going on. *failures* keeps what did not work, in words. With no
    *repeats* nobody waits for a quiet moment either.
    """

    rig: Generator
    folder: Path
    names: Sequence[str]
    say: Callable[[str], None]
    repeats: int = REPEATS
    failures: list[str] = field(default_factory=list)
    _made: int = 0

    def made(self, name: str, *, tls: bool = False) -> Subject:
        """Return the subject *name*, not yet started, with a folder of its own."""
        self._made += 1
        upstream = self.rig.secure if tls else self.rig.plain
        return ALL[name](upstream, self.folder / f"{name}-{self._made}")

    def quiet(self) -> None:
        """Return in a quiet moment, if anybody cares, or after a bounded time."""
        if self.repeats:
            wait_for_quiet()

    @contextlib.contextmanager
    def running(self, *, tls: bool = False) -> Iterator[Mapping[str, Subject]]:
        """Keep all subjects running, for the loads that are put on one after the other.

        Nothing is direct where *tls* is: the rig's client does not speak it.
        """
        names = [name for name in self.names if not (tls and name == "direct")]
        with contextlib.ExitStack() as stack:
            yield {name: stack.enter_context(self.made(name, tls=tls)) for name in names}

    def round(self, number: int, phases: Sequence[str], running: Mapping[str, Subject]) -> Round:
        """Return what each of *phases* finds for each subject, one right after the other."""
        found: Round = {}
        for phase in (LOADS[name] for name in phases):
            for name in turned(list(running), number):
                if phase.concerns(name, number):
                    with self.noted(f"{name}: {phase.name}"):
                        result = self._loaded(phase, running[name])
                        found.setdefault(phase.name, {})[name] = result
            if phase.name in found:
                self.say(f"round {number + 1}: {phase.name}: {_brief(found[phase.name])}")
        return found

    def _loaded(self, phase: Phase, subject: Subject) -> Result:
        def load() -> Result:
            if not phase.fresh:
                return self._put(phase, subject)
            with self.made(subject.name, tls=phase.tls) as fresh:
                CLOCK.pause(SETTLE_SECONDS)
                return self._put(phase, fresh)

        subject.alive()
        return undisturbed(load, self.quiet, self.repeats)

    def _put(self, phase: Phase, subject: Subject) -> Result:
        try:
            return self.rig.load(phase, subject)
        except LoadFailed as error:
            if words := subject.last_words():
                raise type(error)(f"{error}; its last words: {words}") from None
            raise

    @contextlib.contextmanager
    def noted(self, what: str) -> Iterator[None]:
        """Write down what fails within, and go on; but never after a wrong credential."""
        try:
            yield
        except WrongCredentials:
            raise
        except (LoadFailed, RuntimeError, OSError, subprocess.SubprocessError) as error:
            self.failures.append(f"{what}: {error}")
            self.say(f"FAILED {self.failures[-1]}")


def wear(running: Mapping[str, Subject]) -> dict[str, Result]:
    """Return what each subject holds after all that it has done so far."""
    return {
        name: {
            "resident_mb": sum(resident_mb(pid) for pid in subject.pids),
            "descriptors": float(sum(descriptors(pid) for pid in subject.pids)),
        }
        for name, subject in running.items()
        if subject.process
    }


def _brief(found: Mapping[str, Result]) -> str:
    keys = ("p50_us", "per_second", "mb_per_second", "kb_per_stream", "growth_mb", "resident_mb")
    return ", ".join(
        f"{name} {next((f'{result[key]:.4g}' for key in keys if key in result), '?')}"
        + ("*" if result.get("disturbed") else "")
        for name, result in found.items()
    )
