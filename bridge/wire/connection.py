"""Carries one request after another on one connection, and relays each answer as it comes.

The answer's content goes from ``data_received`` straight to its sink: no task wakes up for it and
nothing holds it. A connection is used again only after an answer that ended in good order; it may
serve another as soon as its sink has heard of the end.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import Final, cast

from bridge.clock import Clock
from bridge.wire.failure import Disconnected, NotHttp
from bridge.wire.framing import Incoming
from bridge.wire.outbox import Outbox
from bridge.wire.reader import Reader, Sink
from bridge.wire.tls import Context

#: Content that may wait for a reader before the upstream is told to pause, in bytes.
HELD_BYTES: Final = 256 * 1024
#: A body shorter than this goes out in one piece with its head; a longer one is not copied.
JOINED_BYTES: Final = 64 * 1024


class Connection(asyncio.Protocol):
    """One connection to an upstream; *idle* gets it back when it may be used again.

    *answer* is the one under way, whose content may still be held, ``None`` while there is none.
    """

    def __init__(self, clock: Clock, idle: Callable[[Connection], None], outbox: Outbox) -> None:
        self.served = 0
        self.heard_at = clock.monotonic()
        self.patience = float("inf")
        self.paused = False
        self.answer: Incoming | None = None
        self._clock = clock
        self._idle = idle
        self._outbox = outbox
        self._transport: asyncio.Transport | None = None
        self._tls: ssl.SSLObject | None = None
        self._reader: Reader | None = None
        self._sink: Sink | None = None

    # What asks.

    @property
    def usable(self) -> bool:
        """Whether this connection is open."""
        return self._transport is not None and not self._transport.is_closing()

    def ask(
        self, head: bytes, body: Sequence[bytes], reader: Reader, *, bodiless: bool = False
    ) -> None:
        """Send a request; *reader* is told of its answer until it ends, fails or is closed.

        *bodiless* says that no content follows whatever the head says (HEAD). Raises
        ``Disconnected`` where nothing can be sent; *reader* is not told then.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise Disconnected("closed", reused=self.served > 0)
        self.resume()  # whoever had it before may have said pause too late
        self.heard_at = self._clock.monotonic()
        self.answer = Incoming(bodiless=bodiless)
        self._reader = reader
        self._sink = None
        if sum(map(len, body)) < JOINED_BYTES:
            self._outbox.send(transport, b"".join((head, *body)))
        else:
            self._outbox.send(transport, head, *body)

    def relay(self, sink: Sink) -> None:
        """Pass the content to *sink* as it comes."""
        if self.answer is None:
            return  # it has been left, or its connection is gone, and its reader knows
        self._sink = sink
        self.resume()  # before the sink is full and says pause
        self._deliver(sink)
        if self._sink is sink:
            sink.flush()

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
            self._let_go()
            self._abort()

    def fail(self, error: Exception) -> None:
        """Give the connection up because of *error*; an answer that is whole can still be read."""
        answer, reader = self.answer, self._reader
        self._abort()
        if answer is None or answer.whole:
            return
        self._let_go()
        if reader is not None:
            reader.failed(error)

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
        begins = not answer.status
        try:
            answer.feed(data)
        except NotHttp as error:
            self.fail(error)
            return
        if self._sink is not None:
            self._deliver(self._sink)
        elif answer.status:
            if begins:
                self._announce(answer)
            if answer.held > HELD_BYTES and answer is self.answer and self._sink is None:
                self.pause()

    def eof_received(self) -> bool:
        """Take the end of the connection for the end of an answer that has no other."""
        if self.answer is not None and not self._is_cut_short():
            self.answer.end()
            if self._sink is not None:
                self._deliver(self._sink)
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

    def _announce(self, answer: Incoming) -> None:
        if self._reader is None:
            return
        try:
            self._reader.head(answer)
        except Exception as error:  # noqa: BLE001 - a bug there is told to whoever asked
            if answer is self.answer:
                answer.whole = False
                self.fail(error)

    def _deliver(self, sink: Sink) -> None:
        reader, answer = self._reader, self.answer
        if reader is None or answer is None:
            return
        whole = answer.whole
        if not whole and not answer.held:
            return
        if whole:
            self._finish()  # before anybody asks for the next
        try:
            sink.take(answer.taken(), last=whole)
        except Exception as error:  # noqa: BLE001 - as above
            if answer is self.answer:
                self.fail(error)
            else:
                reader.failed(error)

    def _finish(self) -> None:
        answer, transport = self.answer, self._transport
        self._let_go()
        if (
            answer is not None
            and answer.keeps
            and transport is not None
            and not transport.is_closing()
            # An upstream that answers early need not read the rest of the request.
            and not transport.get_write_buffer_size()
        ):
            self.resume()
            self.served += 1
            if self.served == 1 and self._tls is not None:
                _remember(self._tls)
            self._idle(self)
        else:
            self._abort()

    def _let_go(self) -> None:
        self.answer = self._reader = self._sink = None

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
        transport, self._transport = self._transport, None
        if transport is not None:
            # Not at once: asyncio's TLS calls us in the middle of its own farewell.
            asyncio.get_running_loop().call_soon(transport.abort)


def _remember(tls: ssl.SSLObject) -> None:
    """Let the next connection to the same server take up this one's session."""
    if isinstance(context := tls.context, Context):
        context.remember(tls)
