"""Asks once on a connection of its own and reads the answer whole, to a limit.

For what is small and precious, as a token is: the connection serves this one request and is closed
afterwards, whatever comes of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import SplitResult

from bridge.clock import Clock, within
from bridge.wire.connection import Connection
from bridge.wire.failure import Silent, WireError
from bridge.wire.framing import Incoming, RawPair


@dataclass(frozen=True, slots=True)
class Question:
    """A request: *url* goes out as it is, without its fragment, and *headers* in their order."""

    method: str
    url: SplitResult
    headers: Sequence[tuple[str, str]]
    body: bytes = field(default=b"", repr=False)

    @property
    def head(self) -> bytes:
        """The head as it is sent; raises ``ValueError`` for what would break out of its line."""
        target = (self.url.path or "/") + (f"?{self.url.query}" if self.url.query else "")
        pairs = [("Host", self.url.netloc.rpartition("@")[2]), *self.headers]
        if self.body or self.method != "HEAD":
            pairs.append(("Content-Length", str(len(self.body))))
        lines = [f"{self.method} {target} HTTP/1.1", *(f"{name}: {text}" for name, text in pairs)]
        lines.append("Connection: close")
        if any(not line.isprintable() for line in lines):
            raise ValueError("a line of the request's head is not printable")
        return "\r\n".join([*lines, "", ""]).encode()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: *content* is all of it, or nothing where that was more than the limit.

    *broken* says what ended an answer that has no other end than its connection's, where that end
    was not in good order: the content may be whole, and its reader has to see.
    """

    status: int
    headers: Sequence[RawPair] = field(repr=False)
    content: bytes = field(repr=False)
    broken: WireError | None = None

    def header(self, name: str) -> str:
        """Return the first value of *name*, whatever its case, or an empty string."""
        wanted = name.lower().encode()
        found = (value for key, value in self.headers if key.lower() == wanted)
        return next(found, b"").decode("latin-1")


async def ask(
    connection: Connection,
    question: Question,
    clock: Clock,
    *,
    silence_seconds: float,
    until: float,
    limit: int,
) -> Answer:
    """Send *question* on *connection*, which nobody else has, and return the whole answer.

    *silence_seconds* bounds each silence, *until* on the monotonic *clock* the whole exchange, and
    *limit* the content, in bytes. Raises ``WireError``: the request may have arrived then, unless
    nothing could be sent (``Disconnected`` where the connection was not usable). However this
    ends, also by cancellation, the connection is closed.
    """
    reading = _Reading(connection, limit)
    try:
        body = [question.body] if question.body else []
        connection.ask(question.head, body, reading, bodiless=question.method == "HEAD")
        while not reading.ended.done():
            left = min(connection.heard_at + silence_seconds, until) - clock.monotonic()
            if left > 0:
                await within(clock, left, reading.ended)
            else:
                reading.failed(Silent("silent for too long"))
        return reading.answer()
    finally:
        connection.fail(Silent("left"))


class _Reading:
    """The reader of one answer, which also takes its content; *ended* is done at the end."""

    def __init__(self, connection: Connection, limit: int) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._connection = connection
        self._limit = limit
        self._incoming: Incoming | None = None
        self._content = bytearray()
        self._error: Exception | None = None

    def head(self, answer: Incoming) -> None:
        """Take the head, and let the content come."""
        self._incoming = answer
        self._connection.relay(self)

    def take(self, pieces: Sequence[bytes], *, last: bool) -> None:
        """Keep content, to the limit."""
        self._content += b"".join(pieces)
        if len(self._content) > self._limit:
            self._content.clear()
            self._connection.close()
            last = True
        if last:
            self.ended.set_result(None)

    def flush(self) -> None:
        """Do nothing: nothing waits here."""

    def failed(self, error: Exception) -> None:
        """Keep why there will be no more."""
        if not self.ended.done():
            self._error = error
            self.ended.set_result(None)

    def answer(self) -> Answer:
        """Return what has come; raises what kept it from being whole."""
        incoming, error = self._incoming, self._error
        if incoming is None:
            raise error or AssertionError("an answer without a head")
        if error is None or (isinstance(error, WireError) and _ends_with_its_connection(incoming)):
            return Answer(incoming.status, incoming.headers, bytes(self._content), error)
        raise error


def _ends_with_its_connection(answer: Incoming) -> bool:
    names = {name.lower() for name, _ in answer.headers}
    return names.isdisjoint({b"content-length", b"transfer-encoding"})
