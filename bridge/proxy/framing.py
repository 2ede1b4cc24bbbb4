"""Frames the requests on a connection: where a head ends, what is body, and when it is whole.

Pure: it is fed bytes and knows no connection. llhttp (through httptools) reads them, strictly, and
what it allows but two servers may read in two ways is refused here (RFC 9112 section 11).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import httptools

from bridge.proxy.head import Head, RawPair

#: The longest line, and the longest head or trailer, in bytes: llhttp itself knows no limit.
LINE_BYTES: Final = 64 * 1024
HEAD_BYTES: Final = 256 * 1024


class Garbled(Exception):
    """What comes is no HTTP/1 that can be read in one way only; the text says why."""


class Request:
    """One request while it comes in.

    *is_11* tells HTTP/1.1 from 1.0, *keeps* whether the client wants the connection kept,
    *length* what it says of its body (``None``: nothing). Of the body *size* bytes have come;
    *whole* says that this is all of it, *garbled* that the rest cannot be read. *changed* is
    called after either has changed.
    """

    __slots__ = (
        "changed",
        "garbled",
        "head",
        "is_11",
        "keeps",
        "length",
        "pieces",
        "size",
        "whole",
    )

    def __init__(self, head: Head, length: int | None, *, is_11: bool, keeps: bool) -> None:
        self.head = head
        self.length = length
        self.is_11 = is_11
        self.keeps = keeps
        self.pieces: list[bytes] = []
        self.size = 0
        self.whole = self.garbled = False
        self.changed: Callable[[], None] | None = None


class Requests:
    """Frames one request after the other; *arrived* has those whose head is here, in order.

    Whoever takes one from *arrived* may find it not yet whole. *begun* says that a head has begun
    and not ended, *ahead* how many bytes of bodies have come of requests that nobody has taken.
    """

    def __init__(self) -> None:
        self.arrived: deque[Request] = deque()
        self.begun = False
        self._current: Request | None = None
        self._target = b""
        self._headers: list[RawPair] = []
        self._uncounted = self._size = 0
        self._is_tunnel = self._is_told = False
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)

    def feed(self, data: bytes) -> None:
        """Read on. Raises ``Garbled``; nothing can be read after that."""
        if self._parser is None:
            return
        self._uncounted += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._give_up(error)
        else:
            if self._uncounted > HEAD_BYTES and not self._is_quiet():
                self._give_up(Garbled("its head is too long"))

    def close(self) -> None:
        """Read no more."""
        self._parser = None

    @property
    def ended(self) -> bool:
        """Whether no more is read: what follows on the connection means nothing."""
        return self._parser is None

    # What llhttp finds.

    def on_message_begin(self) -> None:
        """Find the beginning of a request."""
        if self._is_told:
            return
        self.begun = True
        self._size = 0
        self._target, self._headers = b"", []

    def on_url(self, part: bytes) -> None:
        """Keep the target, which may come in parts."""
        if self._is_told:
            return
        self._target += part
        if len(self._target) > LINE_BYTES:
            raise Garbled("a line of its head is too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; what comes after the body (a trailer) is left behind."""
        self._size += len(name) + len(value)
        if len(name) > LINE_BYTES or len(value) > LINE_BYTES:
            raise Garbled("a line of its head is too long")
        if self._size > HEAD_BYTES:
            raise Garbled("its head is too long")
        if self._current is None:
            self._headers.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """Take the head. Raises ``Garbled`` for what could be read in two ways."""
        parser = self._parser
        if parser is None or self._is_told:
            return
        head = Head.of(
            parser.get_method().decode("ascii"), self._target.decode("latin-1"), self._headers
        )
        version = parser.get_http_version()
        if version not in {"1.1", "1.0"}:
            raise Garbled("it is no HTTP/1.1")
        is_11 = version == "1.1"
        request = Request(
            head,
            _length(head, is_11=is_11),
            is_11=is_11,
            keeps=parser.should_keep_alive() and head.method != "CONNECT",
        )
        self.begun = False
        self._uncounted = 0
        self._current = request
        self.arrived.append(request)

    def on_body(self, piece: bytes) -> None:
        """Keep a piece of the body."""
        request = self._current
        if request is not None:
            request.pieces.append(piece)
            request.size += len(piece)
            self._uncounted = 0

    def on_message_complete(self) -> None:
        """Find the end of the request."""
        request = self._current
        self._uncounted = 0
        if request is None or self._parser is None:
            return
        self._is_tunnel = request.head.method == "CONNECT"
        if self._parser.should_upgrade() and request.length != 0 and not self._is_tunnel:
            return  # its body is still to come
        self._current = None
        request.whole = True

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Stay with HTTP/1.1, as a server may that does not speak the other (RFC 9110 7.8).

        llhttp reads no body then, and takes what follows for the other protocol: another parser
        is told of the body that the head announced, and goes on from there.
        """
        request = self._current
        if self._is_tunnel:
            self.close()  # what follows is for the other end of it
            return
        self._parser = parser = httptools.HttpRequestParser(self)
        if request is not None:
            length = request.length
            framing = (
                b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
            )
            self._is_told = True
            parser.feed_data(b"POST / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % framing)
            self._is_told = False
        if rest:
            self.feed(rest)

    def _is_quiet(self) -> bool:
        """Whether what came last was no head, trailer or size of a chunk that has no end."""
        return self._current is None and not self.begun

    def _give_up(self, error: Exception) -> None:
        self.close()
        request, self._current = self._current, None
        if request is not None:
            request.garbled = True
            return
        cause = error.__context__ if isinstance(error.__context__, Garbled) else error
        raise cause if isinstance(cause, Garbled) else Garbled("not HTTP") from None


def _length(head: Head, *, is_11: bool) -> int | None:
    """Return what *head* says of the length of its body."""
    if head.repeats and len(head.values("host")) > 1:
        raise Garbled("it has more than one Host")
    if head.has(b"transfer-encoding"):
        codings = [value.strip().lower() for value in head.values("transfer-encoding")]
        if codings != ["chunked"] or not is_11:
            raise Garbled("its transfer coding is not chunked")
        return None
    length = head.get(b"content-length")
    return 0 if length is None else int(length)
