"""How requests are told apart, and what is refused because two servers may read it in two ways."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.proxy.framing import HEAD_BYTES, LINE_BYTES, Garbled, Request, Requests

POST = b"POST /kimi/v1/messages?a=b HTTP/1.1\r\nHost: a\r\nX-Odd: B\r\n"
WITH_LENGTH = POST + b"Content-Length: 5\r\n\r\nhello"
IN_CHUNKS = (
    POST + b"Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nX-Late: 1\r\n\r\n"
)


def read(data: bytes, *cuts: int) -> list[Request]:
    """The requests in *data*, fed in pieces."""
    requests = Requests()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for begin, end in itertools.pairwise(edges):
        if begin < end:
            requests.feed(data[begin:end])
    return list(requests.arrived)


@pytest.mark.parametrize("data", [WITH_LENGTH, IN_CHUNKS])
@given(cuts=st.lists(st.integers(0, 150), max_size=8))
def test_a_request_is_the_same_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    """Head in order and case, body without framing, and a trailer that is left behind."""
    (request,) = read(data, *cuts)
    assert (request.head.method, request.head.target) == ("POST", "/kimi/v1/messages?a=b")
    assert list(request.head.raw)[:2] == [(b"Host", b"a"), (b"X-Odd", b"B")]
    assert not request.head.has(b"x-late")
    assert (b"".join(request.pieces), request.size) == (b"hello", 5)
    assert (request.whole, request.garbled, request.keeps, request.is_11) == (True, False) + (
        True,
    ) * 2
    assert request.length == (5 if data is WITH_LENGTH else None)


@given(cuts=st.lists(st.integers(0, 400), max_size=8), order=st.permutations([0, 0, 1, 1]))
def test_requests_follow_one_another(cuts: list[int], order: list[int]) -> None:
    """As many as were sent, in order, none with a byte of another."""
    data = b"".join((WITH_LENGTH, IN_CHUNKS)[kind] for kind in order)
    requests = read(data, *cuts)
    assert [request.length for request in requests] == [None if kind else 5 for kind in order]
    assert all(b"".join(request.pieces) == b"hello" and request.whole for request in requests)


@pytest.mark.parametrize(
    ("version", "connection", "keeps"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: keep-alive\r\n", True),
    ],
)
def test_a_request_says_whether_another_follows(
    version: bytes, connection: bytes, keeps: bool
) -> None:
    """As HTTP/1.1 and 1.0 each have it."""
    (request,) = read(b"GET / HTTP/%b\r\nHost: a\r\n%b\r\n" % (version, connection))
    assert (request.keeps, request.is_11) == (keeps, version == b"1.1")
    assert (request.length, request.whole) == (0, True)


@pytest.mark.parametrize(
    ("garbage", "reason"),
    [
        (b"\x16\x03\x01", "not HTTP"),
        (b"GET /\r\n\r\n", "no HTTP/1.1"),
        (b"GET / HTTP/2.0\r\n\r\n", "no HTTP/1.1"),
        (b"GET / HTTP/1.1\nHost: a\n\n", "not HTTP"),
        (b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", "not HTTP"),
        (b"GET / HTTP/1.1\r\nA : b\r\n\r\n", "not HTTP"),
        (POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "not HTTP"),
        (POST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n", "not HTTP"),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "transfer coding"),
        (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "not HTTP"),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "transfer coding"),
        (POST + b"Host: b\r\n\r\n", "more than one Host"),
        (b"GET /" + b"a" * (LINE_BYTES + 1) + b" HTTP/1.1\r\n\r\n", "too long"),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * (LINE_BYTES + 1) + b"\r\n\r\n", "too long"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * (HEAD_BYTES // 6 + 2), "head is too long"),
    ],
)
def test_what_can_be_read_in_two_ways_is_not_read(garbage: bytes, reason: str) -> None:
    """A reason without an echo, and nothing after it is read."""
    requests = Requests()
    with pytest.raises(Garbled, match=reason):
        requests.feed(garbage)
    assert requests.ended
    requests.feed(WITH_LENGTH)
    assert not requests.arrived


def test_a_body_that_goes_wrong_is_garbled() -> None:
    """Its head has arrived, so whoever serves it is told; nothing after it is read."""
    requests = Requests()
    requests.feed(POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + WITH_LENGTH)
    (request,) = requests.arrived
    assert (request.garbled, request.whole, requests.ended) == (True, False, True)


def test_a_trailer_without_an_end_is_garbled() -> None:
    """Bodies are bounded by whoever takes them, trailers here."""
    requests = Requests()
    requests.feed(POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n")
    requests.feed(b"A: b\r\n" * (HEAD_BYTES // 6 + 2))
    (request,) = requests.arrived
    assert request.garbled


def test_what_follows_the_last_request_is_not_read() -> None:
    """Whoever says close has nothing more to ask."""
    requests = Requests()
    with pytest.raises(Garbled):
        requests.feed(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n" + WITH_LENGTH)
    (request,) = requests.arrived
    assert (request.whole, request.keeps) == (True, False)


def test_an_upgrade_is_ignored_and_a_tunnel_is_the_end() -> None:
    """HTTP/1.1 goes on after the one (RFC 9110 section 7.8), nothing does after the other."""
    offer = b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
    offered, after = read(offer + WITH_LENGTH)
    assert (offered.keeps, after.head.method) == (True, "POST")
    for body in (b"Content-Length: 5\r\n\r\nhello", IN_CHUNKS[IN_CHUNKS.index(b"Transfer") :]):
        data = offer.replace(b"\r\n\r\n", b"\r\n" + body) + WITH_LENGTH
        for cut in range(len(data)):
            offered, after = read(data, cut)
            assert (b"".join(offered.pieces), offered.whole) == (b"hello", True)
            assert (b"".join(after.pieces), after.head.method) == (b"hello", "POST")
    requests = Requests()
    requests.feed(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n" + WITH_LENGTH)
    (tunnel,) = requests.arrived
    assert (tunnel.keeps, requests.ended) == (False, True)


def test_a_head_that_has_begun_is_known() -> None:
    """Whoever waits for its end can tell it from silence."""
    requests = Requests()
    begun = [requests.begun]
    for piece in (POST[:20], POST[20:], b"\r\n"):
        requests.feed(piece)
        begun.append(requests.begun)
    requests.close()
    requests.feed(b"G")
    assert [*begun, requests.begun] == [False, True, True, False, False]
