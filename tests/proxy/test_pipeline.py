"""Requests one behind the other on a connection: in order, whole, bounded, left at any moment."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.proxy.passage import Limits
from tests.fakes import loop
from tests.proxy.ambiguous import CHUNKED, CHUNKS, FINAL, HELLO, LENGTH, post
from tests.proxy.doorway import Doorway, doorway
from tests.proxy.rawclient import RawClient, passes, rawclient
from tests.proxy.test_smuggling import spoken
from tests.proxy.witness import Sent, Witness
from tests.wire.farside import descriptors, fewer_than, turns

FULL: Final = os.environ.get("BRIDGE_TEST_FULL") == "1"
MEBIBYTE: Final = 1 << 20
#: A small request in both framings, with what agents send.
SMALL: Final = {
    "length": post(b"X-A: b", b"Accept: */*", LENGTH, body=b"hello"),
    "chunks": post(b"X-A: b", b"Accept: */*", CHUNKED, body=CHUNKS),
}


@asynccontextmanager
async def passage(limits: Limits | None = None) -> AsyncIterator[tuple[Witness, Doorway]]:
    """A door before a witness, who has nothing to complain of in the end."""
    async with Witness() as witness, doorway(witness.url, limits=limits) as way:
        yield witness, way
        await is_empty(way)
    assert witness.complaints == []


async def is_empty(way: Doorway) -> None:
    """Return once no connection is open and nothing is under way."""
    async with asyncio.timeout(30):
        while list(way.door._connections) or way.door.live:
            await turns(1)


async def test_one_after_the_other() -> None:
    """Sent in one segment they are answered in order, and only one is with the upstream at a time.

    Also where a page of ours, a refusal and an answer without content are among them.
    """
    data = [
        post(LENGTH, body=b"first"),
        post(first=b"GET /health HTTP/1.1", body=b""),
        post(CHUNKED, body=b"6\r\nsecond\r\n0\r\nX-T: 1\r\n\r\n"),
        post(first=b"GET /metrics HTTP/1.1", body=b""),
        post(LENGTH, first=b"DELETE /kimi/v1/things HTTP/1.1", body=b"third"),
        post(LENGTH, host=b"Host: evil.example", body=b"never"),
        post(LENGTH, body=b"forth"),
    ]
    async with passage() as (witness, way), rawclient(way.port) as client:
        witness.hold = True
        await client.sends(spoken(b"".join(data) + FINAL, way))
        for number, body in enumerate((b"first", b"second", b"third", b"forth")):
            sent = await witness.arrives()
            await passes(20)
            assert sent.body == body
            assert (len(witness.requests), witness.waiting, way.door.live) == (number + 1, 0, 1)
            sent.answers(body * 1000)
        assert await client.ends() == "closed"
        answers = client.answers
        await passes(10)
    assert [answer.status for answer in answers] == [200, 200, 200, 404, 200, 421, 200, 200]
    contents = [answer.content for answer in answers if not answer.header(b"content-type")]
    assert contents == [body * 1000 for body in (b"first", b"second", b"third", b"forth")]


@pytest.mark.parametrize("framing", SMALL)
async def test_wherever_a_request_is_cut(framing: str) -> None:
    """At each byte once, on a connection that is kept: the same bytes leave each time."""
    async with passage() as (witness, way), rawclient(way.port) as client:
        data = spoken(SMALL[framing], way)
        for place in range(1, len(data)):
            await client.sends(data[:place])
            await passes(4)
            assert len(witness.requests) == place - 1
            await client.sends(data[place:])
            await client.hears(b"HTTP/1.1 200 OK\r\n", place)
        assert client.statuses == [200] * (len(data) - 1)
    assert {sent.raw for sent in witness.requests} == {witness.requests[0].raw}
    assert witness.gists == [HELLO] * (len(data) - 1)


async def test_wherever_two_requests_are_cut() -> None:
    """Also where the end of one and the beginning of the next come together."""
    async with passage() as (witness, way), rawclient(way.port) as client:
        data = spoken(SMALL["chunks"] + SMALL["length"], way)
        for place in range(1, len(data)):
            await client.sends(data[:place])
            await passes(4)
            await client.sends(data[place:])
            await client.hears(b"HTTP/1.1 200 OK\r\n", 2 * place)
        assert client.statuses == [200] * 2 * (len(data) - 1)
    assert {sent.raw for sent in witness.requests} == {witness.requests[0].raw}


#: One request: method, body, and how it is framed (``None``: by its length; else sizes of chunks).
Wish = tuple[str, bytes, "list[int] | None"]
WISHES: Final = st.lists(
    st.tuples(
        st.sampled_from(["POST", "GET", "PUT", "DELETE"]),
        st.binary(max_size=300),
        st.none() | st.lists(st.integers(1, 90), min_size=1, max_size=4),
    ),
    min_size=1,
    max_size=5,
)


def worded(wish: Wish) -> bytes:
    """Return *wish* as it is sent."""
    method, body, sizes = wish
    first = method.encode() + b" /kimi/v1/things HTTP/1.1"
    if sizes is None:
        return post(b"Content-Length: %d" % len(body), first=first, body=body)
    chunks, rest = b"", body
    while rest:
        size = sizes[len(rest) % len(sizes)]
        piece, rest = rest[:size], rest[size:]
        chunks += b"%x;x=%d\r\n%b\r\n" % (len(piece), len(rest), piece)
    return post(CHUNKED, first=first, body=chunks + b"0\r\nX-T: t\r\n\r\n")


@pytest.mark.timeout(300)
@settings(
    max_examples=500 if FULL else 50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(wishes=WISHES, cuts=st.lists(st.integers(0, 3000), max_size=8))
def test_what_is_asked_does_not_depend_on_segments(wishes: list[Wish], cuts: list[int]) -> None:
    """For any requests, framings and cuts the upstream sees the same, and nothing else."""

    async def through() -> list[tuple[str, str, bytes]]:
        async with passage() as (witness, way), rawclient(way.port) as client:
            data = spoken(b"".join(map(worded, wishes)) + FINAL, way)
            place = 0
            for cut in sorted(cuts):
                await client.sends(data[place:cut])
                place = max(place, cut)
                await passes(2)
            await client.sends(data[place:])
            assert await client.ends() == "closed"
            assert client.statuses == [200] * (len(wishes) + 1)
        return witness.gists

    assert loop.run(through()) == [
        (method, "/coding/v1/things", body) for method, body, _ in wishes
    ]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("body", [b"", b"hello", b"x" * 1000])
async def test_thousands_in_one_go(body: bytes) -> None:
    """All are answered, in order, also those whose end comes when the line is free again."""
    number = 3000 if FULL else 1000
    one = post(b"Content-Length: %d" % len(body), body=body)
    async with passage() as (witness, way), rawclient(way.port) as client:
        sending = asyncio.create_task(client.sends(spoken(one * number + FINAL, way)))
        assert await client.ends() == "closed"
        await sending
        answers = client.answers
    assert len(answers) == number + 1
    assert [answer.content for answer in answers[:-1]] == [b"%d" % (n + 1) for n in range(number)]
    assert {sent.body for sent in witness.requests} == {body}


async def test_a_flood_waits_outside() -> None:
    """While one request is under way, no more is taken in than a little: the rest stays unsent."""
    flood = 64 * MEBIBYTE
    async with passage() as (witness, way), rawclient(way.port, send_buffer=1 << 16) as client:
        witness.hold = True
        one = spoken(post(b"Content-Length: 1000", body=b"x" * 1000), way)
        sending = asyncio.create_task(client.sends(one * (flood // len(one))))
        sent = await witness.arrives()
        await quiet(lambda: client.unsent, 300)
        # Whatever has left the client is with the kernel, which takes some megabytes, or with us.
        assert flood - client.unsent < 16 * MEBIBYTE
        assert (len(witness.requests), way.door.live) == (1, 1)
        sent.answers()
        second = await witness.arrives()
        sending.cancel()
        client.leaves(reset=True)
        second.answers()
        witness.hold = False


async def quiet(progress: Callable[[], int], turns_of_it: int = 10) -> None:
    """Return once nothing has moved for so many turns of the loop: all parties live on this one."""
    still, seen = 0, -1
    while still < turns_of_it:
        await turns(1)
        still = still + 1 if progress() == seen else 0
        seen = progress()


@pytest.mark.parametrize("size", [60_000, 100_000, 250_000])
async def test_an_answer_that_fills_its_client_to_the_brim(size: int) -> None:
    """Who does not read while an answer comes to its end stops nobody else.

    The connection on which it came may be another's by then: whoever asks next gets an answer, and
    so does the first when it reads again.
    """
    number = 16 * MEBIBYTE // size
    one = SMALL["length"]
    async with passage() as (witness, way):
        witness.content = bytes(size)
        async with rawclient(way.port) as client:
            client.stops_reading()
            for _ in range(number):
                await client.sends(spoken(one, way))
                await quiet(lambda: len(witness.requests))
                async with rawclient(way.port) as another:
                    await another.sends(spoken(one, way))
                    answer = await another.concludes()
                    assert answer is not None
                    assert len(answer.content) == size
            await client.sends(spoken(FINAL, way))
            client.reads_on()
            assert await client.ends() == "closed"
            answers = client.answers
        assert [len(answer.content) for answer in answers[:-1]] == [size] * number
        assert len(witness.requests) == 2 * number


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("ahead", [0, 1, 20])
async def test_who_leaves_takes_what_is_ahead_along(ahead: int, reset: bool) -> None:
    """The exchange under way is closed, and what was sent behind it is never begun."""
    async with passage() as (witness, way):
        witness.hold = True
        async with rawclient(way.port) as client:
            await client.sends(spoken(SMALL["length"] * (ahead + 1), way))
            sent = await witness.arrives()
            client.leaves(reset=reset)
            await sent.line.over.wait()
        await is_empty(way)
        await passes(20)
        assert len(witness.requests) == 1


LEAVINGS: Final = {
    "before a word": b"",
    "in the first line": b"POST /kimi/v1/mess",
    "in the head": SMALL["length"][:60],
    "at the end of the head": SMALL["length"].partition(b"\r\n\r\n")[0] + b"\r\n\r",
    "before the body": SMALL["length"][:-5],
    "in the body": SMALL["length"][:-1],
    "in a large body": post(b"Content-Length: 9999999", body=b"x" * 3_000_000),
    "before the chunks": SMALL["chunks"][: -len(CHUNKS)],
    "in the size of a chunk": post(CHUNKED, body=b"5"),
    "in a chunk": post(CHUNKED, body=b"5\r\nhel"),
    "before the last chunk": post(CHUNKED, body=b"5\r\nhello\r\n"),
    "in a trailer": post(CHUNKED, body=b"5\r\nhello\r\n0\r\nX-T: "),
    "when asked to go on": post(b"Expect: 100-continue", LENGTH, body=b""),
}


@pytest.mark.parametrize("moment", LEAVINGS)
async def test_who_leaves_before_the_end_of_a_request_asks_nothing(moment: str) -> None:
    """By closing, by a reset, or by saying that no more comes: fifty times, and nothing is left."""
    async with passage() as (witness, way):
        data = spoken(LEAVINGS[moment], way)
        await visit(way, data, "closes")
        await is_empty(way)
        before = descriptors()
        for number in range(51 if len(data) < 10_000 else 6):
            await visit(way, data, ("closes", "resets", "half-closes")[number % 3])
        await is_empty(way)
        await fewer_than(before + 1)
        assert (witness.lines, witness.requests) == ([], [])
        assert way.door._means.budget.held == 0


async def visit(way: Doorway, data: bytes, leaving: str) -> None:
    """Send *data*, let the door read it, and leave."""
    async with rawclient(way.port) as client:
        await client.sends(data)
        await passes(3)
        if leaving == "half-closes":
            client.half_closes()
            await client.ends()
        else:
            client.leaves(reset=leaving == "resets")
        assert client.statuses in ([], [100])


@pytest.mark.parametrize("leaving", ["closes", "resets", "half-closes"])
@pytest.mark.parametrize("begun", ["nothing", "a head", "a part"])
async def test_who_leaves_an_answer_costs_no_more(begun: str, leaving: str) -> None:
    """The upstream's side is closed at once, fifty times, and nothing is left of any.

    A client that closes its half has left too, as with other servers.
    """
    async with passage() as (witness, way):
        witness.hold = True
        before = 0
        for _ in range(50):
            async with rawclient(way.port) as client:
                await client.sends(spoken(SMALL["chunks"], way))
                sent = await witness.arrives()
                await begin(sent, client, begun)
                if leaving == "half-closes":
                    client.half_closes()
                else:
                    client.leaves(reset=leaving == "resets")
                await sent.line.over.wait()
                assert await client.ends()
            await is_empty(way)
            await turns(5)
            before = before or descriptors()
            await fewer_than(before + 1)
        assert len(witness.requests) == 50


async def begin(sent: Sent, client: RawClient, how: str) -> None:
    """Begin to answer, and return once the client has what was said."""
    if how == "nothing":
        return
    sent.line.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    if how == "a part":
        sent.line.says(b"5\r\nhello\r\n")
        await client.hears(b"hello\r\n")
    else:
        await client.hears(b"\r\n\r\n")


async def test_who_leaves_unread_what_was_answered() -> None:
    """An answer that nobody takes goes with the client who does not read, and its source too."""
    async with passage() as (witness, way):
        witness.hold = True
        for reset in (False, True):
            async with rawclient(way.port) as client:
                client.stops_reading()
                await client.sends(spoken(SMALL["length"], way))
                sent = await witness.arrives()
                sent.line.says(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n")
                sent.line.says(b"x" * 32 * MEBIBYTE)
                await passes(100)
                client.leaves(reset=reset)
                await sent.line.over.wait()
            await is_empty(way)


async def test_a_client_that_has_its_answer_may_close_its_half() -> None:
    """An idle connection closes with it, and what it was sent before is whole."""
    async with passage() as (witness, way):
        for _ in range(20):
            async with rawclient(way.port) as client:
                await client.sends(spoken(SMALL["length"], way))
                await client.hears(b"HTTP/1.1 200 OK\r\n")
                client.half_closes()
                assert await client.ends() == "closed"
                assert [answer.whole for answer in client.answers] == [True]
        await is_empty(way)
        assert len(witness.requests) == 20


async def test_who_waits_for_room_may_leave() -> None:
    """A request that waits for the budget is forgotten with its client, and holds nothing up."""
    limits = Limits(max_body=1000, body_budget=1000)
    large = post(b"Content-Length: 900", body=b"x" * 900)
    async with passage(limits) as (witness, way):
        witness.hold = True
        async with rawclient(way.port) as first, rawclient(way.port) as second:
            await first.sends(spoken(large, way))
            sent = await witness.arrives()
            for leaving in ("closes", "resets"):
                async with rawclient(way.port) as leaver:
                    await leaver.sends(spoken(large, way))
                    await passes(10)
                    leaver.leaves(reset=leaving == "resets")
                await passes(10)
            await second.sends(spoken(large, way))
            await passes(10)
            assert len(witness.requests) == 1
            sent.answers()
            (await witness.arrives()).answers()
            await second.hears(b"HTTP/1.1 200 OK\r\n")
        await is_empty(way)
        assert len(witness.requests) == 2
        assert way.door._means.budget.held == 0
