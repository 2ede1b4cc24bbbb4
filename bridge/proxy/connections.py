"""Keeps count of the accepted connections, and looks at them now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final, Protocol

from bridge.clock import Clock

#: Seconds between two looks at all connections, while there are any.
LOOK_SECONDS: Final = 30.0


class Member(Protocol):
    """One of the connections."""

    def finish(self) -> None:
        """Close when the answer under way is out; at once if there is none."""

    def drop(self) -> bool:
        """Break off with a reset; say whether anything was lost with it."""

    def look(self) -> None:
        """Close if nothing has come for too long."""


class Connections:
    """The connections that are open; *none* is set while there are none."""

    def __init__(self, clock: Clock) -> None:
        self.none = asyncio.Event()
        self.none.set()
        self._clock = clock
        self._open: set[Member] = set()
        self._looking: asyncio.Task[None] | None = None

    def __iter__(self) -> Iterator[Member]:
        """Go through those open now; they may be closed meanwhile."""
        return iter(list(self._open))

    def add(self, connection: Member) -> None:
        """Enter a connection that has been accepted."""
        self._open.add(connection)
        self.none.clear()
        if self._looking is None:
            self._looking = asyncio.create_task(self._look(), name="door look")

    def remove(self, connection: Member) -> None:
        """Strike out a connection that is closed."""
        self._open.discard(connection)
        if self._open:
            return
        self.none.set()
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def _look(self) -> None:
        """Close those on which nothing has come for too long: no connection has its own timer."""
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            for connection in self:
                connection.look()
