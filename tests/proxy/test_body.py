"""Request bodies: whole, bounded, and under one budget."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from bridge.errors import Overloaded
from bridge.proxy.body import WAIT_SECONDS, Budget
from bridge.proxy.server import Limits
from tests.fakes.clock import FakeClock
from tests.fakes.upstream import Upstream
from tests.proxy.doorway import MESSAGES, doorway

SMALL = Limits(max_body=1000, body_budget=1500, body_seconds=60)


async def turns(clock: FakeClock, number: int = 5) -> None:
    """Let everybody run."""
    for _ in range(number):
        await clock.sleep(0)


async def test_the_budget_lets_in_what_fits_and_the_rest_in_order() -> None:
    """Who does not fit waits; nobody overtakes; a place that frees goes to the first."""
    clock = FakeClock()
    budget = Budget(clock)
    await budget.take(60, 100)
    large = asyncio.create_task(budget.take(80, 100))
    small = asyncio.create_task(budget.take(10, 100))
    await clock.sleepers(2)
    assert (budget.held, large.done(), small.done()) == (60, False, False)
    budget.give(60)
    await asyncio.gather(large, small)
    assert budget.held == 90
    budget.give(90)
    assert budget.held == 0


async def test_patience_with_the_budget_has_an_end() -> None:
    """After a while the request is told to come back, and who waits behind it gets its chance."""
    clock = FakeClock()
    budget = Budget(clock)
    await budget.take(60, 100)
    large = asyncio.create_task(budget.take(80, 100))
    await clock.sleepers(1)
    clock.advance(WAIT_SECONDS / 2)
    small = asyncio.create_task(budget.take(10, 100))
    await clock.sleepers(2)
    clock.advance(WAIT_SECONDS / 2)
    with pytest.raises(Overloaded, match=r"raise server\.body_budget") as caught:
        await large
    assert (caught.value.status, caught.value.retry_after) == (503, 1)
    await small
    assert budget.held == 70


@pytest.mark.parametrize("granted", [False, True])
async def test_who_leaves_the_queue_takes_nothing(granted: bool) -> None:
    """Cancelled while waiting, or in the very moment of being let in: nothing stays held."""
    clock = FakeClock()
    budget = Budget(clock)
    await budget.take(60, 100)
    waiting = asyncio.create_task(budget.take(80, 100))
    behind = asyncio.create_task(budget.take(30, 100))
    await clock.sleepers(2)
    if granted:
        budget.give(60)
    waiting.cancel()
    await asyncio.wait([waiting])
    await behind
    assert budget.held == (30 if granted else 90)


async def test_what_is_larger_than_the_budget_goes_alone() -> None:
    """A configuration with a small budget does not make large requests impossible."""
    clock = FakeClock()
    budget = Budget(clock)
    await budget.take(500, 100)
    next_one = asyncio.create_task(budget.take(1, 100))
    await clock.sleepers(1)
    assert not next_one.done()
    budget.give(500)
    await next_one


@pytest.mark.parametrize("size", [0, 1, 1000])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_arrives_whole(chunked: bool, size: int) -> None:
    """Up to the limit, with a length or in chunks, and upstream it has a length."""
    body = bytes(index % 251 for index in range(size))
    async with (
        Upstream() as upstream,
        doorway(upstream.url, limits=SMALL) as way,
        way.caller() as caller,
    ):
        if chunked:
            await caller.asks("POST", MESSAGES, [("Transfer-Encoding", "chunked")])
            for half in filter(None, (body[:300], body[300:])):
                await caller.sends(b"%x\r\n%b\r\n" % (len(half), half))
            await caller.sends(b"0\r\n\r\n")
        else:
            await caller.asks("POST", MESSAGES, body=body)
        assert (await caller.answer()).status == 200
    (request,) = upstream.requests
    assert request.body == body
    assert request.header("content-length") == str(size)
    assert request.header("transfer-encoding") == ""


@pytest.mark.parametrize("expects", [False, True])
async def test_a_body_that_announces_too_much_is_refused_at_once(expects: bool) -> None:
    """Its length suffices for a 413; it is not asked for, and the connection ends after it."""
    async with (
        Upstream() as upstream,
        doorway(upstream.url, limits=SMALL) as way,
        way.caller() as caller,
    ):
        more = [("Expect", "100-continue")] if expects else []
        await caller.asks("POST", MESSAGES, [("Content-Length", "1001"), *more])
        answer = await caller.answer()
        assert answer.status == 413
        assert (answer.header("connection"), answer.header("x-should-retry")) == ("close", "false")
        assert b"larger than 1000 bytes" in answer.content
        await caller.sends(bytes(1001))
        assert await caller.rest() == b""
    assert upstream.requests == []


async def test_a_chunked_body_is_refused_when_it_grows_too_large() -> None:
    """Nobody announced it, so it is found out while it comes."""
    async with (
        Upstream() as upstream,
        doorway(upstream.url, limits=SMALL) as way,
        way.caller() as caller,
    ):
        await caller.asks("POST", MESSAGES, [("Transfer-Encoding", "chunked")])
        await caller.sends(b"3e9\r\n" + bytes(1001))
        answer = await caller.answer()
        assert (answer.status, answer.header("connection")) == (413, "close")
    assert upstream.requests == []


async def test_a_garbled_body_is_refused() -> None:
    """Chunks that are none are answered 400 in the dialect, and never go upstream."""
    async with Upstream() as upstream, doorway(upstream.url) as way, way.caller() as caller:
        await caller.asks("POST", MESSAGES, [("Transfer-Encoding", "chunked")])
        await caller.sends(b"zz\r\nhello\r\n0\r\n\r\n")
        answer = await caller.answer()
        assert answer.status == 400
        assert b'{"type": "error"' in answer.content
        assert await caller.rest() == b""
    assert upstream.requests == []


@pytest.mark.parametrize("sent", [b"", b"half"])
async def test_a_body_that_never_comes_is_given_up(sent: bytes) -> None:
    """After the time for it the client gets a 408 and the connection ends."""
    clock = FakeClock()
    async with (
        Upstream() as upstream,
        doorway(upstream.url, limits=SMALL, clock=clock) as way,
        way.caller() as caller,
    ):
        await caller.asks("POST", MESSAGES, [("Content-Length", "8")])
        await caller.sends(sent)
        await clock.sleepers(2)
        assert way.door.live == 1
        clock.advance(SMALL.body_seconds)
        answer = await caller.answer()
        assert (answer.status, answer.header("connection")) == (408, "close")
        assert b"did not arrive within 60 s" in answer.content
        assert way.door.live == 0
    assert upstream.requests == []


async def test_a_client_that_leaves_in_mid_body_leaves_nothing() -> None:
    """Its share of the budget is free again for the next."""
    clock = FakeClock()
    limits = replace(SMALL, body_budget=1000)
    async with Upstream() as upstream, doorway(upstream.url, limits=limits, clock=clock) as way:
        async with way.caller() as leaver:
            await leaver.asks("POST", MESSAGES, [("Content-Length", "1000")])
            await clock.sleepers(2)
        async with way.caller() as caller:
            await caller.asks("POST", MESSAGES, body=bytes(1000))
            assert (await caller.answer()).status == 200
    assert len(upstream.requests) == 1


async def test_requests_wait_for_the_budget_and_are_served_in_turn() -> None:
    """A body that does not fit beside another is sent on once that one is let go."""
    clock = FakeClock()
    async with Upstream() as upstream, doorway(upstream.url, limits=SMALL, clock=clock) as way:
        upstream.hold = True
        async with way.caller() as first, way.caller() as second:
            await first.asks("POST", MESSAGES, body=bytes(1000))
            one = await upstream.arrives()
            await second.asks("POST", MESSAGES, body=bytes(1000))
            await clock.sleepers(2)
            # The head is enough: from here on no replay can come, and the body is let go.
            await one.head(200)
            two = await upstream.arrives()
            await two.answers(200)
            assert (await second.answer()).status == 200
            await one.ends()
            assert (await first.answer()).status == 200


async def test_a_crowd_beyond_the_budget_is_told_to_come_back() -> None:
    """A 503 with retry-after, in the dialect."""
    clock = FakeClock()
    async with Upstream() as upstream, doorway(upstream.url, limits=SMALL, clock=clock) as way:
        upstream.hold = True
        async with way.caller() as first, way.caller() as second:
            await first.asks("POST", MESSAGES, body=bytes(1000))
            one = await upstream.arrives()
            await second.asks("POST", MESSAGES, body=bytes(1000))
            await clock.sleepers(2)
            clock.advance(WAIT_SECONDS)
            answer = await second.answer()
            assert (answer.status, answer.header("retry-after")) == (503, "1")
            assert b"overloaded_error" in answer.content
            await one.answers(200)
            assert (await first.answer()).status == 200
