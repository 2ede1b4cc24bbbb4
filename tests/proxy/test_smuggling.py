"""What could be read in two ways is refused, or read in the one way that was meant."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes import loop
from tests.proxy.ambiguous import (
    CASES,
    CHUNKED,
    CHUNKS,
    EMPTY,
    FINAL,
    HELLO,
    HIDDEN,
    HIDING,
    HOST,
    LENGTH,
    Case,
    Gist,
    disguises,
    post,
)
from tests.proxy.doorway import Doorway, doorway
from tests.proxy.rawclient import RawClient, passes, rawclient
from tests.proxy.witness import Witness

FULL: Final = os.environ.get("BRIDGE_TEST_FULL") == "1"
#: The statuses of a refusal (RFC 9110 sections 15.5, 15.6.2 and 15.6.6).
REFUSALS: Final = frozenset({*range(400, 500), 501, 505})


async def _at_once(client: RawClient, data: bytes) -> None:
    await client.sends(data)


async def _in_two(client: RawClient, data: bytes) -> None:
    head, separator, rest = data.partition(b"\r\n\r\n")
    await client.sends(head + separator)
    await passes(10)
    await client.sends(rest)


async def _in_drips(client: RawClient, data: bytes) -> None:
    await client.drips(data, 1)


DELIVERIES: Final[dict[str, Callable[[RawClient, bytes], Awaitable[None]]]] = {
    "at once": _at_once,
    "head first": _in_two,
    "byte by byte": _in_drips,
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_request_is_read_in_one_way_or_refused(case: Case) -> None:
    """However it is cut into segments; and what hides behind it is a request of its own or nothing.

    The upstream never sees anything else, nor any byte that was not framed anew.
    """
    async with Witness() as witness, doorway(witness.url) as way:
        for delivery in DELIVERIES:
            if len(case.data) > 5_000 and delivery == "byte by byte":
                continue
            seen = len(witness.requests)
            async with rawclient(way.port) as client:
                await DELIVERIES[delivery](client, spoken(case.data + FINAL, way))
                await client.settles()
                await passes(10)  # what is not to come would come now
                judge(case, client, witness.gists[seen:])
            await serves(way, witness)
    assert (witness.complaints, witness.leftovers) == ([], [])


@pytest.mark.parametrize("name", disguises())
async def test_a_body_is_never_taken_for_a_request(name: str) -> None:
    """Not behind a refusal either: it is read as a body, or the connection ends before it."""
    for delivery in DELIVERIES.values():
        async with Witness() as witness, doorway(witness.url) as way, rawclient(way.port) as client:
            await delivery(client, spoken(disguises()[name] + FINAL, way))
            await client.settles()
            await passes(10)
            answers = [each for each in client.answers if each.status != 100]
        body = spoken(HIDING, way)
        assert witness.gists in ([], [("POST", "/coding/v1/messages", body)])
        assert (witness.complaints, witness.leftovers) == ([], [])
        assert len(answers) in {1, 2}
        if len(answers) == 2:
            assert answers[1].header(b"x-bridge-instance")
            assert answers[0].header(b"connection") == b""


def spoken(data: bytes, way: Doorway) -> bytes:
    """Return *data* with the host of the door."""
    return data.replace(HOST, b"127.0.0.1:%d" % way.port)


def judge(case: Case, client: RawClient, gists: list[Gist]) -> None:
    """Say whether what the client and the upstream have seen is one of the safe outcomes."""
    answers = [answer for answer in client.answers if answer.status != 100]
    statuses = tuple(answer.status for answer in answers)
    told = f"{statuses} {client.end or 'open'}, upstream {gists}"
    assert all(answer.whole for answer in answers), told
    assert len(client.answers) <= len(answers) + 1, told
    if len(statuses) == 3 and answers[-1].header(b"x-bridge-instance"):
        assert case.read is not None, told
        assert statuses[:2] in case.statuses, told
        assert gists == list(case.read), told
        return
    assert case.refusable, told
    allowed = case.before if case.read is None else case.read
    assert gists == list(allowed[: len(gists)]), told
    assert answers, told
    if statuses[-1] in REFUSALS:
        assert set(statuses[:-1]) <= {200}, told
    else:
        assert case.closes, told
        assert set(statuses) == {200}, told


async def serves(way: Doorway, witness: Witness) -> None:
    """Ask once more, on a connection of its own: the door is open, and nothing else was waiting."""
    seen = len(witness.requests)
    async with rawclient(way.port) as client:
        await client.sends(spoken(post(LENGTH, b"Connection: close", body=b"hello"), way))
        await client.settles()
        assert client.statuses == [200]
    assert witness.gists[seen:] == [HELLO]
    assert way.door.live == 0


@pytest.mark.parametrize(
    ("name", "begin", "more"),
    [
        ("a target", b"GET /", b"x"),
        ("a method", b"G", b"G"),
        ("a version", b"GET / HTTP/1.1", b" "),
        ("a value", b"GET / HTTP/1.1\r\nX: ", b"x"),
        ("a name", b"GET / HTTP/1.1\r\n", b"x"),
        ("a head", b"GET / HTTP/1.1\r\n", b"X: y\r\n"),
        ("a head of blanks", b"GET / HTTP/1.1\r\nX:", b" "),
        ("a size", post(CHUNKED, body=b""), b"0"),
        ("an extension", post(CHUNKED, body=b"5;"), b"x"),
        ("a trailer", post(CHUNKED, body=b"0\r\nX: "), b"y"),
        ("trailers", post(CHUNKED, body=b"0\r\n"), b"X: y\r\n"),
    ],
)
async def test_what_has_no_end_is_ended(name: str, begin: bytes, more: bytes) -> None:
    """A megabyte of it suffices: a 4xx and no more listening, whatever else would come."""
    async with Witness() as witness, doorway(witness.url) as way:
        async with rawclient(way.port, send_buffer=1 << 14) as client:
            sending = asyncio.create_task(
                client.sends(spoken(begin, way) + more * ((16 << 20) // len(more)))
            )
            await client.settles()
            (answer,) = client.answers
            assert answer.status in REFUSALS
            sending.cancel()
        await serves(way, witness)
    assert (witness.complaints, witness.leftovers) == ([], [])


@pytest.mark.parametrize(
    "announced",
    [
        b"Content-Length: 9223372036854775807",
        b"Content-Length: 18446744073709551615",
        b"Content-Length: 99999999999",
    ],
)
async def test_a_length_beyond_all_bounds_is_refused_unread(announced: bytes) -> None:
    """It need not come first, and no memory is set aside for it."""
    async with Witness() as witness, doorway(witness.url) as way:
        async with rawclient(way.port) as client:
            await client.sends(spoken(post(announced) + FINAL, way))
            await client.settles()
            await passes(10)
            assert client.statuses in ([413], [400])
        assert witness.requests == []
        await serves(way, witness)


@pytest.mark.parametrize("size", [b"7fffffffffffffff", b"ffffffffffffffff", b"10000000"])
async def test_a_chunk_beyond_all_bounds_goes_nowhere(size: bytes) -> None:
    """It is refused, or waited for until the client leaves; what follows is its content."""
    async with Witness() as witness, doorway(witness.url) as way:
        async with rawclient(way.port) as client:
            await client.sends(spoken(post(CHUNKED, body=size + b"\r\n" + HIDING) + FINAL, way))
            await passes(50)
            assert client.statuses in ([], [413], [400])
        assert witness.requests == []
        await serves(way, witness)


async def test_headers_arrive_as_they_were_sent() -> None:
    """In order and case, doubled or empty, a tab inside and UTF-8 too; only blanks around go."""
    sent = [
        *((b"x-lower", b"1"), (b"X-UPPER", b"2"), (b"X-mIxEd", b"3"), (b"x-LOWER", b"4")),
        *((b"X-Empty", b""), (b"X-Tab", b"a\tb  c"), (b"X-Comma", b"a, b,c"), (b"X-Colon", b"a:b")),
        *((b"X-Utf8", "grüß €😀".encode()), (b"X-Quoted", b'"a; b"'), (b"x_under.score", b"5")),
    ]
    async with Witness() as witness, doorway(witness.url) as way, rawclient(way.port) as client:
        lines = [b"%b: \t %b \t" % pair for pair in sent]
        await client.sends(spoken(post(*lines, LENGTH, body=b"hello"), way))
        await client.hears(b"\r\n\r\n1")
    (request,) = witness.requests
    known = {b"host", b"content-length", b"authorization"}
    assert [pair for pair in request.headers if pair[0].lower() not in known] == sent


async def test_bytes_that_are_no_text_arrive_unchanged_or_not_at_all() -> None:
    """Latin-1 is not guessed at: it passes as it is, or is refused."""
    async with Witness() as witness, doorway(witness.url) as way, rawclient(way.port) as client:
        await client.sends(spoken(post(b"X-Name: caf\xe9\xff", LENGTH, body=b"hello"), way))
        await client.hears(b"\r\n\r\n")
        (status,) = client.statuses
    if status == 200:
        (request,) = witness.requests
        assert request.values(b"x-name") == [b"caf\xe9\xff"]
    else:
        assert (status, witness.requests) == (400, [])


@pytest.mark.parametrize("lines", [b"X-T: 1", b"Host: evil.example\r\nAuthorization: Bearer x"])
async def test_nothing_of_a_trailer_gets_through(lines: bytes) -> None:
    """Neither a header nor another credential; a trailer of this kind may be refused, too."""
    async with Witness() as witness, doorway(witness.url) as way, rawclient(way.port) as client:
        body = b"5\r\nhello\r\n0\r\n" + lines + b"\r\n\r\n"
        await client.sends(spoken(post(CHUNKED, body=body), way))
        await client.hears(b"\r\n\r\n")
        (status,) = client.statuses
    assert status in ({200} if lines == b"X-T: 1" else {200, 400})
    for request in witness.requests:
        assert [name.lower() for name, _ in request.headers] == [
            b"host",
            b"authorization",
            b"content-length",
        ]
        assert request.values(b"authorization") == [b"Bearer fresh"]


@pytest.mark.parametrize(
    ("named", "gone"),
    [
        (b"X-Foo", [b"x-foo"]),
        (b"x-foo, X-BAR", [b"x-foo", b"x-bar"]),
        (b",, X-Foo ,", [b"x-foo"]),
        (b"X-Foo\r\nConnection: keep-alive\r\nconnection: x-bar", [b"x-foo", b"x-bar"]),
        (b"Host, Content-Length, Authorization", []),
        (b"keep-alive", []),
    ],
)
async def test_what_connection_names_stays_behind(named: bytes, gone: list[bytes]) -> None:
    """All of it and nothing else; framing, host and credential cannot be named away."""
    async with Witness() as witness, doorway(witness.url) as way, rawclient(way.port) as client:
        lines = [b"X-Foo: 1", b"x-bar: 2", b"X-Foobar: 3", b"Connection: " + named]
        await client.sends(spoken(post(*lines, LENGTH, body=b"hello"), way))
        await client.hears(b"\r\n\r\n1")
    (request,) = witness.requests
    names = [name.lower() for name, _ in request.headers]
    stays = [name for name in (b"x-foo", b"x-bar", b"x-foobar") if name not in gone]
    assert [name for name in names if name.startswith(b"x-")] == stays
    assert b"connection" not in names
    assert request.values(b"authorization") == [b"Bearer fresh"]
    assert (request.values(b"content-length"), request.body) == ([b"5"], b"hello")


@pytest.mark.parametrize("framing", [LENGTH, CHUNKED])
async def test_an_offer_of_another_protocol_does_not_lose_the_body(framing: bytes) -> None:
    """Some clients offer HTTP/2 with a request: it is refused, or arrives with its body."""
    body = b"hello" if framing == LENGTH else CHUNKS
    offer = [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"]
    for delivery in DELIVERIES.values():
        async with Witness() as witness, doorway(witness.url) as way, rawclient(way.port) as client:
            await delivery(client, spoken(post(*offer, framing, body=body), way))
            await client.hears(b"\r\n\r\n")
            (status,) = client.statuses
        assert (status in REFUSALS) is not (witness.gists == [HELLO])
        assert witness.gists in ([], [HELLO])


@pytest.mark.parametrize("framing", [LENGTH, CHUNKED])
@pytest.mark.parametrize("waits", [False, True])
async def test_an_expectation_is_met_once(waits: bool, framing: bytes) -> None:
    """One interim answer for who waits, none before a body that is here; it goes no further."""
    body = b"hello" if framing == LENGTH else CHUNKS
    async with Witness() as witness, doorway(witness.url) as way, rawclient(way.port) as client:
        head = spoken(post(b"Expect: 100-continue", framing, body=b""), way)
        for number in (1, 2):
            await client.sends(head if waits else head + body)
            if waits:
                await client.hears(b"HTTP/1.1 100 Continue\r\n\r\n", number)
                await client.sends(body)
            await client.hears(b"HTTP/1.1 200 ", number)
        assert client.statuses == ([100, 200] * 2 if waits else [200] * 2)
    assert witness.gists == [HELLO, HELLO]
    assert all(request.values(b"expect") == [] for request in witness.requests)


async def test_an_expectation_that_is_refused_asks_for_nothing() -> None:
    """A client that is turned away is not asked for its body first."""
    async with (
        Witness() as witness,
        doorway(witness.url, peer_uid=lambda: 4242) as way,
        rawclient(way.port) as client,
    ):
        await client.sends(spoken(post(b"Expect: 100-continue", LENGTH, body=b""), way))
        await client.settles()
        assert client.statuses == [403]
    assert witness.requests == []


async def test_two_hundred_refusals_leave_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """No connection is left, and of each the log has one line that is no alarm."""
    caplog.set_level(logging.INFO, "bridge")
    wrong = [case for case in CASES if case.read is None and not case.closes and not case.before]
    async with Witness() as witness, doorway(witness.url) as way:
        for case in (wrong * 3)[:200]:
            async with rawclient(way.port) as client:
                await client.sends(spoken(case.data, way))
                await client.settles()
        await passes(20)
        assert list(way.door._connections) == []
    assert witness.requests == []
    assert len(caplog.records) == 200
    assert all(record.message.startswith("request ") for record in caplog.records)
    assert all(record.levelno <= logging.WARNING for record in caplog.records)


#: Pieces that matter to a parser, to be put where they do not belong.
SPLINTERS: Final = st.sampled_from(
    [
        *(b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b"\x00", b"0", b"5", b"\r\n\r\n", b"0\r\n\r\n"),
        *(
            b"Content-Length: 3\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"HTTP/1.1",
            HIDING,
            b"\xff",
        ),
    ]
)


@pytest.mark.timeout(300)
@settings(
    max_examples=1000 if FULL else 60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    sound=st.sampled_from([post(LENGTH), post(CHUNKED, body=CHUNKS + HIDING)]),
    wounds=st.lists(
        st.tuples(st.integers(0, 300), st.integers(0, 3), SPLINTERS), min_size=1, max_size=4
    ),
    cut=st.integers(0, 300),
)
def test_a_wounded_request_hurts_nobody(
    sound: bytes, wounds: list[tuple[int, int, bytes]], cut: int
) -> None:
    """Whatever is torn out or put in, and wherever it is cut into segments.

    What goes upstream is framed anew, what comes back are answers, and the door stays open.
    """
    data = sound
    for place, size, splinter in wounds:
        data = data[:place] + splinter + data[place + size :]

    async def through() -> None:
        async with Witness() as witness, doorway(witness.url) as way:
            await serves(way, witness)  # from here on no thread looks a name up
            async with rawclient(way.port) as client:
                whole = spoken(data + FINAL, way)
                await client.sends(whole[:cut])
                await passes(5)
                await client.sends(whole[cut:])
                await passes(60)
                assert {answer.status for answer in client.answers} <= {100, 200, *REFUSALS}
                assert len(witness.requests) <= len(client.answers) + 1
            await serves(way, witness)
        assert (witness.complaints, witness.leftovers) == ([], [])
        known = {b"host", b"authorization", b"content-length"}
        for request in witness.requests:
            assert request.values(b"authorization") == [b"Bearer fresh"]
            assert len([name for name, _ in request.headers if name.lower() in known]) <= 3

    loop.run(through())


def test_the_cases_can_tell() -> None:
    """Each case has another name, and each kind of outcome is among them."""
    assert len({case.name for case in CASES}) == len(CASES)
    assert {case.read for case in CASES} >= {None, (HELLO, HIDDEN), (EMPTY, HIDDEN), (HIDDEN,)}
