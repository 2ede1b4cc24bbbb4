"""Tells the time and waits: the only room with a clock on the wall.

Everything else that needs a time takes a number, and everything that waits takes a :class:`Clock`,
so that a test can hold time in its hand.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Protocol


class Clock(Protocol):
    """What a room may know of time."""

    def now(self) -> float:
        """Return the wall clock in seconds since the epoch; it may jump either way."""

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back; only differences mean anything."""

    async def sleep(self, seconds: float) -> None:
        """Wait for *seconds* on the monotonic clock; cancellation ends the wait at once."""

    def pause(self, seconds: float) -> None:
        """Block this thread for *seconds*; for command-line code that has no event loop."""


class SystemClock:
    """The clock of the machine."""

    __slots__ = ()

    def now(self) -> float:
        """Return the wall clock in seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait without blocking the event loop."""
        await asyncio.sleep(seconds)

    def pause(self, seconds: float) -> None:
        """Block this thread."""
        time.sleep(seconds)


async def within(clock: Clock, seconds: float, awaited: asyncio.Future[Any]) -> bool:
    """Wait for *awaited* for at most *seconds* and say whether it is done.

    The future is not owned: neither running out of patience nor being cancelled here touches it.
    """
    patience = asyncio.create_task(clock.sleep(seconds))
    try:
        await asyncio.wait([awaited, patience], return_when=asyncio.FIRST_COMPLETED)
    finally:
        patience.cancel()
    return awaited.done()
