"""Keeps count of the accepted connections, looks at them now and then, and makes room for more.

Anybody on the machine may connect, so that connections are what another user could use up: beyond
a number those go that are not in use, strangers' first.
"""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from bridge.clock import Clock

#: Seconds between two looks at all connections, while there are any.
LOOK_SECONDS: Final = 30.0
#: Connections of other users, or of nobody knows whom, of which none is in use.
STRANGERS: Final = 256
#: Descriptors for everything that is no request: files, listeners, the log.
SPARE_DESCRIPTORS: Final = 64


class Member(Protocol):
    """One of the connections.

    *uid* is the user at its other end, ``None`` if nobody can tell; *visit* what is under way on
    it, if anything is; *has_asked* says that a request has come on it.
    """

    uid: int | None
    has_asked: bool

    @property
    def visit(self) -> object | None:
        """What is under way, ``None`` while it waits for a request."""

    def finish(self) -> None:
        """Close when the answer under way is out; at once if there is none."""

    def drop(self) -> bool:
        """Break off with a reset; say whether anything was lost with it."""

    def look(self) -> None:
        """Close if nothing has come for too long."""


class Connections:
    """The connections that are open, *most* at a time; *none* is set while there are none."""

    def __init__(self, clock: Clock, most: int | None = None) -> None:
        self.none = asyncio.Event()
        self.none.set()
        self._clock = clock
        self._most = _affordable() if most is None else most
        self._uid = os.geteuid()
        # In the order in which they were accepted.
        self._open: dict[Member, None] = {}
        self._strangers: dict[Member, None] = {}
        self._looking: asyncio.Task[None] | None = None

    def __iter__(self) -> Iterator[Member]:
        """Go through those open now; they may be closed meanwhile."""
        return iter(list(self._open))

    def add(self, connection: Member) -> None:
        """Enter a connection that has been accepted; where there are too many, one has to go."""
        self._open[connection] = None
        self.none.clear()
        if connection.uid != self._uid:
            self._strangers[connection] = None
            if len(self._strangers) > STRANGERS:
                self._dismiss(_unused(self._strangers))
        if len(self._open) > self._most:
            others = (each for each in self._open if not each.has_asked)
            unused = _unused(self._strangers) or _unused(others) or _unused(self._open)
            self._dismiss(unused or connection)
        if self._looking is None and self._open:
            self._looking = asyncio.create_task(self._look(), name="door look")

    def remove(self, connection: Member) -> None:
        """Strike out a connection that is closed."""
        self._open.pop(connection, None)
        self._strangers.pop(connection, None)
        if self._open:
            return
        self.none.set()
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def _dismiss(self, connection: Member | None) -> None:
        if connection is not None:
            self.remove(connection)
            connection.drop()

    async def _look(self) -> None:
        """Close those on which nothing has come for too long: no connection has its own timer."""
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            for connection in self:
                connection.look()


def _unused(connections: Iterable[Member]) -> Member | None:
    """Return the oldest of *connections* on which nothing is under way."""
    return next((each for each in connections if each.visit is None), None)


def _affordable() -> int:
    """Return how many connections the descriptors of this process allow: each may take two."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(8, (soft - SPARE_DESCRIPTORS) // 2) if soft > 0 else 1 << 30
