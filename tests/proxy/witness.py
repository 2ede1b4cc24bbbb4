"""An upstream that trusts nobody: it keeps every byte that reaches it and reads in one way only.

A bridge frames each request anew, by a length or as one without content. Whatever else comes
(another framing, a second request behind the first, a byte that no head may have) is a complaint.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import struct
from dataclasses import dataclass, field
from typing import Final, Self, cast

_LINE: Final = re.compile(rb"([A-Z-]+) ([\x21-\x7e]+) HTTP/1\.1")
_HEADER: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([\x20-\x7e\x80-\xff\t]*)")


@dataclass(frozen=True, slots=True)
class Sent:
    """One request as it came: its very bytes, and how they read."""

    method: str
    target: str
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    body: bytes
    raw: bytes = field(repr=False)
    line: Line = field(repr=False)

    def values(self, name: bytes) -> list[bytes]:
        """Return every value of *name*, whatever its case."""
        return [v for k, v in self.headers if k.lower() == name.lower()]

    @property
    def gist(self) -> tuple[str, str, bytes]:
        """What was asked for, without the headers."""
        return self.method, self.target, self.body

    def answers(self, content: bytes = b"ok") -> None:
        """Answer it whole."""
        if self.method == "HEAD":
            content = b""
        self.line.says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content)


class Line(asyncio.Protocol):
    """One connection from the bridge; *over* is set when it has been closed."""

    def __init__(self, witness: Witness) -> None:
        self.over = asyncio.Event()
        self._witness = witness
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def says(self, data: bytes) -> None:
        """Send *data* as it is, if anybody is still there."""
        if not self._open.is_closing():
            self._open.write(data)

    def closes(self) -> None:
        """Close in good order."""
        self._open.close()

    def breaks(self) -> None:
        """Close with a reset; what is not sent yet is lost."""
        raw: socket.socket | None = self._open.get_extra_info("socket")
        if raw is not None and not self._open.is_closing():
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._open.abort()

    def vanishes(self) -> None:
        """Close with a FIN and no other word: over TLS without its close_notify."""
        self._open.abort()

    @property
    def unsent(self) -> int:
        """How many bytes nobody has taken yet."""
        return self._open.get_write_buffer_size()

    @property
    def _open(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._witness.lines.append(self)

    def data_received(self, data: bytes) -> None:
        """Read on, strictly."""
        self._buffer += data
        try:
            sent = self._read()
        except ValueError as error:
            self._witness.complaints.append(str(error))
            return
        if sent is not None:
            self._witness.takes(sent)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note; what has come of a request that never ended is not forgotten."""
        self.over.set()
        if self._buffer:
            self._witness.leftovers.append(self._buffer)

    def _read(self) -> Sent | None:
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return None
        first, *lines = head.split(b"\r\n")
        line = _LINE.fullmatch(first)
        pairs = [_HEADER.fullmatch(each) for each in lines]
        if line is None or None in pairs:
            raise ValueError(f"no head is so: {head!r}")
        headers = tuple((pair[1], pair[2]) for pair in pairs if pair is not None)
        size = _length(headers)
        if len(rest) < size:
            return None
        if len(rest) > size:
            raise ValueError(f"something behind a request: {rest[size:]!r}")
        self._buffer = b""
        method, target = line[1].decode(), line[2].decode()
        return Sent(method, target, headers, rest, head + separator + rest, self)


def _length(headers: tuple[tuple[bytes, bytes], ...]) -> int:
    names = [name.lower() for name, _ in headers]
    if b"transfer-encoding" in names or names.count(b"host") != 1:
        raise ValueError(f"a framing or a host too many: {headers}")
    lengths = [value for name, value in headers if name.lower() == b"content-length"]
    if len(lengths) > 1 or not all(re.fullmatch(rb"0|[1-9][0-9]*", each) for each in lengths):
        raise ValueError(f"lengths that are none: {lengths}")
    return int(lengths[0]) if lengths else 0


class Witness:
    """Listens on loopback within ``async with``.

    *requests* are those that have come whole, in order, *leftovers* what never became one, and
    *complaints* what no bridge may send. Each request is answered at once, with its number among
    all of them as its content, or with *content*, unless *hold* is set (:meth:`arrives`). With
    *tls* it speaks TLS.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Sent] = []
        self.leftovers: list[bytes] = []
        self.complaints: list[str] = []
        self.lines: list[Line] = []
        self.hold = False
        self.content: bytes | None = None
        self._held: asyncio.Queue[Sent] = asyncio.Queue()
        self._tls = tls
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return f"https://localhost:{port}" if self._tls else f"http://127.0.0.1:{port}"

    @property
    def gists(self) -> list[tuple[str, str, bytes]]:
        """What has been asked for, in order."""
        return [sent.gist for sent in self.requests]

    def takes(self, sent: Sent) -> None:
        """Keep a request and answer it, or leave it to the test."""
        self.requests.append(sent)
        if self.hold:
            self._held.put_nowait(sent)
        else:
            sent.answers(b"%d" % len(self.requests) if self.content is None else self.content)

    async def arrives(self) -> Sent:
        """Return the next request that is the test's to answer."""
        return await self._held.get()

    @property
    def waiting(self) -> int:
        """How many requests wait for the test."""
        return self._held.qsize()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Line(self), "127.0.0.1", 0, ssl=self._tls, backlog=4096
        )
        return self

    async def __aexit__(self, *reason: object) -> None:
        assert self._server is not None
        self._server.close()
        for line in self.lines:
            line.closes()
        for line in self.lines:
            await line.over.wait()
        await self._server.wait_closed()
