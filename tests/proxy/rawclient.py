"""A client that sends any bytes in any pieces, and keeps all that comes back and how it ended.

Nothing is framed, mended or thrown away on the way: what was received before a reset stays.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Literal, cast

from tests.fakes.clock import FakeClock

#: How long anything on loopback may take, in seconds; it only bounds a test that fails.
PATIENCE: Final = 30.0

#: How the other side ended a connection, ``""`` while it has not.
End = Literal["", "closed", "reset"]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as it came; *whole* says that it ended by its own framing."""

    status: int
    version: str
    headers: tuple[tuple[bytes, bytes], ...]
    content: bytes
    whole: bool

    def header(self, name: bytes) -> bytes:
        """Return the first value of *name*, or nothing."""
        return next((v for k, v in self.headers if k.lower() == name.lower()), b"")


class RawClient(asyncio.Protocol):
    """One connection to a front door; *received* has every byte of it, *end* how it ended.

    *bodiless* says that all it asks is HEAD.
    """

    def __init__(self) -> None:
        self.received = bytearray()
        self.end: End = ""
        self.bodiless = False
        self._changed = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    async def sends(self, data: bytes) -> None:
        """Send *data*; returns once this side's buffers take it, or the connection has ended."""
        if not self._open.is_closing():
            self._open.write(data)
        await self._writable.wait()

    async def drips(self, data: bytes, turns: int = 2) -> None:
        """Send *data* byte by byte, and let everybody else run in between."""
        for number in range(len(data)):
            await self.sends(data[number : number + 1])
            await passes(turns)

    async def hears(self, pattern: bytes, times: int = 1) -> None:
        """Return once *pattern* has come so often. Raises ``EOFError`` if the end comes first."""
        while self.received.count(pattern) < times:
            if self.end:
                raise EOFError(f"{pattern!r} is not in {bytes(self.received)!r}")
            await self._change()

    async def ends(self) -> End:
        """Return how the other side ended the connection, once it has."""
        while not self.end:
            await self._change()
        return self.end

    async def settles(self) -> None:
        """Return once no further answer can come: at the end, or when the last one says so."""
        while not self.end and not self._says_goodbye():
            await self._change()

    async def concludes(self) -> Answer | None:
        """Return the first final answer once it is whole, ``None`` if the end comes first."""
        while True:
            final = [answer for answer in self.answers if answer.status >= 200]
            if final and final[0].whole:
                return final[0]
            if self.end:
                return None
            await self._change()

    def half_closes(self) -> None:
        """Say that nothing more will be sent (FIN), and go on listening."""
        self._open.write_eof()

    def leaves(self, *, reset: bool = False) -> None:
        """Close with a FIN, or with a *reset*; harmless when it has ended."""
        raw: socket.socket | None = self._open.get_extra_info("socket")
        if reset and raw is not None and not self._open.is_closing():
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._open.abort()

    def stops_reading(self) -> None:
        """Leave what comes to the kernel."""
        self._open.pause_reading()

    def reads_on(self) -> None:
        """Read again."""
        self._open.resume_reading()

    @property
    def unsent(self) -> int:
        """How many bytes wait on this side, because the other one does not take them."""
        return self._open.get_write_buffer_size()

    @property
    def answers(self) -> list[Answer]:
        """The answers so far, interim ones included, by their own framing."""
        return answers(bytes(self.received), ended=self.end == "closed", bodiless=self.bodiless)

    @property
    def statuses(self) -> list[int]:
        """The status of each answer so far."""
        return [answer.status for answer in self.answers]

    @property
    def _open(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport

    def _says_goodbye(self) -> bool:
        if b"\r\nconnection: close\r\n" not in self.received.lower():
            return False
        final = self.answers[-1]
        return final.whole and final.header(b"connection").lower() == b"close"

    async def _change(self) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(PATIENCE):
                await self._changed.wait()
        except TimeoutError:
            raise AssertionError(
                f"nothing more comes behind {bytes(self.received[-500:])!r}"
            ) from None

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(0)

    def data_received(self, data: bytes) -> None:
        """Keep what comes."""
        self.received += data
        self._changed.set()

    def eof_received(self) -> bool:
        """Take note of an end in good order."""
        self.end = self.end or "closed"
        self._changed.set()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note of any other end."""
        self.end = self.end or ("reset" if exc is not None else "closed")
        self._changed.set()
        self._writable.set()

    def pause_writing(self) -> None:
        """Let whoever sends wait."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let them go on."""
        self._writable.set()


@asynccontextmanager
async def rawclient(port: int, *, send_buffer: int | None = None) -> AsyncIterator[RawClient]:
    """Connect to the front door at *port*; *send_buffer* lets the kernel hold less of what goes."""
    raw = socket.socket()
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if send_buffer is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    raw.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, ("127.0.0.1", port))
    _, client = await loop.create_connection(RawClient, sock=raw)
    try:
        yield client
    finally:
        client.leaves()


async def passes(turns: int) -> None:
    """Let the event loop go round so often."""
    clock = FakeClock()
    for _ in range(turns):
        await clock.sleep(0)


def answers(data: bytes, *, ended: bool, bodiless: bool = False) -> list[Answer]:
    """Return the answers in *data* whose heads are here.

    *ended* says that the end of *data* is the end of the last one, *bodiless* that none of them
    has content. Raises ``ValueError`` for what is no answer: a client would be out of step.
    """
    found: list[Answer] = []
    while b"\r\n\r\n" in data:
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        match = re.fullmatch(rb"HTTP/(1\.[01]) (\d{3}) [^\r\n]*", first)
        if match is None:
            raise ValueError(f"no answer begins so: {first!r}")
        pairs = tuple(_pair(line) for line in lines)
        content, whole = b"", True
        if not bodiless:
            content, whole, data = _content(int(match[2]), pairs, data, ended=ended)
        found.append(Answer(int(match[2]), match[1].decode(), pairs, content, whole))
    if (
        data
        and not (found and not found[-1].whole)
        and not data.startswith(b"HTTP/1."[: len(data)])
    ):
        raise ValueError(f"no answer begins so: {data[:50]!r}")
    return found


def _pair(line: bytes) -> tuple[bytes, bytes]:
    match = re.fullmatch(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00\r\n]*?)[ \t]*", line)
    if match is None:
        raise ValueError(f"no header is so: {line!r}")
    return match[1], match[2]


def _content(
    status: int, pairs: tuple[tuple[bytes, bytes], ...], data: bytes, *, ended: bool
) -> tuple[bytes, bool, bytes]:
    """Return content, whether it is whole, and what comes after it (RFC 9112 section 6.3)."""
    lengths = [value for name, value in pairs if name.lower() == b"content-length"]
    codings = [value for name, value in pairs if name.lower() == b"transfer-encoding"]
    if status < 200 or status in {204, 304}:
        if codings or (lengths and status == 204):
            raise ValueError(f"{status} with {lengths or codings}")
        return b"", True, data
    if codings:
        if lengths or codings != [b"chunked"]:
            raise ValueError(f"two framings: {lengths} {codings}")
        return _chunks(data)
    if lengths:
        if len(lengths) > 1:
            raise ValueError(f"several lengths: {lengths}")
        size = int(lengths[0])
        return data[:size], len(data) >= size, data[size:]
    return data, ended, b""


def _chunks(data: bytes) -> tuple[bytes, bool, bytes]:
    pieces: list[bytes] = []
    place = 0
    while (end := data.find(b"\r\n", place)) >= 0:
        size, begin = int(data[place:end], 16), end + 2
        place = begin + size + 2
        pieces.append(data[begin : begin + size])
        if len(data) < place:
            break
        if data[place - 2 : place] != b"\r\n":
            raise ValueError(f"a chunk ends in {data[place - 2 : place]!r}")
        if not size:
            return b"".join(pieces), True, data[place:]
    return b"".join(pieces), False, b""
