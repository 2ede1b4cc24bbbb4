"""The front door as a whole: crowds, large bodies, the real SDK, and closing in good order."""

from __future__ import annotations

import asyncio
import random

import pytest
from anthropic import AsyncAnthropic

from tests.fakes.clock import FakeClock
from tests.fakes.conversation import GREETING
from tests.fakes.upstream import Upstream
from tests.proxy.doorway import MESSAGES, Answer, doorway

COUNT = "/kimi/v1/messages/count_tokens?beta=true"


async def test_the_official_sdk_streams() -> None:
    """Its events come through, whole and in order, and its dummy key goes nowhere."""
    async with (
        Upstream() as upstream,
        doorway(upstream.url) as way,
        AsyncAnthropic(base_url=f"{way.url}/kimi", api_key="dummy", max_retries=0) as client,
        client.messages.stream(
            model="kimi-k2.5", max_tokens=10, messages=[{"role": "user", "content": "hi"}]
        ) as stream,
    ):
        kinds = [event.type async for event in stream]
        message = await stream.get_final_message()
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"
    assert message.content[0].type == "text"
    assert message.content[0].text == GREETING
    assert upstream.bearers == ["fresh"]


async def test_a_burst_is_answered() -> None:
    """25 counts at once, as Claude Code sends them for /context."""
    async with Upstream() as upstream, doorway(upstream.url) as way:

        async def count(number: int) -> Answer:
            async with way.caller() as caller:
                await caller.asks("POST", COUNT, body=b" " * number * 1000)
                return await caller.answer()

        answers = await asyncio.gather(*(count(number) for number in range(25)))
    assert {(answer.status, answer.content) for answer in answers} == {
        (200, b'{"input_tokens": 7}')
    }
    assert sorted(len(r.body) for r in upstream.requests) == [n * 1000 for n in range(25)]


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_the_largest_body_goes_through() -> None:
    """64 MiB arrive as they were sent."""
    body = random.Random(1).randbytes(1 << 20) * 64
    async with Upstream() as upstream, doorway(upstream.url) as way, way.caller() as caller:
        await caller.asks("POST", COUNT, body=body)
        assert (await caller.answer()).status == 200
        await caller.asks("POST", COUNT, [("Content-Length", str(len(body) + 1))])
        assert (await caller.answer()).status == 413
    assert upstream.requests[0].body == body


async def test_draining_lets_streams_end() -> None:
    """Who only waits is closed at once; who is served is served to the end, and then closed."""
    clock = FakeClock()
    async with Upstream() as upstream, doorway(upstream.url, clock=clock) as way:
        upstream.hold = True
        async with way.caller() as idle, way.caller() as busy:
            await idle.asks("GET", "/health")
            await idle.answer()
            await busy.asks("POST", MESSAGES, body=b"{}")
            exchange = await upstream.arrives()
            await exchange.head(200)
            await busy.head()
            way.closes()
            draining = asyncio.create_task(way.door.drain(30))
            assert await idle.rest() == b""
            await exchange.says(b"the end")
            assert await busy.chunk() == b"the end"
            assert not draining.done()
            await exchange.ends()
            assert await busy.chunk() == b""
            assert await busy.rest() == b""
            assert await draining == 0


async def test_draining_tells_the_client_that_the_connection_ends() -> None:
    """A head that goes out meanwhile says so; a request that was sent ahead is not begun."""
    async with Upstream() as upstream, doorway(upstream.url) as way, way.caller() as caller:
        upstream.hold = True
        await caller.asks("POST", MESSAGES, body=b"{}")
        await caller.asks("POST", MESSAGES, body=b"{}")
        exchange = await upstream.arrives()
        draining = asyncio.create_task(way.door.drain(30))
        await FakeClock().sleep(0)
        await exchange.answers(200, (), b"ok")
        answer = await caller.answer()
        assert (answer.content, answer.header("connection")) == (b"ok", "close")
        assert await caller.rest() == b""
        assert await draining == 0
    assert len(upstream.requests) == 1


async def test_draining_has_an_end() -> None:
    """What still runs after the time for it is reset, and counted."""
    clock = FakeClock()
    async with Upstream() as upstream, doorway(upstream.url, clock=clock) as way:
        upstream.hold = True
        async with way.caller() as one, way.caller() as two:
            exchanges = []
            for caller in (one, two):
                await caller.asks("POST", MESSAGES, body=b"{}")
                exchanges.append(await upstream.arrives())
            draining = asyncio.create_task(way.door.drain(30))
            await clock.sleepers(2)
            clock.advance(30)
            assert await draining == 2
            for caller in (one, two):
                with pytest.raises(ConnectionResetError):
                    await caller.rest()
            for exchange in exchanges:
                await exchange.abandoned()
                exchange.breaks()
        assert way.door.live == 0


async def test_a_second_signal_ends_the_patience() -> None:
    """Dropping resets what is under way at once, and the drain returns with the count."""
    clock = FakeClock()
    async with Upstream() as upstream, doorway(upstream.url, clock=clock) as way:
        upstream.hold = True
        async with way.caller() as caller:
            await caller.asks("POST", MESSAGES, body=b"{}")
            exchange = await upstream.arrives()
            draining = asyncio.create_task(way.door.drain(30))
            await clock.sleepers(2)
            way.door.drop()
            assert await draining == 1
            with pytest.raises(ConnectionResetError):
                await caller.rest()
            await exchange.abandoned()
            exchange.breaks()


async def test_draining_waits_for_bytes_that_the_client_has_not_read() -> None:
    """An answer that is over for us is over for the client only when it has all of it."""
    clock, size = FakeClock(), 1 << 18
    async with (
        Upstream() as upstream,
        doorway(upstream.url, clock=clock) as way,
        way.caller(receive_buffer=1 << 12) as caller,
    ):
        upstream.hold = True
        await caller.asks("POST", MESSAGES, body=b"{}")
        exchange = await upstream.arrives()
        await exchange.answers(200, (), bytes(size))
        draining = asyncio.create_task(way.door.drain(30))
        await clock.sleepers(2)
        assert (await caller.answer()).content == bytes(size)
        assert await draining == 0


async def test_an_empty_house_drains_at_once() -> None:
    """Nothing under way, nothing to wait for."""
    clock = FakeClock()
    async with Upstream() as upstream, doorway(upstream.url, clock=clock) as way:
        assert await way.door.drain(30) == 0
