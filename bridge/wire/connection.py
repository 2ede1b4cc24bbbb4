"""Carries one request after another on one connection, and relays each answer as it comes.

The answer's content goes from ``data_received`` straight to its reader: no task wakes up for it
and nothing holds it. A connection is used again only after an answer that ended in good order, and
never while anybody still holds it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import Final, Protocol, cast

from bridge.clock import Clock
from bridge.wire.failure import Disconnected, NotHttp
from bridge.wire.framing import Incoming

#: Content that may wait for a reader before the upstream is told to pause, in bytes.
HELD_BYTES: Final = 256 * 1024
#: A body shorter than this goes out in one piece with its head; a longer one is not copied.
JOINED_BYTES: Final = 64 * 1024


class Reader(Protocol):
    """Takes the content of an answer."""

    def take(self, pieces: Sequence[bytes], *, last: bool) -> None:
        """Take what has come; *last* says that the answer is whole now. Must not block."""

    def flush(self) -> None:
        """Send what waits for content, as none is here yet."""


class Connection(asyncio.Protocol):
    """One connection to an upstream; *idle* gets it back when it may be used again.

    *answer* is the one under way, whose content may still be held, ``None`` while there is none.
    """

    def __init__(self, clock: Clock, idle: Callable[[Connection], None]) -> None:
        self.served = 0
        self.heard_at = clock.monotonic()
        self.patience = float("inf")
        self.paused = False
        self.answer: Incoming | None = None
        self._clock = clock
        self._idle = idle
        self._transport: asyncio.Transport | None = None
        self._tls: ssl.SSLObject | None = None
        self._reader: Reader | None = None
        self._head: asyncio.Future[None] | None = None
        self._ended: asyncio.Future[None] | None = None

    # What asks.

    @property
    def usable(self) -> bool:
        """Whether this connection is open."""
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, head: bytes, body: bytes, *, bodiless: bool) -> Incoming:
        """Send a request and return its answer when the head of it is here.

        *bodiless* says that no content follows whatever the head says (HEAD). Raises ``WireError``;
        cancelling breaks the connection off.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise Disconnected("closed", reused=self.served > 0)
        self.heard_at = self._clock.monotonic()
        self.answer = answer = Incoming(bodiless=bodiless)
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
        return answer

    def relay(self, reader: Reader) -> asyncio.Future[None]:
        """Pass the content to *reader* as it comes; the result is done when the answer has ended.

        Its exception says that the answer is not whole: a ``WireError``, or what *reader* raised.
        """
        if (ended := self._ended) is None:
            raise Disconnected("nothing was asked")
        self._reader = reader
        self.resume()  # before *reader* is full and says pause
        self._deliver()
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
        if self.answer is None:
            return  # it has been relayed to its end
        if self.answer.whole:
            self._finish()
        else:
            self._abort()

    def fail(self, error: Exception) -> None:
        """Give the connection up because of *error*; an answer that is whole can still be read."""
        if self.answer is not None and not self.answer.whole:
            for future in (self._head, self._ended):
                if future is not None and not future.done():
                    future.set_exception(error)
                    future.exception()  # whoever waits gets it; nobody may be waiting any more
        self._abort()

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._tls = transport.get_extra_info("ssl_object")

    def data_received(self, data: bytes) -> None:
        """Frame what has come and pass its content on."""
        self.heard_at = self._clock.monotonic()
        answer = self.answer
        if answer is None:
            self._abort()  # nobody asked: whatever this is, it answers nothing
            return
        try:
            answer.feed(data)
        except NotHttp as error:
            self.fail(error)
            return
        if self._reader is not None:
            self._deliver()
        elif answer.status:
            if self._head is not None and not self._head.done():
                self._head.set_result(None)
            if answer.held > HELD_BYTES:
                self.pause()

    def eof_received(self) -> bool:
        """Take the end of the connection for the end of an answer that has no other."""
        if self.answer is not None and not self._is_cut_short():
            self.answer.end()
            self._deliver()
        self._abort()  # a request that is not out would keep the connection, and who waits for it
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what is under way: an answer that has not ended is not whole."""
        was_open, self._transport = self._transport is not None, None
        if was_open and self.paused and self._tls is not None:
            self._drain(self._tls)
        reason = "reset" if exc is not None else "closed"
        self.fail(Disconnected(reason, reused=self.served > 0))

    # How it ends.

    def _deliver(self) -> None:
        reader, answer = self._reader, self.answer
        if reader is None or answer is None:
            return
        if answer.held or answer.whole:
            try:
                reader.take(answer.taken(), last=answer.whole)
            except Exception as error:  # noqa: BLE001 - a bug there is told to whoever waits
                answer.whole = False
                self.fail(error)
                return
        if answer.whole:
            self._finish()

    def _finish(self) -> None:
        answer, ended, transport = self.answer, self._ended, self._transport
        self._reader = None
        # Whoever was cancelled at this very moment still closes what it holds.
        left = ended is not None and ended.cancelled()
        if ended is not None and not ended.done():
            ended.set_result(None)
        if (
            answer is not None
            and answer.keeps
            and not left
            and transport is not None
            and not transport.is_closing()
            # An upstream that answers early need not read the rest of the request.
            and not transport.get_write_buffer_size()
        ):
            self.resume()
            self.served += 1
            self.answer = None
            self._idle(self)
        else:
            self._abort()

    def _is_cut_short(self) -> bool:
        """Whether TLS ended without its close_notify, which anybody on the way can bring about.

        RFC 9112 section 9.8: no answer may be taken for whole then that has no other end.
        """
        try:
            return self._tls is not None and self._tls.read(1) != b""
        except ssl.SSLError:
            return True

    def _drain(self, tls: ssl.SSLObject) -> None:
        """Take what has come during a pause: uvloop leaves it behind when TLS ends meanwhile."""
        try:
            while self.answer is not None and not self.answer.whole:
                if data := tls.read(HELD_BYTES):
                    self.data_received(data)
                else:
                    self.eof_received()
                    return
        except ssl.SSLError:
            return  # no more is here

    def _abort(self) -> None:
        transport, self._transport, self._reader = self._transport, None, None
        if transport is not None:
            # Not at once: asyncio's TLS calls us in the middle of its own farewell.
            asyncio.get_running_loop().call_soon(transport.abort)
