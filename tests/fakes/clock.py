"""Time in the hand of a test: nothing passes unless the test says so.

Stands in for :class:`bridge.clock.SystemClock`. A wait that is over resumes at the next turn of
the event loop, as with the real clock; whoever advances asynchronously may ``await`` anything to
see its effect.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from typing import Final, TypeVar

T = TypeVar("T")

#: Where every test begins: a round moment (15 January 2027) that no file on disk is dated after.
EPOCH: Final = 1_800_000_000.0


class FakeClock:
    """A clock that stands still until it is advanced.

    *slept* keeps the seconds of every wait asked for, in order, so that a test can read a
    back-off from it. Concurrency: everything but :meth:`pause` belongs to one event loop.
    """

    def __init__(self, epoch: float = EPOCH) -> None:
        self.slept: list[float] = []
        self._wall = epoch
        self._monotonic = 1_000.0
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._watching: list[tuple[int, asyncio.Future[None]]] = []

    def now(self) -> float:
        """Return the wall clock in seconds since the epoch."""
        return self._wall

    def monotonic(self) -> float:
        """Return seconds on the clock that :meth:`jump` does not touch."""
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been advanced by *seconds*; zero or less only yields once."""
        self.slept.append(seconds)
        if seconds <= 0:
            await _turn()
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (self._monotonic + seconds, next(self._order), woken))
        self._notify()
        await woken

    def pause(self, seconds: float) -> None:
        """Let *seconds* pass at once: nobody else could advance the clock of a blocked thread."""
        self.slept.append(seconds)
        self._pass_until(self._monotonic + max(0.0, seconds))

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass on both clocks and wake who is due, earliest deadline first.

        A sleeper that goes to sleep again counts from the end of the advance, because it only
        runs once the caller yields; step in smaller advances where that matters.
        """
        if seconds < 0:
            raise ValueError("time does not go back: use jump() for a changed wall clock")
        self._pass_until(self._monotonic + seconds)

    def jump(self, seconds: float) -> None:
        """Move the wall clock alone, either way: a suspended machine or a corrected clock."""
        self._wall += seconds

    async def sleepers(self, number: int = 1) -> None:
        """Return once at least *number* tasks wait for this clock."""
        if self.waiting >= number:
            return
        enough: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watching.append((number, enough))
        await enough

    @property
    def waiting(self) -> int:
        """How many tasks wait for this clock; a cancelled one no longer counts."""
        return sum(not woken.done() for _, _, woken in self._waiting)

    @property
    def deadlines(self) -> list[float]:
        """The seconds that each waiting task still has to wait, soonest first."""
        waiting = sorted(due for due, _, woken in self._waiting if not woken.done())
        return [due - self._monotonic for due in waiting]

    async def run_until(self, task: asyncio.Task[T]) -> T:
        """Advance from deadline to deadline until *task* is done, and return its result.

        For work that waits for nothing but this clock: while somebody else sleeps too, a task that
        also waits for a socket or a thread would find hours passing meanwhile.
        """
        while not task.done():
            somebody = asyncio.create_task(self.sleepers(1))
            await asyncio.wait({task, somebody}, return_when=asyncio.FIRST_COMPLETED)
            somebody.cancel()
            if not task.done() and self.deadlines:
                self.advance(self.deadlines[0])
                await _turn()
        return task.result()

    def _pass_until(self, moment: float) -> None:
        while self._waiting and self._waiting[0][0] <= moment:
            due, _, woken = heapq.heappop(self._waiting)
            self._move(max(due, self._monotonic))
            if not woken.done():
                woken.set_result(None)
        self._move(moment)

    def _move(self, moment: float) -> None:
        self._wall += moment - self._monotonic
        self._monotonic = moment

    def _notify(self) -> None:
        number = self.waiting
        for wanted, enough in self._watching:
            if wanted <= number and not enough.done():
                enough.set_result(None)
        self._watching = [(n, f) for n, f in self._watching if not f.done()]


async def _turn() -> None:
    """Let everything else that is ready run once."""
    await asyncio.sleep(0)  # noqa: TID251  # this module is the clock
