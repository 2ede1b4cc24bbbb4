"""Frames an answer: where its head ends, what of it is content, and whether it is whole.

Pure: it is fed bytes and knows no connection. llhttp (through httptools) reads them, strictly; what
comes out is content only, so that a reader frames it anew and no stray byte ever gets through.
"""

from __future__ import annotations

from typing import Final

import httptools

from bridge.wire.failure import NotHttp

RawPair = tuple[bytes, bytes]

#: The longest head, and the longest trailer, in bytes: llhttp itself knows no limit.
HEAD_BYTES: Final = 256 * 1024
_LENGTHS: Final = frozenset({b"content-length", b"transfer-encoding"})


class Incoming:
    """One answer while it comes in.

    *status* is 0 until the head is here, with *reason* and *headers*; *sized* says that the head
    tells the length. Of the content *held* bytes wait to be :meth:`taken`. *whole* says that the
    answer has ended in good order, *keeps* that the connection may carry another after it.
    *bodiless*: no content follows, whatever the head says (HEAD).
    """

    __slots__ = (
        "_bodiless",
        "_delimited",
        "_lies",
        "_parser",
        "_pieces",
        "_uncounted",
        "headers",
        "held",
        "keeps",
        "reason",
        "sized",
        "status",
        "whole",
    )

    def __init__(self, *, bodiless: bool = False) -> None:
        self.status = 0
        self.reason = b""
        self.headers: list[RawPair] = []
        self.held = 0
        self.whole = self.keeps = self.sized = False
        self._bodiless = bodiless
        self._delimited = self._lies = False
        self._pieces: list[bytes] = []
        self._uncounted = 0
        # Let go at the end: each would keep the other alive.
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Read on. Raises ``NotHttp``; what follows a whole answer only makes it the last one."""
        parser = self._parser
        if parser is None:
            self.keeps = False
            return
        self._uncounted += len(data)
        try:
            parser.feed_data(data)
        except httptools.HttpParserError:
            if not self.whole:
                raise NotHttp("the answer breaks the rules of HTTP") from None
            self.keeps = False
        if self._uncounted > HEAD_BYTES and not self.whole:
            raise NotHttp("the head of the answer has no end")

    def end(self) -> None:
        """Take the end of the connection for the end of an answer that has no other."""
        if self.status and not self._delimited:
            self._finish()

    def taken(self) -> list[bytes]:
        """Hand over the content that has come since the last time."""
        pieces, self._pieces, self.held = self._pieces, [], 0
        return pieces

    # What llhttp finds.

    def on_message_begin(self) -> None:
        """Find the beginning of an answer, or of what nobody asked for."""
        if self.whole:
            self.keeps = False

    def on_status(self, reason: bytes) -> None:
        """Keep the reason phrase, which may come in parts."""
        if not self.whole:
            self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; what comes after the content (a trailer) is left behind."""
        if not self.status:
            self.headers.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """Take the head, unless it is an interim one (RFC 9110 section 15.2).

        Raises ``NotHttp``, which httptools makes an error of its own, for what was not asked for:
        another protocol, or a coding that a reader of the content would not know of.
        """
        if self.whole or self._parser is None:
            return
        status = self._parser.get_status_code()
        if status < 100 or status == 101:
            raise NotHttp("its status makes no sense")
        if status < 200:
            self.headers, self.reason = [], b""
            return
        names = {name.lower() for name, _ in self.headers}
        if b"transfer-encoding" in names and not self._is_chunked():
            raise NotHttp("it has a transfer coding")
        self.status = status
        self.sized = b"content-length" in names
        announces = not names.isdisjoint(_LENGTHS)
        self._delimited = announces or status in {204, 304}
        # What it announces may come all the same, and would be taken for the next answer.
        self._lies = announces and status in {204, 304}
        if self._bodiless:
            # llhttp would wait for the content that a HEAD only announces.
            self._finish()

    def on_body(self, body: bytes) -> None:
        """Keep a piece of content."""
        if not self.whole:
            self._pieces.append(body)
            self.held += len(body)
            self._uncounted = 0

    def on_message_complete(self) -> None:
        """Find the end of the answer."""
        if self.status and not self.whole and self._parser is not None:
            self.keeps = self._parser.should_keep_alive() and not self._lies
            self._finish()

    def _is_chunked(self) -> bool:
        codings = (value for name, value in self.headers if name.lower() == b"transfer-encoding")
        return all(coding.strip().lower() == b"chunked" for coding in codings)

    def _finish(self) -> None:
        self.whole = True
        self._parser = None
