"""Writes an answer to the client: head and bytes exactly as they are given, or a reset.

The framework's own responses add ``Server``, ``Date`` and ``Content-Type`` and encode headers anew,
so the head is written here and only framing (RFC 9112 section 6) and ``Connection`` are ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Final

from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter

from bridge.proxy.head import RawPair

_NO_LINGER: Final = struct.pack("ii", 1, 0)
_FRAMING: Final = frozenset({b"connection", b"transfer-encoding"})


class Reply(web.StreamResponse):
    """One answer on its way to the client.

    *begun* and *sent* (bytes of content) tell how far it is. As a ``StreamResponse`` it satisfies
    aiohttp, whose own part (``prepare``, ``write_eof``) is already done when its turn comes.
    """

    def __init__(self, request: web.BaseRequest, *, last: bool = False) -> None:
        """Answer *request*; *last* closes the connection afterwards."""
        super().__init__()
        self.begun = False
        self.sent = 0
        self._writer = request.writer
        self._socket = request.transport
        self._version = request.version
        self._has_content = request.method != "HEAD"
        self._is_chunked = False
        self._unsent = b""
        self._stays = request.keep_alive and not last

    @property
    def keep_alive(self) -> bool:
        """Whether the connection serves another request after this answer."""
        return self._stays

    def proceed(self) -> None:
        """Tell a client that waits for it to send its body (RFC 9110 section 10.1.1)."""
        if self._version >= HttpVersion11:
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def close_after(self) -> None:
        """Close the connection after this answer: what follows on it cannot be trusted."""
        self._stays = False

    async def begin(self, status: int, reason: str, headers: Iterable[RawPair]) -> None:
        """Send the head at once; see :meth:`open`."""
        await self.open(status, reason, headers)
        self.flush()
        await self._writer.drain()

    async def open(self, status: int, reason: str, headers: Iterable[RawPair]) -> None:
        """Make the head, which goes out with the first content or at :meth:`flush`.

        The content is delimited by the ``content-length`` among *headers*, else by chunks, else
        (HTTP/1.0) by the end of the connection. Waits for a client that has not read the answer
        before this one.
        """
        without = _FRAMING
        if status < 200 or status in {204, 304}:
            self._has_content = False
            if status == 204:
                # RFC 9110 section 8.6 forbids it, and some clients wait for what it announces.
                without = _FRAMING | {b"content-length"}
        lines: list[bytes] = []
        has_length = False
        for name, value in headers:
            lowered = name.lower()
            if lowered not in without:
                has_length = has_length or lowered == b"content-length"
                lines.append(b"%b: %b\r\n" % (name, value))
        if self._has_content and not has_length:
            lines += self._delimited()
        lines += self._connection()
        minor = 0 if self._version == HttpVersion10 else 1
        line = f"HTTP/1.{minor} {status} {reason if reason.isprintable() else ''}\r\n".encode()
        self._unsent = b"".join([line, *lines, b"\r\n"])
        self.begun = True
        await self._writer.drain()

    def flush(self) -> None:
        """Send the head if no content has taken it along. Raises ``ConnectionError``."""
        if self._unsent:
            head, self._unsent = self._unsent, b""
            self._write(head)

    def take(self, pieces: Sequence[bytes], *, last: bool) -> None:
        """Pass on what has come of the answer, at once; *last* ends it in good order.

        Does not wait for a client that does not read: its connection says so to the upstream's.
        """
        transport = self._socket
        if transport is None or transport.is_closing():
            return  # the visit is being cancelled
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if not self._has_content:
            data = b""
        self.sent += len(data)
        if self._is_chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            if last:
                data += b"0\r\n\r\n"
        if self._unsent:
            data, self._unsent = self._unsent + data, b""
        if data:
            transport.write(data)

    async def send(self, data: bytes) -> None:
        """Send *data* at once, and wait while the client does not read what was sent before."""
        if not self._has_content:
            return
        self.sent += len(data)
        self._write(b"%x\r\n%b\r\n" % (len(data), data) if self._is_chunked else data)
        await self._writer.drain()

    async def end(self) -> None:
        """Finish the answer in good order."""
        if self._is_chunked:
            self._write(b"0\r\n\r\n")
            await self._writer.drain()

    async def whole(self, status: int, headers: Iterable[RawPair], content: bytes) -> None:
        """Send a whole answer of our own."""
        length = (b"content-length", b"%d" % len(content))
        await self.begin(status, HTTPStatus(status).phrase, [*headers, length])
        await self.send(content)
        await self.end()

    def abort(self) -> None:
        """Break the connection with a reset, so that nobody takes what was sent for whole.

        A plain ``abort()`` sends a FIN, which ends an answer in good order for HTTP/1.0 and for
        readers until close. Bytes not yet sent are lost.
        """
        self._stays = False
        reset(self._socket)

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Do nothing: the head has been sent."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: the end has been sent."""

    def _delimited(self) -> list[bytes]:
        if self._version == HttpVersion10:
            self._stays = False
            return []
        self._is_chunked = True
        return [b"Transfer-Encoding: chunked\r\n"]

    def _connection(self) -> list[bytes]:
        if self._version == HttpVersion10:
            return [b"Connection: keep-alive\r\n"] if self._stays else []
        return [] if self._stays else [b"Connection: close\r\n"]

    def _write(self, data: bytes) -> None:
        if self._socket is None or self._socket.is_closing():
            raise ConnectionResetError("the client has gone")
        self._socket.write(data)


def reset(transport: asyncio.Transport | None) -> None:
    """Close the connection of *transport* with a reset instead of a FIN; ``None`` is closed."""
    if transport is None:
        return
    raw: socket.socket | None = transport.get_extra_info("socket")
    if raw is not None:
        # What is closed already is an OSError; of uvloop a ValueError, or None in the first place.
        with contextlib.suppress(OSError, ValueError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
