"""Judges the clock of this machine against those of the servers, and against itself.

Pure. Tokens are judged by the wall clock, so one that is far off renews too late or all the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bridge.doctor.finding import Finding, fail, ok, warn

SUBJECT: Final = "clock"
#: Seconds that a clock may be off; a Date header has whole ones, and an answer takes a moment.
TOLERANCE: Final = 60.0
#: No machine that runs this is older: 2025-01-01.
EPOCH: Final = 1735689600.0
SET: Final = "set the clock, by network time: timedatectl set-ntp true (macOS: sntp -sS)"


@dataclass(frozen=True, slots=True)
class Clocks:
    """What the clocks say: ours is *now*, and those of servers are ahead of it by *ahead*, by host.

    *margin* is half a token's lifetime. *jumped* is by how much the wall clock moved against the
    monotonic one while we looked, *newest* when the youngest file of ours was written. *asked* says
    that there was anybody to ask, *answered* that anybody did.
    """

    now: float
    ahead: Sequence[tuple[str, float]]
    margin: float
    jumped: float = 0.0
    newest: float = 0.0
    asked: bool = True
    answered: bool = True


def judge(clocks: Clocks) -> Iterator[Finding]:
    """Yield what is to be said of *clocks*."""
    if clocks.now < EPOCH:
        yield fail(SUBJECT, "it shows a year that is long gone", SET)
    elif clocks.newest - clocks.now > TOLERANCE:
        apart = spoken(clocks.newest - clocks.now)
        yield warn(SUBJECT, f"it was set back: a file of ours is from {apart} ahead", SET)
    if abs(clocks.jumped) > 1:
        text = f"it jumped by {spoken(abs(clocks.jumped))} while it was looked at"
        yield warn(SUBJECT, text, SET)
    yield _against_servers(clocks)


def spoken(seconds: float) -> str:
    """Return *seconds* as a person says them."""
    for size, unit in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _against_servers(clocks: Clocks) -> Finding:
    if not clocks.ahead:
        if not clocks.asked:
            return ok(SUBJECT, "not compared: no provider has a credential, so nobody was asked")
        if clocks.answered:
            return ok(SUBJECT, "not compared: no server that has answered tells the time")
        text = "it could not be compared, for no server has answered"
        return warn(SUBJECT, text, "connect to the network, then: bridge doctor")
    # A proxy may answer from a cache with an old date: most likely right is who is nearest.
    host, ahead = min(clocks.ahead, key=lambda each: abs(each[1]))
    if abs(ahead) <= TOLERANCE:
        return ok(SUBJECT, f"it agrees with {host}")
    text = f"it is {spoken(abs(ahead))} {'behind' if ahead > 0 else 'ahead of'} {host}"
    if abs(ahead) > clocks.margin:
        return fail(SUBJECT, f"{text}, which is more than half of a token's lifetime", SET)
    return warn(SUBJECT, text, SET)
