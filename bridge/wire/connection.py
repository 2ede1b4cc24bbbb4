"""Carries one request after another on one connection, and relays each answer as it comes.

The answer's content goes from ``data_received`` straight to its reader: no task wakes up for it
and nothing holds it. llhttp (through httptools) frames it, by content-length, chunks or the end of
the connection; what is passed on is content only, so that a reader frames it anew and no stray byte
ever gets through. A connection is used again only after an answer that ended in good order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol, cast

import httptools

from bridge.clock import Clock
from bridge.wire.failure import Disconnected, NotHttp, WireError

RawPair = tuple[bytes, bytes]

#: Content that may wait for a reader before the upstream is told to pause, in bytes.
HELD_BYTES: Final = 256 * 1024
#: A body shorter than this goes out in one piece with its head; a longer one is not copied.
JOINED_BYTES: Final = 64 * 1024
#: The longest head of an answer, in bytes: llhttp itself knows no limit.
HEAD_BYTES: Final = 256 * 1024


class Reader(Protocol):
    """Takes the content of an answer."""

    def take(self, pieces: Sequence[bytes], *, last: bool) -> None:
        """Take what has come; *last* says that the answer is whole now. Must not block."""

    def flush(self) -> None:
        """Send what waits for content, as none is here yet."""


class Connection(asyncio.Protocol):
    """One connection to an upstream; *idle* gets it back when it may be used again."""

    def __init__(self, clock: Clock, idle: Callable[[Connection], None]) -> None:
        self.served = 0
        self.heard_at = clock.monotonic()
        self.patience = float("inf")
        self.paused = False
        self._clock = clock
        self._idle = idle
        self._transport: asyncio.Transport | None = None
        self._forget()

    def _forget(self) -> None:
        """Be ready for another answer."""
        self._parser = httptools.HttpResponseParser(self)
        self._head: asyncio.Future[int] | None = None
        self._ended: asyncio.Future[None] | None = None
        self._reader: Reader | None = None
        self._pieces: list[bytes] = []
        self._held = self._head_bytes = 0
        self._complete = False
        self._delimited = False
        self._bodiless = False
        self._reusable = False
        self.status = 0
        self.reason = b""
        self.headers: list[RawPair] = []

    # What asks.

    @property
    def usable(self) -> bool:
        """Whether a request may be sent on this connection now."""
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, head: bytes, body: bytes, *, bodiless: bool) -> None:
        """Send a request and return when the head of its answer is here.

        *bodiless* says that no content follows whatever the head says (HEAD). Afterwards *status*,
        *reason* and *headers* are the answer's. Raises ``WireError``; cancelling breaks the
        connection off.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise Disconnected("closed", reused=self.served > 0)
        self._bodiless = bodiless
        self.heard_at = self._clock.monotonic()
        loop = asyncio.get_running_loop()
        self._head, self._ended = loop.create_future(), loop.create_future()
        if len(body) < JOINED_BYTES:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)
        try:
            await self._head
        except asyncio.CancelledError:
            self.close()
            raise

    def relay(self, reader: Reader) -> asyncio.Future[None]:
        """Pass the content to *reader* as it comes; the result is done when the answer has ended.

        Its exception, a ``WireError``, says that the answer is not whole.
        """
        if (ended := self._ended) is None:
            raise Disconnected("nothing was asked")
        self._reader = reader
        self._deliver()
        self.resume()
        return ended

    def pause(self) -> None:
        """Let no more content come for now: its reader cannot take it."""
        if self._transport is not None and not self.paused:
            self.paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Let content come again."""
        if self._transport is not None and self.paused:
            self.paused = False
            self.heard_at = self._clock.monotonic()
            self._transport.resume_reading()

    def close(self) -> None:
        """Leave the answer: what is left of it is dropped, with the connection if it must be."""
        if self._ended is None:
            return  # it has been relayed to its end, and the connection may serve another by now
        if self._complete:
            self._finish()
        else:
            self._abort()

    def fail(self, error: WireError) -> None:
        """Give the exchange up because of *error*."""
        self._break(error)

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be connected."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Frame what has come and pass its content on."""
        self.heard_at = self._clock.monotonic()
        if self._head is None:
            self._abort()  # nobody asked: whatever this is, it answers nothing
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._break(NotHttp("the answer breaks the rules of HTTP"))
            return
        if not self.status:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._break(NotHttp("the head of the answer has no end"))
                return
        if self._reader is not None:
            self._deliver()
        elif self._held > HELD_BYTES:
            self.pause()

    def eof_received(self) -> bool:
        """Take the end of the connection for the end of an answer that has no other."""
        if self.status and not self._delimited and not self._complete:
            self._complete = True
            self._deliver()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what is under way: an answer that has not ended is not whole."""
        self._transport = None
        reason = "reset" if exc is not None else "closed"
        self._break(Disconnected(reason, reused=self.served > 0))

    # What llhttp finds.

    def on_message_begin(self) -> None:
        """Find the beginning of an answer, or of what nobody asked for."""
        if self._complete:
            self._reusable = False

    def on_status(self, status: bytes) -> None:
        """Keep the reason phrase."""
        if not self._complete:
            self.reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; what comes after the content (a trailer) is left behind."""
        if not self.status and not self._complete:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Hand the head over, unless it is an interim one (RFC 9110 section 15.2)."""
        if self._complete:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self.headers, self.reason = [], b""
            return
        self.status = status
        names = {name.lower() for name, _ in self.headers}
        without = self._bodiless or status in {204, 304}
        self._delimited = without or bool(names & {b"content-length", b"transfer-encoding"})
        if self._bodiless:
            # llhttp would wait for the content that a HEAD only announces.
            self._complete = True
        if self._head is not None and not self._head.done():
            self._head.set_result(status)

    def on_body(self, body: bytes) -> None:
        """Keep a piece of content until the read that brought it is over."""
        if not self._complete:
            self._pieces.append(body)
            self._held += len(body)

    def on_message_complete(self) -> None:
        """Find the end of the answer."""
        if self.status and not self._complete:
            self._complete = True
            self._reusable = self._parser.should_keep_alive()

    # How it ends.

    def _deliver(self) -> None:
        if self._reader is None:
            return
        pieces, self._pieces, self._held = self._pieces, [], 0
        if pieces or self._complete:
            self._reader.take(pieces, last=self._complete)
        if self._complete:
            self._finish()

    def _finish(self) -> None:
        ended, self._reader = self._ended, None
        if ended is not None and not ended.done():
            ended.set_result(None)
        # Whoever was cancelled at this very moment still closes what it holds.
        left = ended is not None and ended.cancelled()
        if self._reusable and self.usable and not left:
            self.resume()
            self.served += 1
            self._forget()
            self._idle(self)
        else:
            self._abort()

    def _break(self, error: WireError) -> None:
        self._reusable = False
        for future in (self._head, self._ended):
            if future is not None and not future.done() and not self._complete:
                future.set_exception(error)
                future.exception()  # whoever waits gets it; nobody may be waiting any more
        self._abort()

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
