"""Keeps the accepted connections: whose each is, what is asked on it, and how one is broken off.

Requests on a connection are led through one after the other; what comes ahead waits its turn.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol, cast

from bridge.clock import Clock
from bridge.providers import Dialect
from bridge.proxy import dialect
from bridge.proxy.connections import Connections
from bridge.proxy.framing import Garbled, Request, Requests
from bridge.proxy.head import Head
from bridge.proxy.reply import Reply, reset
from bridge.wire.outbox import Outbox

log = logging.getLogger("bridge")

#: Looks for which a connection may be idle: longer than any agent's pool keeps one (10 minutes), so
#: that it is the agent who closes. A request that crosses our close would be lost.
KEEPALIVE_LOOKS: Final = 20
#: Looks that a head may take; nobody types one by hand.
HEAD_LOOKS: Final = 2
#: Seconds for which what remains of a refused body is read, so that the refusal can be read.
LINGER_SECONDS: Final = 5.0
#: Bytes of requests that may come ahead of their turn.
AHEAD_BYTES: Final = 64 * 1024

#: Who is at the other end of a connection, from our address and theirs; ``None``: nobody can tell.
PeerUid = Callable[[tuple[str, int], tuple[str, int]], int | None]


class Visitor(Protocol):
    """One request on its way through the house."""

    request: Request
    reply: Reply

    def begin(self) -> None:
        """Lead the request through; its connection's ``done`` is called at the end."""

    def leave(self) -> None:
        """Hear that the client has gone."""

    def pause(self) -> None:
        """Let no more of the answer come: the client does not read."""

    def resume(self) -> None:
        """Let it come again."""


class Connection(asyncio.Protocol):
    """One accepted connection.

    *uid* is the user at its other end, ``None`` if nobody can tell; *visit* what is under way,
    if anything is; *has_asked* says that something was, *is_full* that the client does not read.
    """

    def __init__(
        self,
        receive: Callable[[Request, Connection], Visitor],
        connections: Connections,
        peer_uid: PeerUid,
        clock: Clock,
        outbox: Outbox,
    ) -> None:
        self.uid: int | None = None
        self.visit: Visitor | None = None
        self.has_asked = self.is_full = False
        self._receive = receive
        self._connections = connections
        self._peer_uid = peer_uid
        self._clock = clock
        self.outbox = outbox
        self._requests = Requests()
        self._garbled: Garbled | None = None
        self._looks = self._head_looks = self._ahead = 0
        self._is_calling = False
        self._is_finishing = False
        self._remains: Request | None = None
        self._lingering: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport

    @property
    def transport(self) -> asyncio.Transport:
        """What carries it."""
        return self._transport

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask whose it is at once: later the other end may be closed, and its port another's."""
        ours, theirs = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        if ours and theirs:  # a client may be gone before we look
            self.uid = self._peer_uid(ours[:2], theirs[:2])
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Frame what has come, and lead through what can be."""
        requests = self._requests
        try:
            requests.feed(data)
        except Garbled as garbled:
            self._garbled = garbled
        visit = self.visit
        if self._remains is not None:
            self._discard(self._remains)
        elif visit is None:
            self._call()
        else:
            if visit.request.changed is not None:
                visit.request.changed()
            self._hold_back(len(data))
        self._looks = 0
        if not requests.begun:
            self._head_looks = 0

    def eof_received(self) -> None:
        """Take a client that has said its last word for gone: the transport closes by itself."""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - gone is gone
        """Leave what is under way; whatever was sent in good order is out by now."""
        self._connections.remove(self)
        self._requests.close()
        self._requests.arrived.clear()
        if self._lingering is not None:
            self._lingering.cancel()
        if self.visit is not None:
            self.visit.leave()

    def pause_writing(self) -> None:
        """Let what feeds this connection wait: the client does not read."""
        self.is_full = True
        if self.visit is not None:
            self.visit.pause()

    def resume_writing(self) -> None:
        """Let it go on: the client reads again."""
        self.is_full = False
        if self.visit is not None:
            self.visit.resume()

    # What a visit and the door say.

    def pause(self) -> None:
        """Let nothing more come for now."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Let it come again."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def done(self, visit: Visitor) -> None:
        """Hear that *visit* has ended, and lead the next one through."""
        self.visit = None
        if visit.reply.stays and not self._is_finishing:
            self._call()
        elif visit.request.whole or visit.request.garbled:
            self._close()
        else:
            self._linger(visit.request)

    def finish(self) -> None:
        """Close it when the answer under way is out; at once if there is none."""
        self._is_finishing = True
        if self.visit is None:
            self._close()
        else:
            self.visit.reply.stays = False

    def drop(self) -> bool:
        """Break the connection off with a reset; say whether anything was lost with it."""
        loses = self.visit is not None or self._transport.get_write_buffer_size() > 0
        reset(self._transport)
        return loses

    def look(self) -> None:
        """Count a look; close it if many have found nothing new, or a head that does not end."""
        if self.visit is not None:
            return
        self._looks += 1
        self._head_looks += self._requests.begun
        if max(self._looks / KEEPALIVE_LOOKS, self._head_looks / HEAD_LOOKS) > 1:
            self._close()

    def _call(self) -> None:
        """Lead through what has arrived, one after the other."""
        if self._is_calling:
            return
        self._is_calling = True
        arrived = self._requests.arrived
        while self.visit is None and arrived and not self._transport.is_closing():
            self.visit = visit = self._receive(arrived.popleft(), self)
            self.has_asked = True
            if self._ahead and not arrived:
                self._ahead = 0
                self.resume()
            visit.begin()
        self._is_calling = False
        garbled = self._garbled
        if garbled and self.visit is None and not arrived and not self._transport.is_closing():
            self._refuse(garbled)

    def _close(self) -> None:
        """Close it once what was written is sent."""
        self.outbox.close(self._transport)

    def _hold_back(self, size: int) -> None:
        """Let no more come than a little ahead of its turn."""
        if self._requests.arrived:
            self._ahead += size
            if self._ahead > AHEAD_BYTES:
                self.pause()

    def _refuse(self, garbled: Garbled) -> None:
        """Answer what is no HTTP; never a traceback, never an echo."""
        log.warning("request failed status=400 error=Garbled reason=%s", garbled)
        content = dialect.document(
            Dialect.ANTHROPIC,
            "invalid_request_error",
            f"the request cannot be read ({garbled}): use http://, and check what sends it",
        )
        reply = Reply(
            self._transport, self.outbox, Request(Head("GET", "/"), 0, is_11=True, keeps=False)
        )
        reply.whole(400, [(b"Server", b"bridge"), (b"Content-Type", b"application/json")], content)
        self._close()

    def _linger(self, request: Request) -> None:
        """Read what remains of *request* for a while: closed at once, its answer might be lost."""
        self._remains = request
        self._discard(request)
        self._lingering = asyncio.create_task(self._wait_for_the_rest(), name="linger")

    async def _wait_for_the_rest(self) -> None:
        await self._clock.sleep(LINGER_SECONDS)
        self._close()

    def _discard(self, request: Request) -> None:
        request.pieces.clear()
        if request.whole or request.garbled:
            self._close()
