"""Opens the door: each request is led through as a visit, and the door closes in good order."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Mapping

from bridge.clock import Clock, within
from bridge.network import Client
from bridge.proxy.body import Budget
from bridge.proxy.connection import Connection, PeerUid
from bridge.proxy.connections import Connections
from bridge.proxy.framing import Request
from bridge.proxy.ledger import Ledger
from bridge.proxy.means import Means
from bridge.proxy.pages import Metrics, Pages
from bridge.proxy.passage import Limits, Passage
from bridge.proxy.tally import Tally
from bridge.proxy.visit import Visit
from bridge.wire.outbox import Outbox

log = logging.getLogger("bridge")

__all__ = ["FrontDoor", "Limits", "Passage"]


class FrontDoor:
    """The server, as a protocol factory for ``loop.create_server``.

    Made inside the running event loop. *passage* is asked once per request. *peer_uid* tells, from
    our address and theirs, who is at the other end of a connection; *invite* how to log in to a
    provider, as half a sentence; *tell* takes the line of each answered request for the log; for
    *health*, *ready*, *metrics* and *instance* see ``pages``.
    """

    def __init__(
        self,
        *,
        passage: Callable[[], Passage],
        client: Client,
        clock: Clock,
        instance: str,
        health: Callable[[], Mapping[str, object]],
        ready: Callable[[str], bool | None],
        metrics: Metrics | None = None,
        invite: Callable[[str], Awaitable[str]],
        peer_uid: PeerUid,
        tell: Callable[[str], None] = log.info,
    ) -> None:
        self.tally = Tally()
        self._passage = passage
        self._clock = clock
        self._peer_uid = peer_uid
        self._prefix = instance[:6]
        pages = Pages(instance, health, ready, metrics)
        self._means = Means(client, clock, Budget(clock), pages, invite, self.tally, Ledger(), tell)
        self._connections = Connections(clock)
        self._outbox = Outbox()
        self._numbers = itertools.count(1)
        self._is_draining = False
        self._dropped = 0

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        return Connection(
            self._receive, self._connections, self._peer_uid, self._clock, self._outbox
        )

    @property
    def live(self) -> int:
        """How many exchanges are under way."""
        return self.tally.live

    @property
    def last_request(self) -> float:
        """When the last exchange began, on the wall clock; 0 for never."""
        return self.tally.last_request

    async def drain(self, seconds: float) -> int:
        """Let what is under way end, for *seconds* at most; say how many had to be dropped.

        Call it once the listeners are closed. Connections that wait for a request are closed at
        once, the others when their answer is out. :meth:`drop` ends the patience.
        """
        self._is_draining = True
        for connection in self._connections:
            connection.finish()
        ended = asyncio.create_task(self._connections.none.wait())
        if not await within(self._clock, seconds, ended):
            self.drop()
        await ended
        return self._dropped

    def drop(self) -> None:
        """Reset every connection now, with whatever is under way on it."""
        for connection in self._connections:
            self._dropped += connection.drop()

    def _receive(self, request: Request, connection: Connection) -> Visit:
        if self._is_draining:
            request.keeps = False
        number = f"{self._prefix}-{next(self._numbers)}"
        return Visit(request, connection, self._passage(), self._means, number)
