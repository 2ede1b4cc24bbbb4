"""Answers of upstreams good and bad, and what may become of each.

A whole answer passes unchanged, whatever follows it; what is cut, or could be read in two ways, is
never passed off as whole; and after anything odd a connection carries nothing else.
"""

from __future__ import annotations

import gzip
import random
from dataclasses import dataclass
from typing import Final, Literal

#: What the upstream does behind its last byte: nothing, a FIN, or a reset.
Farewell = Literal["stays", "closes", "resets"]

MEBIBYTE: Final = 1 << 20
BLOB: Final = random.Random(3).randbytes(4 * MEBIBYTE)
ZIPPED: Final = gzip.compress(b"data: hello\n\n" * 50)
FORGED: Final = b"HTTP/1.1 200 Forged\r\nContent-Length: 6\r\n\r\nforged"
CHUNKED: Final = b"Transfer-Encoding: chunked\r\n"


@dataclass(frozen=True, slots=True)
class Told:
    """What an upstream says, and what of it is an answer.

    *content* is that of the whole answer, ``None`` where there is none: then the client gets an
    error of ours or a reset. *keeps* says that the connection may carry another, ``None`` that
    nobody cares. *bodiless* asks by HEAD, *refusable* allows an odd answer to be refused instead.
    """

    name: str
    said: bytes
    content: bytes | None
    keeps: bool | None = False
    farewell: Farewell = "stays"
    status: int = 200
    bodiless: bool = False
    refusable: bool = False


def head(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """Return a head of these header *lines*."""
    return b"\r\n".join([start, *lines, b"", b""])


def sized(content: bytes, *lines: bytes, start: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """Return an answer with a length."""
    return head(b"Content-Length: %d" % len(content), *lines, start=start) + content


def chunked(data: bytes) -> bytes:
    """Return an answer whose chunks are *data*."""
    return head(CHUNKED[:-2]) + data


def chunks(content: bytes, size: int) -> bytes:
    """Return *content* in chunks of that *size*, and their end."""
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    return b"".join(b"%X\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


def _sound() -> list[Told]:
    text = bytes(range(256))
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"
    odd = b"HTTP/1.1 102 Odd\r\nContent-Length: 7\r\nTransfer-Encoding: gzip\r\n\r\n"
    return [
        Told("a length", sized(text), text, keeps=True),
        Told("nothing", sized(b""), b"", keeps=True),
        Told("4 MB with a length", sized(BLOB), BLOB, keeps=True),
        Told("chunks", chunked(chunks(text, 100)), text, keeps=True),
        Told("chunks of one byte", chunked(chunks(text, 1)), text, keeps=True),
        Told("one chunk of 4 MB", chunked(chunks(BLOB, len(BLOB))), BLOB, keeps=True),
        Told("chunks of 9 kB", chunked(chunks(BLOB, 9000)), BLOB, keeps=True),
        Told("no chunk", chunked(b"0\r\n\r\n"), b"", keeps=True),
        Told("extensions", chunked(b'5;a="b;c";d\r\nhello\r\n0;e=f\r\n\r\n'), b"hello", keeps=True),
        Told(
            "trailers",
            chunked(b"5\r\nhello\r\n0\r\nX-T: 1\r\nX-U: 2\r\n\r\n"),
            b"hello",
            keeps=True,
        ),
        Told(
            "a trailer that is a cookie",
            chunked(b"5\r\nhello\r\n0\r\nSet-Cookie: a=b\r\nX-Should-Retry: true\r\n\r\n"),
            b"hello",
            keeps=True,
        ),
        Told("what is packed", sized(ZIPPED, b"Content-Encoding: gzip"), ZIPPED, keeps=True),
        Told(
            "what is packed, in chunks",
            head(b"Content-Encoding: gzip", CHUNKED[:-2]) + chunks(ZIPPED, 7),
            ZIPPED,
            keeps=True,
        ),
        Told("100 before it", head(start=b"HTTP/1.1 100 Continue") + sized(text), text, keeps=True),
        Told("103 before it", interim * 3 + sized(text), text, keeps=True),
        Told("an odd 102 before it", odd + sized(text), text, keeps=True, refusable=True),
        Told("204", head(start=b"HTTP/1.1 204 No Content"), b"", keeps=True, status=204),
        Told(
            "304 with a length",
            head(b"Content-Length: 10", start=b"HTTP/1.1 304 Not Modified"),
            b"",
            keeps=None,
            status=304,
        ),
        Told("205", sized(b"", start=b"HTTP/1.1 205 Reset Content"), b"", keeps=True, status=205),
        Told(
            "an error",
            sized(b"{}", start=b"HTTP/1.1 529 Overloaded"),
            b"{}",
            keeps=True,
            status=529,
        ),
        Told(
            "HTTP/1.0 that goes on",
            sized(b"ok", b"Connection: keep-alive", start=b"HTTP/1.0 200 OK"),
            b"ok",
            keeps=None,
        ),
    ]


def _last() -> list[Told]:
    """Answers that are whole and after which nothing may follow."""
    no_content = b"HTTP/1.1 204 No Content"
    return [
        Told("a goodbye", sized(b"hello", b"Connection: close"), b"hello"),
        Told(
            "a goodbye and a FIN",
            sized(b"hello", b"Connection: close"),
            b"hello",
            farewell="closes",
        ),
        Told("a FIN right behind it", sized(b"hello"), b"hello", farewell="closes"),
        Told("a FIN behind the chunks", chunked(chunks(b"hello", 2)), b"hello", farewell="closes"),
        Told("a FIN behind 204", head(start=no_content), b"", farewell="closes", status=204),
        Told("no length and a FIN", head() + b"hello", b"hello", farewell="closes"),
        Told("no length, nothing and a FIN", head(), b"", farewell="closes"),
        Told("no length, 4 MB and a FIN", head() + BLOB, BLOB, farewell="closes"),
        Told("HTTP/1.0", sized(b"hello", start=b"HTTP/1.0 200 OK"), b"hello"),
        Told("more than its length", sized(b"hello") + b"!", b"hello"),
        Told("more than its chunks", chunked(chunks(b"hello", 5)) + b"!", b"hello"),
        Told("an answer behind it", sized(b"hello") + FORGED, b"hello"),
        Told("an answer behind the chunks", chunked(chunks(b"hello", 5)) + FORGED, b"hello"),
        Told(
            "an interim answer behind it",
            sized(b"hello") + head(start=b"HTTP/1.1 100 Go"),
            b"hello",
        ),
        Told("noise behind it", sized(b"hello") + b"\x00\xff\r\n\r\n", b"hello"),
        Told("an empty line behind it", sized(b"hello") + b"\r\n", b"hello", keeps=None),
        Told(
            "204 that has a length",
            head(b"Content-Length: 5", start=no_content),
            b"",
            status=204,
            refusable=True,
        ),
        Told(
            "204 and its content",
            sized(b"hello", start=no_content),
            b"",
            status=204,
            refusable=True,
        ),
        Told(
            "204 that is an answer",
            sized(FORGED, start=no_content),
            b"",
            status=204,
            refusable=True,
        ),
        Told(
            "204 that has chunks",
            head(CHUNKED[:-2], start=no_content),
            b"",
            status=204,
            refusable=True,
        ),
        Told(
            "204 and its chunks",
            head(CHUNKED[:-2], start=no_content) + chunks(b"hello", 5),
            b"",
            status=204,
            refusable=True,
        ),
        Told("304 and its content", sized(b"hello", start=b"HTTP/1.1 304 Same"), b"", status=304),
        Told(
            "205 and its content",
            sized(b"hello", start=b"HTTP/1.1 205 Reset"),
            b"hello",
            keeps=None,
            status=205,
            refusable=True,
        ),
        Told("HEAD", sized(b"hello")[:-5], b"", bodiless=True),
        Told("HEAD in chunks", head(CHUNKED[:-2]), b"", bodiless=True),
        Told("HEAD and its content", sized(b"hello"), b"", bodiless=True),
        Told("HEAD and an answer behind it", sized(b"hello")[:-5] + FORGED, b"", bodiless=True),
        Told("HEAD without a length", head(), b"", bodiless=True),
    ]


def _two_ways() -> list[Told]:
    """Answers that could be read in two ways, or in none."""
    lengths = (b"+5", b"-5", b"0x5", b"5 5", b"5, 5", b"5,6", b"", b"five", b"5_0", b"9" * 20)
    codings = (
        b"xchunked",
        b"gzip",
        b"gzip, chunked",
        b"chunked, gzip",
        b"identity",
        b"",
        b"chunked;q=1",
    )
    sizes = (b"+5", b"-5", b"0x5", b"", b"g", b"5 5", b"1" + b"0" * 16, b"5;a\nb", b"5\n", b"5\r")
    return [
        Told(
            "length and chunks",
            head(b"Content-Length: 5", CHUNKED[:-2]) + chunks(b"hello", 5),
            None,
        ),
        Told(
            "chunks and length",
            head(CHUNKED[:-2], b"Content-Length: 5") + chunks(b"hello", 5),
            None,
        ),
        Told("two lengths", head(b"Content-Length: 5", b"Content-Length: 0") + b"hello", None),
        Told("a length twice", head(b"Content-Length: 5", b"Content-Length: 5") + b"hello", None),
        *(
            Told(f"a length of {v!r}", head(b"Content-Length: " + v) + b"hello", None)
            for v in lengths
        ),
        *(
            Told(f"the coding {v!r}", head(b"Transfer-Encoding: " + v) + chunks(b"hello", 5), None)
            for v in codings
        ),
        *(Told(f"a chunk of {v!r}", chunked(v + b"\r\nhello\r\n0\r\n\r\n"), None) for v in sizes),
        Told("a chunk that does not end", chunked(b"5\r\nhello0\r\n\r\n"), None),
        Told("a chunk that is too long", chunked(b"5\r\nhello!!\r\n0\r\n\r\n"), None),
        Told("a bad chunk behind a good one", chunked(b"5\r\nhello\r\nzz\r\n"), None),
        Told("a folded header", head(b"X-A: b\r\n c", b"Content-Length: 5") + b"hello", None),
        Told("bare line feeds", sized(b"hello").replace(b"\r\n", b"\n"), None),
        Told(
            "a bare carriage return",
            head(b"X-A: b\rContent-Length: 5") + b"hello",
            None,
            farewell="closes",
        ),
        Told("a NUL in a value", head(b"X-A: b\x00", b"Content-Length: 5") + b"hello", None),
        Told(
            "a name with a blank", head(b"Content-Length : 5") + b"hello", None, farewell="closes"
        ),
        Told("a header without a colon", head(b"nonsense", b"Content-Length: 5") + b"hello", None),
        Told("no status", head(start=b"HTTP/1.1 OK"), None),
        Told("a status of two digits", head(start=b"HTTP/1.1 20 OK"), None),
        Told("a status of four digits", head(start=b"HTTP/1.1 2000 OK"), None),
        Told("a status below them all", head(start=b"HTTP/1.1 099 Odd"), None),
        Told(
            "another protocol",
            head(b"Upgrade: x", b"Connection: upgrade", start=b"HTTP/1.1 101 Go"),
            None,
        ),
        Told("no HTTP", b"SSH-2.0-OpenSSH_9.6\r\n\r\n", None),
        Told("TLS", b"\x15\x03\x01\x00\x02\x02\x46" + b"\r\n\r\n", None),
        Told("HTTP/2", b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03" + bytes(20), None),
        Told("a request", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", None),
    ]


def _cut() -> list[Told]:
    """Answers that break off, one byte before their end at the latest."""
    whole = {
        "a length": sized(b"hello"),
        "4 MB with a length": sized(BLOB),
        "chunks": chunked(chunks(b"hello", 3)),
        "4 MB in chunks": chunked(chunks(BLOB, 100_000)),
        "a trailer": chunked(b"5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n"),
    }
    told = []
    farewells: tuple[Farewell, ...] = ("closes", "resets")
    for farewell in farewells:
        for name, said in whole.items():
            for missing in (1, 2, 5):
                title = f"{name} but for {missing}, then {farewell}"
                told.append(Told(title, said[:-missing], None, farewell=farewell))
        told += [
            Told(f"nothing, then {farewell}", b"", None, farewell=farewell),
            Told(
                f"half a head, then {farewell}", b"HTTP/1.1 200 OK\r\nX: ", None, farewell=farewell
            ),
            Told(f"100, then {farewell}", head(start=b"HTTP/1.1 100 Go"), None, farewell=farewell),
            Told(
                f"all but an end, then {farewell}",
                chunked(b"5\r\nhello\r\n"),
                None,
                farewell=farewell,
            ),
        ]
    told.append(Told("no length and a reset", head() + b"hello", None, farewell="resets"))
    return told


ANSWERS: Final = [*_sound(), *_last(), *_two_ways(), *_cut()]
