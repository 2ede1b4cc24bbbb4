"""Writes an answer to the client: head and bytes exactly as they are given, or a reset.

Only framing (RFC 9112 section 6) and ``Connection`` are ours. Nothing waits here: a client that
does not read makes its connection say so, and that pauses whatever feeds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Final

from bridge.proxy.framing import Request
from bridge.proxy.head import RawPair
from bridge.wire.outbox import Outbox

#: Content from this size on is not copied into one piece with the framing of its chunk.
UNCOPIED_BYTES: Final = 16 * 1024

_NO_LINGER: Final = struct.pack("ii", 1, 0)


class Reply:
    """One answer on its way to the client.

    *begun* and *sent* (bytes of content) tell how far it is, *stays* whether the connection serves
    another request afterwards.
    """

    __slots__ = (
        "_has_content",
        "_is_11",
        "_is_chunked",
        "_outbox",
        "_transport",
        "_unsent",
        "begun",
        "sent",
        "stays",
    )

    def __init__(self, transport: asyncio.Transport, outbox: Outbox, request: Request) -> None:
        self.begun = False
        self.sent = 0
        self.stays = request.keeps
        self._transport = transport
        self._outbox = outbox
        self._is_11 = request.is_11
        self._has_content = request.head.method != "HEAD"
        self._is_chunked = False
        self._unsent = b""

    def proceed(self) -> None:
        """Tell a client that waits for it to send its body (RFC 9110 section 10.1.1)."""
        if self._is_11:
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def open(self, status: int, reason: bytes, lines: list[bytes], *, sized: bool) -> None:
        """Make the head, which goes out with the first content or at :meth:`flush`.

        *lines* are the header lines. The content is as long as they say where they are *sized*,
        else delimited by chunks, else (HTTP/1.0) by the end of the connection.
        """
        if status in {204, 304}:
            self._has_content = False
        if self._has_content and not sized:
            if self._is_11:
                self._is_chunked = True
                lines.append(b"Transfer-Encoding: chunked\r\n")
            else:
                self.stays = False
        if self._is_11:
            if not self.stays:
                lines.append(b"Connection: close\r\n")
        elif self.stays:
            lines.append(b"Connection: keep-alive\r\n")
        start = b"HTTP/1.1 %d %b\r\n" if self._is_11 else b"HTTP/1.0 %d %b\r\n"
        self._unsent = b"%b%b\r\n" % (start % (status, reason), b"".join(lines))
        self.begun = True

    def flush(self) -> None:
        """Send the head if no content has taken it along."""
        if self._unsent:
            head, self._unsent = self._unsent, b""
            self._write(head)

    def take(self, pieces: Sequence[bytes], *, last: bool) -> None:
        """Pass on what has come of the answer, at once; *last* ends it in good order.

        Does not wait for a client that does not read: its connection says so to the upstream's.
        """
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        size = len(data)
        if not self._has_content:
            data, size = b"", 0
        self.sent += size
        if self._is_chunked:
            if size >= UNCOPIED_BYTES:
                self._write_long(data, last=last)
                return
            if size:
                data = b"%x\r\n%b\r\n" % (size, data)
            if last:
                data += b"0\r\n\r\n"
        if self._unsent:
            data, self._unsent = self._unsent + data, b""
        if data:
            self._write(data)

    def whole(self, status: int, headers: Iterable[RawPair], content: bytes) -> None:
        """Send a whole answer of our own."""
        lines = [b"%b: %b\r\n" % pair for pair in headers]
        lines.append(b"content-length: %d\r\n" % len(content))
        self.open(status, HTTPStatus(status).phrase.encode(), lines, sized=True)
        self.take([content], last=True)

    def abort(self) -> None:
        """Break the connection with a reset, so that nobody takes what was sent for whole.

        A plain ``abort()`` sends a FIN, which ends an answer in good order for HTTP/1.0 and for
        readers until close. Bytes not yet sent are lost.
        """
        self.stays = False
        reset(self._transport)

    def _write_long(self, data: bytes, *, last: bool) -> None:
        head, self._unsent = self._unsent, b""
        end = b"\r\n0\r\n\r\n" if last else b"\r\n"
        self._outbox.send(self._transport, b"%b%x\r\n" % (head, len(data)), data, end)

    def _write(self, data: bytes) -> None:
        self._outbox.send(self._transport, data)


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
