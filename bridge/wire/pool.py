"""Keeps connections warm: the next request to the same place finds one open.

Idle connections are given up before the servers that we know of close them, because a request that
crosses their close would be lost. One look for all of them, now and then, also ends exchanges in
which an upstream has been silent for too long, so that no exchange needs a timer of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final
from urllib.parse import SplitResult

from bridge.clock import Clock
from bridge.wire.connection import Connection
from bridge.wire.connector import Connector, place
from bridge.wire.failure import Silent, WireError
from bridge.wire.outbox import Outbox
from bridge.wire.tls import Authorities

CONNECT_SECONDS: Final = 10.0
#: nginx gives up idle connections after 60 to 75 s.
KEEPALIVE_SECONDS: Final = 55.0
#: Seconds between two looks at all connections; a short silence limit is looked at more often.
LOOK_SECONDS: Final = 5.0
#: A look that is later than this, in seconds, tells that this process was stopped or starved.
OVERSLEPT_SECONDS: Final = 1.0
#: How many URLs are remembered with their origins.
REMEMBERED: Final = 256

Origin = tuple[str, str, int, str]


class Pool:
    """Connections by origin. Made inside a running event loop, closed with :meth:`close`."""

    def __init__(
        self,
        clock: Clock,
        tls: Authorities,
        proxy_for: Callable[[SplitResult], SplitResult | None],
    ) -> None:
        self._clock = clock
        self._proxy_for = proxy_for
        self._connector = Connector(clock, tls, CONNECT_SECONDS)
        self._origins: dict[SplitResult, Origin] = {}
        self._idle: dict[Origin, list[Connection]] = {}
        self._ahead: dict[Origin, asyncio.Task[None]] = {}
        self._busy: set[Connection] = set()
        self._outbox = Outbox()
        self._looking: asyncio.Task[None] | None = None
        self._generation = 0

    def retune(
        self, tls: Authorities, proxy_for: Callable[[SplitResult], SplitResult | None]
    ) -> None:
        """Open connections by other settings from now on; exchanges under way keep theirs."""
        self._generation += 1
        self._proxy_for = proxy_for
        self._origins.clear()
        self._connector = Connector(self._clock, tls, CONNECT_SECONDS)
        idle, self._idle = self._idle, {}
        for connection in (c for row in idle.values() for c in row):
            connection.fail(Silent("retired"))

    def warm(self, url: SplitResult, idle_seconds: float) -> Connection | None:
        """Return a connection to the origin of *url* that is open already, if there is one.

        See :meth:`take`.
        """
        origin = self._origin(url)
        connection = self._warm(origin)
        if connection is not None:
            self._enter(connection, idle_seconds)
            self._open_ahead(url, origin)
        return connection

    async def take(self, url: SplitResult, idle_seconds: float) -> Connection:
        """Return a connection to the origin of *url*, warm if there is one.

        *idle_seconds* bounds each silence of the upstream. The connection comes back by itself
        after an answer that ended in good order. Raises what :meth:`Connector.open` raises.
        """
        origin = self._origin(url)
        connection = self._warm(origin)
        if connection is None:
            connection = await self._opened(url, origin, self._generation)
        self._enter(connection, idle_seconds)
        self._open_ahead(url, origin)
        return connection

    async def close(self) -> None:
        """Close every connection, with whatever is under way on it."""
        self._generation += 1
        opening = [*self._ahead.values()]
        for task in opening:
            task.cancel()
        await asyncio.gather(*opening, return_exceptions=True)
        for connection in [*self._busy, *(c for row in self._idle.values() for c in row)]:
            connection.fail(Silent("closed"))
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    async def _opened(self, url: SplitResult, origin: Origin, generation: int) -> Connection:
        back = partial(self._back, origin, generation)
        made = partial(Connection, self._clock, back, self._outbox)
        return await self._connector.open(url, self._proxy_for(url), made)

    def _open_ahead(self, url: SplitResult, origin: Origin) -> None:
        """Have a spare connection where a handshake is what the next request would wait for.

        Agents ask several things at once; what one of them has warmed is in use then.
        """
        if url.scheme == "https" and not self._idle.get(origin) and origin not in self._ahead:
            spare = self._spare(url, origin, self._generation)
            self._ahead[origin] = asyncio.create_task(spare, name="wire spare")

    async def _spare(self, url: SplitResult, origin: Origin, generation: int) -> None:
        try:
            connection = await self._opened(url, origin, generation)
        except (WireError, OSError):
            return  # the next request will find out, and say so
        finally:
            self._ahead.pop(origin, None)
        self._back(origin, generation, connection)

    def _origin(self, url: SplitResult) -> Origin:
        origin = self._origins.get(url)
        if origin is None:
            proxy = self._proxy_for(url)
            origin = url.scheme, *place(url), proxy.geturl() if proxy else ""
            if len(self._origins) >= REMEMBERED:
                self._origins.clear()
            self._origins[url] = origin
        return origin

    def _enter(self, connection: Connection, idle_seconds: float) -> None:
        connection.patience = idle_seconds
        self._busy.add(connection)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="wire look")

    def _warm(self, origin: Origin) -> Connection | None:
        row = self._idle.get(origin, [])
        while row:
            connection = row.pop()  # the one used last is the least likely to be closed
            if connection.usable and not self._expired(connection):
                return connection
            connection.fail(Silent("expired"))
        return None

    def _back(self, origin: Origin, generation: int, connection: Connection) -> None:
        self._busy.discard(connection)
        if generation != self._generation:
            connection.fail(Silent("retired"))
            return
        self._idle.setdefault(origin, []).append(connection)

    def _expired(self, connection: Connection) -> bool:
        return self._clock.monotonic() - connection.heard_at > KEEPALIVE_SECONDS

    async def _look(self) -> None:
        """Look at all connections until there are none."""
        while self._busy or any(self._idle.values()):
            step = min((c.patience / 4 for c in self._busy), default=LOOK_SECONDS)
            due = self._clock.monotonic() + min(step, LOOK_SECONDS)
            await self._clock.sleep(min(step, LOOK_SECONDS))
            now = self._clock.monotonic()
            # A process that was stopped hears of its timers first: what has come is yet to be read.
            if now - due <= OVERSLEPT_SECONDS:
                self._sweep(now)

    def _sweep(self, now: float) -> None:
        """End who has been silent for too long; nothing of it is held until the next look."""
        for connection in list(self._busy):
            if not connection.usable:
                self._busy.discard(connection)
            elif not connection.paused and now - connection.heard_at > connection.patience:
                self._busy.discard(connection)
                connection.fail(Silent("silent for too long"))
        for origin, row in self._idle.items():
            self._idle[origin] = [c for c in row if self._kept(c)]

    def _kept(self, connection: Connection) -> bool:
        if connection.usable and not self._expired(connection):
            return True
        connection.fail(Silent("expired"))
        return False
