"""The far side of a connection: a server that says and does nothing but what a test tells it to.

A framework would read a request before it answers and close politely; here neither happens by
itself. Also the reader of what arrives on the near side.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, Self
from urllib.parse import SplitResult, urlsplit

from bridge.wire.connection import Connection
from bridge.wire.framing import Incoming
from bridge.wire.outbox import Outbox
from tests.fakes.clock import FakeClock

#: A request whose content does not matter, and a whole answer to it.
REQUEST: Final = b"GET / HTTP/1.1\r\nHost: far.example.test\r\n\r\n"
OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Line:
    """One accepted connection. Whatever sends returns once the kernel has the bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        writer.transport.set_write_buffer_limits(0)

    async def hears(self) -> bytes:
        """Return the next head, to its empty line."""
        return await self.reader.readuntil(b"\r\n\r\n")

    async def says(self, data: bytes) -> None:
        """Send *data* as it is."""
        self.writer.write(data)
        await self.writer.drain()

    async def answers(self, data: bytes = OK) -> bytes:
        """Hear a head, answer it with *data*, and return it."""
        head = await self.hears()
        await self.says(data)
        return head

    def finishes(self) -> None:
        """Say that nothing more comes (FIN), and go on listening."""
        self.writer.write_eof()

    def closes(self) -> None:
        """Close in good order."""
        self.writer.close()

    def breaks(self) -> None:
        """Close with a reset; what is not sent yet is lost."""
        raw: socket.socket | None = self.writer.get_extra_info("socket")
        if raw is not None and not self.writer.transport.is_closing():
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def is_left(self) -> bool:
        """Return once the near side has closed; ``True`` if it did so with a reset."""
        try:
            while await self.reader.read(1 << 20):
                pass
        except ConnectionError as error:
            return isinstance(error, ConnectionResetError)
        return False


class FarSide:
    """Listens on loopback within ``async with``; with *tls* it speaks TLS. *lines* has all."""

    def __init__(self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.lines: list[Line] = []
        self._tls = tls
        self._host = host
        self._accepted: asyncio.Queue[Line] = asyncio.Queue()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port it listens on."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> SplitResult:
        """Where it is, by the name that a certificate for ``localhost`` is good for."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        if self._tls is not None:
            return urlsplit(f"https://localhost:{self.port}/path")
        return urlsplit(f"http://{host}:{self.port}/path")

    async def accepts(self) -> Line:
        """Return the next connection."""
        return await self._accepted.get()

    def refuses(self) -> None:
        """Listen no more; lines that are open stay open."""
        assert self._server is not None
        self._server.close()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._opened, self._host, 0, ssl=self._tls, limit=1 << 16
        )
        return self

    async def __aexit__(self, *reason: object) -> None:
        assert self._server is not None
        self._server.close()
        for line in self.lines:
            line.writer.transport.abort()
        for line in self.lines:
            await asyncio.gather(line.writer.wait_closed(), return_exceptions=True)
        await self._server.wait_closed()

    def _opened(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(reader, writer)
        self.lines.append(line)
        self._accepted.put_nowait(line)


class Sink:
    """A reader that keeps what it takes; *whole* once the last has come."""

    def __init__(self) -> None:
        self.content = b""
        self.whole = False
        self.takes = 0
        self._changed = asyncio.Event()

    def take(self, pieces: Sequence[bytes], *, last: bool) -> None:
        """Keep what has come."""
        assert not self.whole
        self.content += b"".join(pieces)
        self.whole = last
        self.takes += 1
        self._changed.set()

    def flush(self) -> None:
        """Do nothing: nothing waits here."""

    async def has(self, size: int) -> None:
        """Return once *size* bytes of content are here."""
        while len(self.content) < size:
            self._changed.clear()
            await self._changed.wait()


class Asking:
    """Asks on a connection and tells a test of the answer through futures, head and end.

    What comes before :meth:`relay` stays with the connection.
    """

    def __init__(
        self,
        connection: Connection,
        body: bytes = b"",
        *,
        head: bytes = REQUEST,
        bodiless: bool = False,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.answered: asyncio.Future[Incoming] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.sink = Sink()
        self._connection = connection
        connection.ask(head, [body] if body else [], self, bodiless=bodiless)

    def relay(self, sink: Sink | None = None) -> asyncio.Future[None]:
        """Let the content through; the result is done when the answer has ended."""
        self.sink = sink or self.sink
        self._connection.relay(self)
        return self.ended

    def head(self, answer: Incoming) -> None:
        """Tell of the head."""
        self.answered.set_result(answer)

    def take(self, pieces: Sequence[bytes], *, last: bool) -> None:
        """Pass content on."""
        self.sink.take(pieces, last=last)
        if last:
            self.ended.set_result(None)

    def flush(self) -> None:
        """Do nothing: nothing waits here."""

    def failed(self, error: Exception) -> None:
        """Tell whoever waits."""
        for future in (self.answered, self.ended):
            if not future.done():
                future.set_exception(error)
                future.exception()  # nobody may be waiting


class Rack:
    """Where connections come back to when they may be used again."""

    def __init__(self) -> None:
        self.back: list[Connection] = []
        self.clock = FakeClock()

    def made(self) -> Connection:
        """Return a connection that comes back here."""
        return Connection(self.clock, self.back.append, Outbox())


@asynccontextmanager
async def connected(
    far: FarSide, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[Rack, Connection, Line]]:
    """A connection to *far*, and both ends of it."""
    rack = Rack()
    _, connection = await asyncio.get_running_loop().create_connection(
        rack.made, "127.0.0.1", far.port, ssl=tls, server_hostname="localhost" if tls else None
    )
    line = await far.accepts()
    try:
        yield rack, connection, line
    finally:
        connection.fail(ConnectionError("the test is over"))


async def asked(connection: Connection, body: bytes = b"", *, bodiless: bool = False) -> Sink:
    """Ask on *connection* and return what relaying the whole answer gives."""
    asking = Asking(connection, body, bodiless=bodiless)
    await asking.answered
    await asking.relay()
    return asking.sink


async def turns(number: int) -> None:
    """Let the event loop go round so often."""
    clock = FakeClock()
    for _ in range(number):
        await clock.sleep(0)


def descriptors() -> int:
    """Return how many file descriptors this process has open."""
    return len(os.listdir("/dev/fd"))  # noqa: PTH208 - the folder itself is one of them, each time


async def fewer_than(number: int) -> None:
    """Return once fewer than *number* file descriptors are open."""
    while descriptors() >= number:
        await turns(1)
