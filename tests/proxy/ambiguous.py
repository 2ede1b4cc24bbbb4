"""Requests that two servers may read in two ways, and what may become of each.

Each has a second request hidden behind it, which tells whether the end of the first was found. Of
the outcomes that are safe (RFC 9112 sections 2 to 9) a case allows one or two: refused, with the
connection closed; or read in the one way that was meant. What must never be is a third request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: Method, target and body of a request as the upstream sees it.
Gist = tuple[str, str, bytes]

#: Stands for the host and port of the front door, and is as long: such ports have five digits.
HOST: Final = b"127.0.0.1:00000"
LENGTH: Final = b"Content-Length: 5"
CHUNKED: Final = b"Transfer-Encoding: chunked"
CHUNKS: Final = b"5\r\nhello\r\n0\r\n\r\n"

HELLO: Final[Gist] = ("POST", "/coding/v1/messages", b"hello")
EMPTY: Final[Gist] = ("POST", "/coding/v1/messages", b"")
HIDDEN: Final[Gist] = ("POST", "/coding/v1/hidden", b"")

_FIRST: Final = b"POST /kimi/v1/messages HTTP/1.1"
HIDING: Final = b"POST /kimi/v1/hidden HTTP/1.1\r\nHost: " + HOST + b"\r\nContent-Length: 0\r\n\r\n"
#: What is asked last: its answer shows that all before it was read to its end.
FINAL: Final = (
    b"GET /health HTTP/1.1\r\nHost: " + HOST + b"\r\nX-Last: 1\r\nConnection: close\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class Case:
    """What a client sends, and what is safe.

    *read* is what the upstream sees where all of it is read, ``None`` where it must be refused,
    and *statuses* what the client then gets before its last answer. *refusable* says that it may
    be refused, after no more than the first few of *before*. *closes* says that the connection may
    also end without a refusal, as the client wants no more.
    """

    name: str
    data: bytes
    read: tuple[Gist, ...] | None
    before: tuple[Gist, ...] = ()
    statuses: tuple[tuple[int, ...], ...] = ((200, 200),)
    refusable: bool = True
    closes: bool = False


def post(
    *lines: bytes,
    body: bytes = b"hello" + HIDING,
    first: bytes = _FIRST,
    host: bytes = b"Host: " + HOST,
) -> bytes:
    """Return a request of these header *lines*, and what follows it."""
    return b"\r\n".join([first, host, *lines, b"", b""]) + body


def chunked(body: bytes) -> bytes:
    """Return a request whose body is in chunks, and what follows it."""
    return post(CHUNKED, body=body + HIDING)


def passes(name: str, data: bytes, *read: Gist) -> Case:
    """A request that is in order and must be read, as is what follows it."""
    return Case(name, data, read or (HELLO, HIDDEN), refusable=False)


def either(name: str, data: bytes, *read: Gist) -> Case:
    """A request that may be refused, or read in the way in which a lenient server reads it."""
    return Case(name, data, read or (HELLO, HIDDEN), before=read or (HELLO, HIDDEN))


def refused(name: str, data: bytes, *before: Gist) -> Case:
    """A request that must be refused; *before* it there may be one in good order."""
    return Case(name, data, None, before)


def guarded(name: str, data: bytes, *read: Gist) -> Case:
    """A request with a clear end that is not for us: what follows may be read after its refusal."""
    statuses = tuple((status, 200) for status in (400, 403, 404, 421, 426))
    return Case(name, data, read or (HIDDEN,), statuses=statuses)


def last(name: str, data: bytes, before: Gist = HELLO) -> Case:
    """A request after which the connection must end: what follows it is never read."""
    return Case(name, data, None, (before,), closes=True)


def _lengths() -> list[Case]:
    with_length = [
        (value, post(b"Content-Length: " + value))
        for value in (
            *(b"+5", b"-5", b"0x5", b"5 5", b"5, 6", b"5.0", b"5;", b"", b"five", b"5_0", b"1e1"),
            *(b"5\x0b", b"\x0b5", b'"5"', "\u0665".encode(), b"5\x00"),
            *(b"99999999999999999999", b"18446744073709551621"),
        )
    ]
    return [
        *(refused(f"a length of {value!r}", data) for value, data in with_length),
        *(either(f"a length of {v!r}", post(b"Content-Length: " + v)) for v in (b"5,5", b" 5, 5")),
        passes("a length with zeros", post(b"Content-Length: 00005")),
        passes("a length with blanks around it", post(b"Content-Length:\t 5\t ")),
        passes("a length whose name is in any case", post(b"cOnTeNt-LeNgTh: 5")),
        either("the same length twice", post(LENGTH, LENGTH)),
        refused("two lengths", post(LENGTH, b"Content-Length: 0")),
        refused("two lengths, the other way round", post(b"Content-Length: 0", LENGTH)),
        passes("no length", post(body=HIDING), EMPTY, HIDDEN),
    ]


def _codings() -> list[Case]:
    def coded(value: bytes, *more: bytes) -> bytes:
        return post(b"Transfer-Encoding: " + value, *more, body=CHUNKS + HIDING)

    return [
        refused("length and chunks", post(LENGTH, CHUNKED, body=b"0\r\n\r\n" + HIDING)),
        refused("chunks and length", post(CHUNKED, LENGTH, body=b"0\r\n\r\n" + HIDING)),
        refused("length and chunks that agree", post(LENGTH, CHUNKED, body=CHUNKS + HIDING)),
        *(
            refused(f"the coding {value!r}", coded(value))
            for value in (
                *(b"chunked, identity", b"identity", b"xchunked", b"chunkedx", b"gzip"),
                # Its content would reach the upstream without the name of its coding.
                *(b"gzip, chunked", b"deflate,chunked", b"chunked, chunked", b"chunked, gzip"),
                *(b'"chunked"', b"chunked;q=1", b"\x0bchunked", b"chunked\x0b", b"chunked\x00"),
                *(b"ch\x00unked", b"chun ked", b"chunked chunked"),
            )
        ),
        refused("a coding without a name", coded(b""), EMPTY),
        *(
            either(f"the coding {value!r}", coded(value))
            for value in (b"identity, chunked", b"chunked,", b",chunked", b"chunked \t")
        ),
        passes("the coding in any case", coded(b"cHuNkEd")),
        passes("the coding behind a tab", coded(b"\tchunked")),
        passes(
            "the coding without a blank", post(b"Transfer-Encoding:chunked", body=CHUNKS + HIDING)
        ),
        either("the coding twice", coded(b"chunked", CHUNKED)),
        refused("chunks, then another coding", coded(b"chunked", b"Transfer-Encoding: gzip")),
        refused("another coding, then chunks", coded(b"gzip", CHUNKED)),
        refused("chunks, then identity", coded(b"chunked", b"Transfer-Encoding: identity")),
        either("a coding without a name, and a length", post(b"Transfer-Encoding: ", LENGTH)),
        refused("a coding in quotes, and a length", post(b'Transfer-Encoding: "chunked"', LENGTH)),
        last("chunks in HTTP/1.0", coded(b"chunked").replace(b"1.1\r\n", b"1.0\r\n", 1)),
        last(
            "chunks in HTTP/1.0 that would go on",
            coded(b"chunked", b"Connection: keep-alive").replace(b"1.1\r\n", b"1.0\r\n", 1),
        ),
        refused(
            "length and chunks in HTTP/1.0",
            post(LENGTH, CHUNKED, body=b"0\r\n\r\n" + HIDING).replace(b"1.1\r\n", b"1.0\r\n", 1),
        ),
    ]


def _names() -> list[Case]:
    spoilt = (b"%b ", b"%b\t", b" %b", b"\t%b", b"%b\x00", b"%b\xa0", b"%b\x0b", b"(%b", b"%b\r")
    return [
        *(
            refused(f"the name {name!r}", post(name + b": 5"))
            for name in (each % b"Content-Length" for each in spoilt)
        ),
        *(
            refused(f"the name {name!r}", post(name + b": chunked", body=CHUNKS + HIDING))
            for name in (each % b"Transfer-Encoding" for each in spoilt)
        ),
        refused("a name in two words", post(b"Content Length: 5")),
        refused("a name with a NUL", post(b"Content\x00-Length: 5")),
        refused("a length that is none", post(b"Content_Length: 5"), EMPTY),
        refused("a coding that is none", post(b"Transfer_Encoding: chunked", body=CHUNKS), EMPTY),
        refused("an empty name", post(b": b", LENGTH)),
        refused("no colon", post(b"nonsense", LENGTH)),
        refused("a name that is no ASCII", post("X-Ü: b".encode(), LENGTH)),
        refused("a blank line that is none", post(b" ", LENGTH)),
        refused("a first header that is folded", post(LENGTH, host=b" Host: " + HOST)),
        passes("every character of a name", post(b"X!#$%&'*+.^_`|~1-: b", LENGTH)),
        passes("a value that begins with a colon", post(b"X-A::b", LENGTH)),
        passes("a value that is empty", post(b"X-A:", LENGTH)),
    ]


def _lines() -> list[Case]:
    sent = post(LENGTH, body=b"hello")
    return [
        either("a folded value", post(b"X-A: b\r\n c", LENGTH)),
        either("a value folded with a tab", post(b"X-A: b\r\n\tc", LENGTH)),
        refused("a folded length", post(b"X-A: b\r\n Content-Length: 5"), EMPTY),
        refused("a length that goes on", post(b"Content-Length: 5\r\n 0")),
        either("a folded coding", post(b"Transfer-Encoding:\r\n chunked", body=CHUNKS + HIDING)),
        refused(
            "a folded coding, and a length",
            post(b"Transfer-Encoding:\r\n chunked", LENGTH, body=b"0\r\n\r\n" + HIDING),
        ),
        either("bare line feeds", sent.replace(b"\r\n", b"\n") + HIDING),
        either("a bare line feed behind a value", post(b"X-A: b\nContent-Length: 5")),
        either("a bare line feed at the end", sent.replace(b"\r\n\r\n", b"\r\n\n") + HIDING),
        either("two bare line feeds at the end", sent.replace(b"\r\n\r\n", b"\n\n") + HIDING),
        refused("a bare carriage return", post(b"X-A: b\rContent-Length: 5")),
        refused("two carriage returns", post(LENGTH + b"\r")),
        refused("carriage returns at the end", sent.replace(b"\r\n\r\n", b"\r\r") + HIDING),
        refused("a NUL in a value", post(b"X-A: a\x00b", LENGTH)),
        passes("an empty line before it", b"\r\n" + post(LENGTH)),
        either("a bare line feed before it", b"\n" + post(LENGTH)),
        refused("a blank before it", b" " + post(LENGTH)),
        either("two blanks in its first line", post(LENGTH, first=_FIRST.replace(b" ", b"  "))),
        either("tabs in its first line", post(LENGTH, first=_FIRST.replace(b" ", b"\t"))),
        refused("a carriage return in its first line", post(LENGTH, first=_FIRST + b"\r")),
    ]


def _chunks() -> list[Case]:
    rest = b"\r\nhello\r\n0\r\n\r\n"
    return [
        *(
            refused(f"a chunk of the size {size!r}", chunked(size + rest))
            for size in (
                *(b" 5", b"0x5", b"+5", b"-5", b"5_0", b"", b"g", b"5h", b"5,5", "\uff15".encode()),
                *(b"5\x00", b"5\x0b", b"10000000000000005", b"fffffffffffffffff", b"5\r"),
                # Line ends in an extension: two readers find two ends of the line.
                *(b'5;a="b\r\nc"', b"5;a\nb", b"5;\n", b"5;a\rb", b"5;a=\x00", b"5\n"),
            )
        ),
        *(
            either(f"a chunk of the size {size!r}", chunked(size + rest))
            for size in (b"5 ", b"5\t", b"5;", b"5 ;a=b", b"5; a=b", b"0" * 40 + b"5")
        ),
        *(
            passes(f"a chunk of the size {size!r}", chunked(size + rest))
            for size in (b"5;a", b"5;a=b", b'5;a="b;c"', b"05", b"0005;a=b")
        ),
        refused("a size that ends in a line feed", chunked(b"5\nhello\r\n0\r\n\r\n")),
        refused("a size that ends in a carriage return", chunked(b"5\rhello\r\n0\r\n\r\n")),
        refused("a chunk that ends in a line feed", chunked(b"5\r\nhello\n0\r\n\r\n")),
        refused("a chunk that ends in a carriage return", chunked(b"5\r\nhello\r0\r\n\r\n")),
        refused("a chunk that does not end", chunked(b"5\r\nhello0\r\n\r\n")),
        refused("a chunk that is too long", chunked(b"5\r\nhello!!\r\n0\r\n\r\n")),
        refused("a chunk that is too short", chunked(b"5\r\nhell\r\n0\r\n\r\n")),
        refused("a last chunk below zero", chunked(b"5\r\nhello\r\n-0\r\n\r\n")),
        refused("a last chunk with line feeds", chunked(b"5\r\nhello\r\n0\n\n")),
        refused("an end with a line feed", chunked(b"5\r\nhello\r\n0\r\n\n")),
        refused("an end that is missing", chunked(b"5\r\nhello\r\n0\r\n")),
        passes("a last chunk of many zeros", chunked(b"5\r\nhello\r\n0000\r\n\r\n")),
        passes("a last chunk with an extension", chunked(b"5\r\nhello\r\n0;a=b\r\n\r\n")),
        passes("chunks of one byte", chunked(b"1\r\nh\r\n1\r\ne\r\n3\r\nllo\r\n0\r\n\r\n")),
    ]


def _trailers() -> list[Case]:
    def trailed(lines: bytes) -> bytes:
        return chunked(b"5\r\nhello\r\n0\r\n" + lines + b"\r\n\r\n")

    return [
        passes("a trailer", trailed(b"X-T: 1\r\nX-U: 2")),
        either("a trailer that is a length", trailed(b"Content-Length: 30")),
        either("a trailer that is a coding", trailed(b"Transfer-Encoding: chunked")),
        either("a trailer that is a host", trailed(b"Host: evil.example")),
        either(
            "a trailer that is a credential", trailed(b"Authorization: Bearer x\r\nX-Bridge-Key: x")
        ),
        Case(
            "a trailer that ends the connection",
            trailed(b"Connection: close"),
            (HELLO, HIDDEN),
            (HELLO,),
            closes=True,
        ),
        either("a folded trailer", trailed(b"X-T: 1\r\n 2")),
        either("a trailer behind a line feed", trailed(b"X-T: 1\nX-U: 2")),
        refused("a trailer without a colon", trailed(b"nonsense")),
        refused("a trailer with a NUL", trailed(b"X-T: \x00")),
    ]


def _versions() -> list[Case]:
    def versed(version: bytes) -> bytes:
        return post(LENGTH, first=b"POST /kimi/v1/messages " + version)

    return [
        last("HTTP/1.0", versed(b"HTTP/1.0")),
        passes(
            "HTTP/1.0 that goes on",
            post(LENGTH, b"Connection: keep-alive", first=_FIRST.replace(b"1.1", b"1.0")),
        ),
        *(either(f"{v.decode()}", versed(v)) for v in (b"HTTP/1.2", b"HTTP/1.9", b"HTTP/1.1 ")),
        *(last(f"{v.decode()}", versed(v)) for v in (b"HTTP/2.0", b"HTTP/0.9")),
        *(
            refused(f"the version {version!r}", versed(version))
            for version in (
                *(b"http/1.1", b"HTTP/01.1", b"HTTP/1.10", b"HTTPS/1.1", b"HTTP/ 1.1", b"HTTP/1,1"),
                *(b"HTTP/2", b"HTTP/3.0", b"HTTP/1.", b"HTTP/.1", b"HTTP/1.1\x00", b"ICE/1.0", b""),
            )
        ),
        refused("a line of HTTP/0.9", b"GET /kimi/v1/models\r\n" + HIDING),
        refused("a line of HTTP/0.9 and an empty one", b"GET /kimi/v1/models\r\n\r\n" + HIDING),
        refused("the beginning of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HIDING),
        refused("the beginning of TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + HIDING),
        refused("noise", bytes(range(128, 256)) + HIDING),
    ]


def _methods() -> list[Case]:
    def asked(method: bytes, *more: bytes, body: bytes = b"hello") -> bytes:
        first = method + b" /kimi/v1/models HTTP/1.1"
        return post(*more or [LENGTH], first=first, body=body + HIDING)

    usual = (b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"PUT", b"PATCH")
    return [
        *(
            passes(
                f"{m.decode()} with a body",
                asked(m),
                (m.decode(), "/coding/v1/models", b"hello"),
                HIDDEN,
            )
            for m in usual
        ),
        *(
            passes(
                f"{m.decode()} with chunks",
                asked(m, CHUNKED, body=CHUNKS),
                (m.decode(), "/coding/v1/models", b"hello"),
                HIDDEN,
            )
            for m in usual
        ),
        *(
            either(
                f"the method {m.decode()}",
                asked(m),
                (m.decode(), "/coding/v1/models", b"hello"),
                HIDDEN,
            )
            for m in (b"post", b"FOO", b"QUERY", b"PROPFIND", b"M-SEARCH", b"SOURCE")
        ),
        *(
            refused(f"the method {m!r}", asked(m))
            for m in (b"GE T", "GÉT".encode(), b"\x7fGET", b"G\x00ET", b"(")
        ),
        guarded("TRACE", asked(b"TRACE")),
        # Behind CONNECT there are the bytes of a tunnel, which are no requests to us.
        last("a tunnel", post(first=b"CONNECT api.kimi.com:443 HTTP/1.1", body=HIDING)),
        last("a tunnel with a length", post(LENGTH, first=b"CONNECT api.kimi.com:443 HTTP/1.1")),
        last("a tunnel to a path", post(LENGTH, first=b"CONNECT /kimi/v1/messages HTTP/1.1")),
    ]


def _targets() -> list[Case]:
    def aimed(target: bytes, method: bytes = b"POST") -> bytes:
        return post(LENGTH, first=method + b" " + target + b" HTTP/1.1")

    return [
        guarded("another server", aimed(b"http://evil.example/kimi/v1/messages")),
        guarded("another server over TLS", aimed(b"https://evil.example/kimi/v1/messages")),
        guarded("the whole server", aimed(b"*", b"OPTIONS")),
        *(
            guarded(f"the target {target!r}", aimed(target))
            for target in (
                *(b"*", b"/kimi/v1/#f", b"/kimi/v1/\\x", b"/kimi/../v1/x", b"kimi/v1/messages"),
                *(b"?x", b"/a b", b"/\x7f", b"/\x00", b"/\ta", "/ü".encode(), HOST),
            )
        ),
        Case(
            "our own URL",
            aimed(b"http://" + HOST + b"/kimi/v1/messages"),
            (HIDDEN,),
            statuses=((400, 200),),
        ),
        either(
            "a path that looks like a host",
            aimed(b"//evil.example/x"),
            ("POST", "/coding/v1/evil.example/x", b"hello"),
            HIDDEN,
        ),
    ]


def _hosts() -> list[Case]:
    return [
        *(
            guarded(f"the host {host!r}", post(LENGTH, host=b"Host: " + host))
            for host in (b"evil.example", HOST + b", evil.example", b"a@" + HOST, b"", HOST + b"0")
        ),
        guarded("no host", post(LENGTH, host=b"X-Host: " + HOST)),
        guarded("the host twice", post(b"Host: " + HOST, LENGTH)),
        guarded("another host first", post(b"Host: " + HOST, LENGTH, host=b"Host: evil.example")),
        guarded("chunks for another host", post(CHUNKED, host=b"Host: a", body=CHUNKS + HIDING)),
    ]


def _connections() -> list[Case]:
    closing = (b"close", b"Close", b"close, x-foo", b"x-foo , close", b"keep-alive, close")
    return [
        *(last(f"Connection: {v.decode()}", post(b"Connection: " + v, LENGTH)) for v in closing),
        last(
            "two words about the connection", post(b"Connection: x", b"Connection: close", LENGTH)
        ),
        last("an end without a body", post(b"Connection: close", body=HIDING), EMPTY),
        *(
            passes(
                f"Connection: {value.decode()}", post(b"Connection: " + value, b"X-Foo: 1", LENGTH)
            )
            for value in (b"x-foo", b"keep-alive", b"", b",", b"closed", b"content-length", b"host")
        ),
        passes(
            "Connection: transfer-encoding",
            post(b"Connection: transfer-encoding", CHUNKED, body=CHUNKS + HIDING),
        ),
    ]


def _upgrades() -> list[Case]:
    def offered(protocol: bytes, *lines: bytes, body: bytes, first: bytes = _FIRST) -> bytes:
        offer = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: " + protocol)
        return post(*offer, b"HTTP2-Settings: x", *lines, body=body + HIDING, first=first)

    get = b"GET /kimi/v1/models HTTP/1.1"
    got: Gist = ("GET", "/coding/v1/models", b"")
    cases = []
    for protocol in (b"h2c", b"TLS/1.0", b"HTTP/2.0", b"foo"):
        name = f"an offer of {protocol.decode()}"
        for case in (
            either(f"{name} and a body", offered(protocol, LENGTH, body=b"hello")),
            either(f"{name} and chunks", offered(protocol, CHUNKED, body=CHUNKS)),
            either(name, offered(protocol, body=b"", first=get), got, HIDDEN),
        ):
            # What follows may be the other protocol's: it need not be read, nor refused.
            cases.append(Case(case.name, case.data, case.read, case.before, closes=True))  # noqa: PERF401
        cases.append(passes(f"{name} that does not count", post(b"Upgrade: " + protocol, LENGTH)))
    return [
        *cases,
        guarded("a WebSocket", offered(b"websocket", body=b"", first=get)),
        guarded("a WebSocket and a body", offered(b"websocket", LENGTH, body=b"hello")),
        guarded("a WebSocket and chunks", offered(b"websocket", CHUNKED, body=CHUNKS)),
    ]


def _behind() -> list[Case]:
    health = b"GET /health HTTP/1.1"
    pages = [
        ("a page", post(LENGTH, first=health)),
        ("a page in chunks", post(CHUNKED, first=health, body=CHUNKS + HIDING)),
    ]
    return [
        passes("an empty line behind it", post(LENGTH, body=b"hello\r\n" + HIDING)),
        either("empty lines behind it", post(LENGTH, body=b"hello" + b"\r\n" * 9 + HIDING)),
        either("a line feed behind it", post(LENGTH, body=b"hello\n" + HIDING)),
        refused("a blank behind it", post(LENGTH, body=b"hello " + HIDING), HELLO),
        refused("noise behind it", post(LENGTH, body=b"helloNOISE\r\n\r\n" + HIDING), HELLO),
        refused("an answer behind it", post(LENGTH, body=b"helloHTTP/1.1 200 OK\r\n\r\n"), HELLO),
        # A body that is not asked for may be read, or end the connection.
        *(
            Case(f"{name} with a body", data, (HIDDEN,), refusable=True, closes=True)
            for name, data in pages
        ),
    ]


def _expectations() -> list[Case]:
    expects = b"Expect: 100-continue"
    return [
        passes("a body that is expected", post(expects, LENGTH)),
        passes("a body that is expected in any case", post(b"eXpEcT: 100-CONTINUE", LENGTH)),
        passes("chunks that are expected", post(expects, CHUNKED, body=CHUNKS + HIDING)),
        passes("nothing that is expected", post(expects, body=HIDING), EMPTY, HIDDEN),
        either("an expectation that nobody knows", post(b"Expect: 200-maybe", LENGTH)),
    ]


def _large() -> list[Case]:
    def many(number: int, size: int) -> bytes:
        return post(*(b"X-%d: %b" % (n, b"y" * size) for n in range(number)), LENGTH)

    return [
        passes("a hundred headers", many(100, 10)),
        either("a thousand headers", many(1000, 10)),
        refused("a thousand large headers", many(1000, 400)),
        passes("a line of 60 kB", post(b"X: " + b"y" * 60_000, LENGTH)),
        refused("a line of 80 kB", post(b"X: " + b"y" * 80_000, LENGTH)),
        refused("a name of 80 kB", post(b"X" * 80_000 + b": y", LENGTH)),
        refused("a target of 80 kB", post(LENGTH, first=b"POST /" + b"y" * 80_000 + b" HTTP/1.1")),
        either("an extension of 80 kB", chunked(b"5;" + b"a" * 80_000 + b"\r\nhello\r\n0\r\n\r\n")),
        refused(
            "trailers of 400 kB",
            chunked(b"5\r\nhello\r\n0\r\n" + b"X: yyyyyyyyy\r\n" * 30_000 + b"\r\n"),
        ),
    ]


CASES: Final = [
    *_lengths(),
    *_codings(),
    *_names(),
    *_lines(),
    *_chunks(),
    *_trailers(),
    *_versions(),
    *_methods(),
    *_targets(),
    *_hosts(),
    *_connections(),
    *_upgrades(),
    *_behind(),
    *_expectations(),
    *_large(),
]


def disguises() -> dict[str, bytes]:
    """Return requests whose bodies are requests, too: whoever loses the body reads them as such."""
    length = b"Content-Length: %d" % len(HIDING)
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDING), HIDING)
    marks = {
        "nothing": (),
        "an expectation": (b"Expect: 100-continue",),
        "an offer of h2c": (b"Connection: Upgrade", b"Upgrade: h2c"),
        "an offer of TLS": (b"Upgrade: TLS/1.0", b"Connection: upgrade"),
        "a WebSocket": (b"Connection: Upgrade", b"Upgrade: websocket"),
        "a web page": (b"Origin: https://evil.example",),
    }
    firsts = [_FIRST, b"GET /health HTTP/1.1", b"GET / HTTP/1.1", b"POST /metrics HTTP/1.1"]
    firsts += [b"CONNECT a.example:443 HTTP/1.1", b"TRACE / HTTP/1.1", b"POST * HTTP/1.1"]
    found = {}
    for first in firsts:
        for mark, lines in marks.items() if first == _FIRST else [("nothing", ())]:
            name = f"{first.decode()} and {mark}"
            found[f"{name}, a length"] = post(*lines, length, first=first, body=HIDING)
            found[f"{name}, chunks"] = post(*lines, CHUNKED, first=first, body=chunks)
    found["another host, a length"] = post(length, host=b"Host: evil.example", body=HIDING)
    found["another host, chunks"] = post(CHUNKED, host=b"Host: evil.example", body=chunks)
    return found
