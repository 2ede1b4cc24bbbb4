"""Counts what has gone through the house since the start; whoever wants to know reads it here."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

#: Upper ends, in seconds, of the classes in which the time that bridge adds is counted.
BOUNDS: Final = (
    *(0.00005, 0.0001, 0.00015, 0.0002, 0.0003, 0.0005, 0.00075),
    *(0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.03, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)


class Outcome(StrEnum):
    """How a request ended.

    *ANSWERED*: the answer is out, whatever its status; *FAILED*: bridge had to answer itself;
    *CUT*: the upstream broke in mid-answer; *ABANDONED*: the client went away.
    """

    ANSWERED = "answered"
    FAILED = "failed"
    CUT = "cut"
    ABANDONED = "abandoned"


class Spread:
    """How times are spread: *counts* for each class of :data:`BOUNDS`, one more for beyond."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one time."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def quantile(self, share: float) -> float | None:
        """Return the time, in seconds, that *share* of all did not exceed, ``None`` without any.

        Within a class times are taken to be spread evenly; what is beyond all counts as its bound.
        """
        wanted = share * sum(self.counts)
        passed, below = 0, 0.0
        for count, bound in zip(self.counts, BOUNDS, strict=False):
            if count and passed + count >= wanted:
                return below + (bound - below) * (wanted - passed) / count
            passed, below = passed + count, bound
        return BOUNDS[-1] if self.counts[-1] else None


@dataclass(slots=True)
class Account:
    """What has gone through to one provider: *ended* requests by outcome and status.

    *sent* are bytes of content sent to clients; *added* the time that bridge took for itself, of
    answered requests only.
    """

    ended: dict[tuple[Outcome, int], int] = field(default_factory=dict)
    sent: int = 0
    added: Spread = field(default_factory=Spread)


@dataclass(slots=True)
class Tally:
    """What has gone through since the start.

    *requests* have begun, *live* are under way, *last_request* is when the last one began (wall
    clock, 0 for never). *providers* holds what has ended, by the provider's name. *last_error* is
    what bridge last had to refuse or break off, in words, and *last_error_at* when.
    """

    requests: int = 0
    live: int = 0
    last_request: float = 0.0
    last_error: str = ""
    last_error_at: float = 0.0
    providers: dict[str, Account] = field(default_factory=dict)

    def enter(
        self, provider: str, outcome: Outcome, status: int, sent: int, added: float | None = None
    ) -> None:
        """Count a request that has ended; *added* (seconds) where it was answered."""
        account = self.providers.get(provider)
        if account is None:
            account = self.providers[provider] = Account()
        key = (outcome, status)
        account.ended[key] = account.ended.get(key, 0) + 1
        account.sent += sent
        if added is not None:
            account.added.observe(added)

    @property
    def sent(self) -> int:
        """How many bytes of content have been sent to clients."""
        return sum(account.sent for account in self.providers.values())

    @property
    def added(self) -> Spread:
        """The time that bridge took for itself, over all providers."""
        spread = Spread()
        for account in self.providers.values():
            spread.total += account.added.total
            for place, count in enumerate(account.added.counts):
                spread.counts[place] += count
        return spread
