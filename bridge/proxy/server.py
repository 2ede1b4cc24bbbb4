"""Opens the door: accepts connections, asks whose they are, and closes in good order.

aiohttp parses the requests and keeps the connections; each request is a visit of its own.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from bridge.clock import Clock, within
from bridge.network import Client
from bridge.providers import Dialect
from bridge.proxy import dialect
from bridge.proxy.body import Budget
from bridge.proxy.pages import Pages
from bridge.proxy.passage import Limits, Passage
from bridge.proxy.reply import Reply, reset
from bridge.proxy.visit import Means, Totals, Visit

__all__ = ["FrontDoor", "Limits", "Passage"]

log = logging.getLogger("bridge")

#: Longer than any agent's pool keeps a connection, so that it is the agent who closes: a request
#: that crosses our close would be lost.
KEEPALIVE_SECONDS: Final = 600.0
#: Seconds for which what remains of a refused body is read, so that the refusal can be read.
LINGER_SECONDS: Final = 5.0
READ_BUFFER: Final = 256 * 1024
HEAD_LINE: Final = 64 * 1024

PeerUid = Callable[[tuple[str, int], tuple[str, int]], int | None]


class Connection(web.RequestHandler):
    """One accepted connection; *uid* is the user at its other end, ``None`` if nobody can tell."""

    __slots__ = ("_peer_uid", "uid")

    def __init__(self, manager: web.Server, peer_uid: PeerUid, **settings: Any) -> None:
        super().__init__(manager, loop=asyncio.get_running_loop(), **settings)
        self._peer_uid = peer_uid
        self.uid: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask the kernel at once: later the other end may be closed, and a port somebody else's."""
        ours, theirs = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        if ours and theirs:
            self.uid = self._peer_uid(ours[:2], theirs[:2])
        super().connection_made(transport)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP, shortly: aiohttp's own answer quotes what it could not read."""
        reason = "a line of its head is too long" if isinstance(exc, LineTooLong) else "not HTTP"
        log.warning("request failed status=%d error=%s", status, type(exc).__name__)
        content = dialect.document(
            Dialect.ANTHROPIC,
            "invalid_request_error",
            f"the request cannot be read ({reason}): use http://, and check what sends it",
        )
        response = web.Response(
            status=status,
            body=content,
            headers={"Server": "bridge"},
            content_type="application/json",
        )
        response.force_close()
        return response


class FrontDoor:
    """The server's side: a protocol factory for ``loop.create_server``.

    Made inside the running event loop. *passage* is asked once per request. *peer_uid* tells, from
    our address and theirs, who is at the other end of a connection; *invite* how to log in to a
    provider, as half a sentence; for *health*, *ready* and *instance* see ``pages``.
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
        invite: Callable[[str], Awaitable[str]],
        peer_uid: PeerUid,
    ) -> None:
        self.totals = Totals()
        self._passage = passage
        self._clock = clock
        self._instance = instance
        self._peer_uid = peer_uid
        pages = Pages(instance, health, ready)
        self._means = Means(client, clock, Budget(clock), pages, invite, self.totals)
        self._server = web.Server(self._receive, handler_cancellation=True)
        self._numbers = itertools.count(1)
        self._visits: dict[Connection, Visit] = {}
        self._is_draining = False
        self._empty = asyncio.Event()
        self._dropped = 0

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        return Connection(
            self._server,
            self._peer_uid,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=KEEPALIVE_SECONDS,
            lingering_time=LINGER_SECONDS,
            max_line_size=HEAD_LINE,
            max_field_size=HEAD_LINE,
            read_bufsize=READ_BUFFER,
        )

    @property
    def live(self) -> int:
        """How many exchanges are under way."""
        return self.totals.live

    @property
    def last_request(self) -> float:
        """When the last exchange began, on the wall clock; 0 for never."""
        return self.totals.last_request

    async def drain(self, seconds: float) -> int:
        """Let what is under way end, for *seconds* at most; say how many had to be dropped.

        Call it once the listeners are closed. Connections that wait for a request are closed at
        once, the others after their answer. :meth:`drop` ends the patience.
        """
        self._is_draining = True
        for connection in self._server.connections:
            if connection not in self._visits:
                connection.force_close()
        if self._visits:
            ended = asyncio.create_task(self._empty.wait())
            if not await within(self._clock, seconds, ended):
                self.drop()
            await ended
        for connection in self._server.connections:
            connection.force_close()
        return self._dropped

    def drop(self) -> None:
        """Reset every connection that has an exchange under way, now."""
        for connection in list(self._visits):
            self._dropped += 1
            reset(connection.transport)

    async def _receive(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, Connection)
        visit = Visit(
            request,
            connection.uid,
            self._passage(),
            self._means,
            number=f"{self._instance[:6]}-{next(self._numbers)}",
            last=self._is_draining,
        )
        self._visits[connection] = visit
        try:
            return await visit.run()
        finally:
            if self._is_draining:
                visit.reply.close_after()
            del self._visits[connection]
            if not self._visits:
                self._empty.set()
