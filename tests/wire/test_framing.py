"""Where an answer ends and what of it is content: whatever comes, and however it is cut."""

from __future__ import annotations

import gzip
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.wire.failure import NotHttp
from bridge.wire.framing import HEAD_BYTES, Incoming

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"


def length(size: int, *more: bytes) -> bytes:
    """Return a head that announces *size* bytes."""
    return b"\r\n".join([b"HTTP/1.1 200 OK", b"Content-Length: %d" % size, *more, b"", b""])


def fed(*data: bytes, bodiless: bool = False) -> Incoming:
    """Return an answer of which *data* has come."""
    incoming = Incoming(bodiless=bodiless)
    for piece in filter(None, data):
        incoming.feed(piece)
    return incoming


def content(incoming: Incoming) -> bytes:
    """Return the content that waits."""
    return b"".join(incoming.taken())


@given(
    parts=st.lists(st.binary(min_size=1, max_size=300), max_size=6),
    framing=st.sampled_from(["chunked", "length", "close"]),
    cuts=st.lists(st.integers(0, 2500), max_size=12),
)
def test_an_answer_is_the_same_however_it_is_cut(
    parts: list[bytes], framing: str, cuts: list[int]
) -> None:
    """Head, content and end do not depend on how the bytes are divided among reads."""
    whole = b"".join(parts)
    if framing == "chunked":
        chunks = b"".join(b"%x;a=b\r\n%b\r\n" % (len(part), part) for part in parts)
        data = CHUNKED + chunks + b"0\r\nX-Trailer: 1\r\n\r\n"
    else:
        data = (length(len(whole)) if framing == "length" else UNTIL_CLOSE) + whole
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    incoming = Incoming()
    got = b""
    for begin, end in pairwise(places):
        assert not incoming.whole or begin == end == len(data)
        if begin != end:
            incoming.feed(data[begin:end])
        got += content(incoming)
    incoming.end()
    assert (incoming.status, incoming.reason, len(incoming.headers)) == (
        (200, b"OK", 1) if framing != "close" else (200, b"OK", 0)
    )
    assert incoming.whole
    assert incoming.keeps is (framing != "close")
    assert got == whole
    assert incoming.held == 0


@pytest.mark.parametrize(
    "head",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 000 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0x3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: folded\r\n  here\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n Content-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX\r\n\r\n",
        CHUNKED + b"3\r\nabcd\r\n",
        CHUNKED + b"3\nabc\n",
        CHUNKED + b"-1\r\n",
        CHUNKED + b"fffffffffffffffff\r\n",
        CHUNKED + b"\r\n",
    ],
)
def test_what_could_mean_two_things_means_nothing(head: bytes) -> None:
    """Conflicting lengths, unknown codings, loose line ends and the like are no answer."""
    with pytest.raises(NotHttp):
        fed(head)
    with pytest.raises(NotHttp):
        fed(*(bytes([byte]) for byte in head))


def test_interim_answers_are_passed_over() -> None:
    """Any number of 1xx come before the answer, and none of their headers is taken for its own."""
    incoming = fed(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n",
        b"Content-Length: 7\r\n\r\nHTTP/1.1 199 Odd\r\n\r\n",
    )
    assert (incoming.status, incoming.whole) == (0, False)
    incoming.feed(length(2) + b"ok")
    assert (incoming.status, incoming.reason) == (200, b"OK")
    assert incoming.headers == [(b"Content-Length", b"2")]
    assert content(incoming) == b"ok"
    assert incoming.whole
    assert incoming.keeps


def test_chunk_extensions_and_trailers_are_left_behind() -> None:
    """They belong to this connection only."""
    incoming = fed(CHUNKED + b'3;a="b;c"\r\nabc\r\n0;x\r\nX-Trailer: 1\r\nSet-Cookie: a\r\n\r\n')
    assert content(incoming) == b"abc"
    assert incoming.headers == [(b"Transfer-Encoding", b"chunked")]
    assert incoming.whole
    assert incoming.keeps


def test_content_is_not_looked_at() -> None:
    """What is compressed stays so."""
    packed = gzip.compress(b"a" * 1000)
    incoming = fed(length(len(packed), b"Content-Encoding: gzip") + packed)
    assert content(incoming) == packed


def test_headers_stay_bytes_in_order_and_case() -> None:
    """Also what is no text, and what is empty."""
    incoming = fed(b"HTTP/1.1 200\r\nX-b: \xc3\xbc\xff\r\nx-A:\r\nContent-Length: 0\r\n\r\n")
    assert incoming.reason == b""
    assert incoming.headers[:2] == [(b"X-b", b"\xc3\xbc\xff"), (b"x-A", b"")]


@pytest.mark.parametrize("head", [length(10), CHUNKED, UNTIL_CLOSE])
def test_an_answer_to_head_ends_with_its_head(head: bytes) -> None:
    """Whatever it announces; and as no end of it was seen, it is the last on its connection."""
    incoming = fed(head, bodiless=True)
    assert incoming.whole
    assert not incoming.keeps
    assert content(incoming) == b""


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",
        length(0),
    ],
)
def test_some_answers_have_no_content(head: bytes) -> None:
    """204 and 304 end with their head, and the connection is kept."""
    incoming = fed(head)
    assert incoming.whole
    assert incoming.keeps


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_content_that_should_not_be_there_may_come_all_the_same(status: bytes) -> None:
    """What is announced in vain ends with the head; the connection carries no other answer."""
    for framing in (b"Content-Length: 10", b"Transfer-Encoding: chunked"):
        incoming = fed(b"HTTP/1.1 %b\r\n%b\r\n\r\n" % (status, framing))
        assert incoming.whole
        assert not incoming.keeps


@pytest.mark.parametrize("more", [b"X", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/", b"\x00" * 100])
@pytest.mark.parametrize(
    "whole",
    [
        length(2) + b"ok",
        length(2, b"Connection: close") + b"ok",
        CHUNKED + b"2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_what_comes_after_the_end_makes_it_the_last(whole: bytes, more: bytes) -> None:
    """The answer stays whole, nothing is added to it, and nothing else is read there."""
    expected = content(fed(whole))
    for incoming in (fed(whole + more), fed(whole, more), fed(whole[:-1], whole[-1:] + more)):
        assert incoming.whole
        assert not incoming.keeps
        assert content(incoming) == expected
        assert incoming.status in {200, 204, 304}
        assert incoming.reason in {b"OK", b"No Content", b"Not Modified"}


@pytest.mark.parametrize(
    ("head", "keeps"),
    [
        (length(0), True),
        (length(0, b"Connection: Keep-Alive"), True),
        (length(0, b"Connection: close"), False),
        (length(0, b"Connection: x, CLOSE"), False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", True),
        (
            b"HTTP/1.1 426 No\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 0\r\n\r\n",
            True,
        ),
    ],
)
def test_the_upstream_says_whether_it_goes_on(head: bytes, keeps: bool) -> None:
    """By version and ``Connection``; an upgrade that is only offered changes nothing."""
    incoming = fed(head)
    assert incoming.whole
    assert incoming.keeps is keeps


def test_only_an_answer_without_a_length_ends_with_its_connection() -> None:
    """Everything else that is cut is cut."""
    for head, whole in [(UNTIL_CLOSE, True), (length(5), False), (CHUNKED, False)]:
        incoming = fed(head + b"2\r\n")
        incoming.end()
        assert incoming.whole is whole
        assert not incoming.keeps
    for nothing in (b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 100 Continue\r\n\r\n"):
        incoming = fed(nothing)
        incoming.end()
        assert not incoming.whole


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (b"HTTP/1.1 200 OK\r\nX: ", b"x" * 4096),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000),
        (b"HTTP/1.1 200 ", b"x" * 4096),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100),
        (b"", b"\r\n" * 1000),
        (CHUNKED + b"1\r\na\r\n0\r\nX: ", b"x" * 4096),
        (CHUNKED + b"1\r\na\r\n0\r\n", b"X: y\r\n" * 1000),
        (CHUNKED + b"1;", b"x" * 4096),
    ],
)
def test_what_has_no_end_is_given_up(begin: bytes, more: bytes) -> None:
    """A head, an interim one, a trailer or a chunk extension cannot fill the memory."""
    with pytest.raises(NotHttp):
        fed(begin, *[more] * (HEAD_BYTES // len(more) + 2))


def test_content_has_no_limit() -> None:
    """Neither a long stream of small chunks nor a large piece is taken for a head."""
    incoming = fed(CHUNKED)
    for _ in range(HEAD_BYTES // 6 + 2):
        incoming.feed(b"1\r\na\r\n")
        assert incoming.taken() == [b"a"]
    incoming = fed(length(4 * HEAD_BYTES))
    incoming.feed(bytes(2 * HEAD_BYTES))
    incoming.feed(bytes(2 * HEAD_BYTES))
    assert incoming.whole
