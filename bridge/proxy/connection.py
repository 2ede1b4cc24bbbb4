"""Keeps the accepted connections: whose each is, which are open, and how one is broken off.

aiohttp's ``RequestHandler`` parses the requests on a connection and hands them on one by one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Final, Protocol, cast

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from bridge.providers import Dialect
from bridge.proxy import dialect
from bridge.proxy.reply import Reply, reset

log = logging.getLogger("bridge")

#: Longer than any agent's pool keeps a connection, so that it is the agent who closes: a request
#: that crosses our close would be lost.
KEEPALIVE_SECONDS: Final = 600.0
#: Seconds for which what remains of a refused body is read, so that the refusal can be read.
LINGER_SECONDS: Final = 5.0
READ_BUFFER: Final = 256 * 1024
HEAD_LINE: Final = 64 * 1024

#: Who is at the other end of a connection, from our address and theirs; ``None``: nobody can tell.
PeerUid = Callable[[tuple[str, int], tuple[str, int]], int | None]


class Flow(Protocol):
    """What feeds a connection, and can wait."""

    def pause(self) -> None:
        """Send no more for now."""

    def resume(self) -> None:
        """Send again."""


class Connections:
    """The connections that are open; *none* is set while there are none."""

    def __init__(self) -> None:
        self.none = asyncio.Event()
        self.none.set()
        self._open: set[Connection] = set()

    def __iter__(self) -> Iterator[Connection]:
        """Go through those open now; they may be closed meanwhile."""
        return iter(list(self._open))

    def add(self, connection: Connection) -> None:
        """Enter a connection that has been accepted."""
        self._open.add(connection)
        self.none.clear()

    def remove(self, connection: Connection) -> None:
        """Strike out a connection that is closed."""
        self._open.discard(connection)
        if not self._open:
            self.none.set()


class Connection(web.RequestHandler):
    """One accepted connection.

    *uid* is the user at its other end, ``None`` if nobody can tell; *reply* the answer under way
    on it, ``None`` while it waits for a request; *source* what that answer is relayed from.
    """

    #: The base class forgets its own when it begins to close.
    _accepted: asyncio.Transport

    __slots__ = ("_accepted", "_connections", "_peer_uid", "reply", "source", "uid")

    def __init__(self, manager: web.Server, connections: Connections, peer_uid: PeerUid) -> None:
        super().__init__(
            manager,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # aiohttp's own way to have none
            auto_decompress=False,
            keepalive_timeout=KEEPALIVE_SECONDS,
            lingering_time=LINGER_SECONDS,
            max_line_size=HEAD_LINE,
            max_field_size=HEAD_LINE,
            read_bufsize=READ_BUFFER,
        )
        self._connections = connections
        self._peer_uid = peer_uid
        self.uid: int | None = None
        self.reply: Reply | None = None
        self.source: Flow | None = None

    def pause_writing(self) -> None:
        """Let what feeds this connection wait: the client does not read."""
        super().pause_writing()
        if self.source is not None:
            self.source.pause()

    def resume_writing(self) -> None:
        """Let it go on: the client reads again."""
        super().resume_writing()
        if self.source is not None:
            self.source.resume()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask whose it is at once: later the other end may be closed, and its port another's."""
        ours, theirs = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        if ours and theirs:  # a client may be gone before we look
            self.uid = self._peer_uid(ours[:2], theirs[:2])
        self._accepted = cast("asyncio.Transport", transport)
        self._connections.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Cancel what is under way; whatever was sent in good order is out by now."""
        super().connection_lost(exc)
        self._connections.remove(self)

    def finish(self) -> None:
        """Close it when the answer under way is out; at once if there is none."""
        if self.reply is None:
            self.force_close()
        else:
            self.reply.close_after()

    def drop(self) -> bool:
        """Break the connection off with a reset; say whether anything was lost with it."""
        transport = self._accepted
        loses = self.reply is not None or transport.get_write_buffer_size() > 0
        reset(transport)
        return loses

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002 - the base class decides what it passes
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it quotes what could not be read
    ) -> web.StreamResponse:
        """Return the answer to what is no HTTP; never a traceback, never an echo."""
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
            headers={"Server": "bridge", "Content-Type": "application/json"},
        )
        response.force_close()
        return response
