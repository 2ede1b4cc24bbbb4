"""What a client gets, byte for byte, in every framing of HTTP/1."""

from __future__ import annotations

import asyncio
import gzip
import random
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.proxy.connection import Connection
from bridge.proxy.reply import reset
from tests.fakes import loop
from tests.fakes.clock import FakeClock
from tests.fakes.exchange import Exchange, Framing
from tests.fakes.upstream import Upstream
from tests.proxy.doorway import MESSAGES, Answer, Caller, Doorway, doorway

#: The headers that are ours.
ADDED = ["x-bridge-provider", "server-timing"]
FRAMINGS: list[Framing] = ["chunked", "length", "close"]


@asynccontextmanager
async def passage() -> AsyncIterator[tuple[Upstream, Doorway, Caller]]:
    """A caller, a door and an upstream whose every answer is the test's to give."""
    async with Upstream() as upstream, doorway(upstream.url) as way, way.caller() as caller:
        upstream.hold = True
        yield upstream, way, caller


async def ask(upstream: Upstream, caller: Caller, version: str = "1.1") -> Exchange:
    """Send a request and return it as the upstream has it."""
    await caller.asks("POST", MESSAGES, body=b"{}", version=version)
    return await upstream.arrives()


@pytest.mark.parametrize("framing", FRAMINGS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(chunks=st.lists(st.binary(min_size=1, max_size=4096), max_size=8))
def test_content_arrives_unchanged_however_it_is_cut(framing: Framing, chunks: list[bytes]) -> None:
    """For every split of bytes into chunks and every framing the client gets the same bytes."""

    async def through() -> Answer:
        async with passage() as (upstream, _, caller):
            exchange = await ask(upstream, caller)
            await exchange.head(200, (), framing, sum(map(len, chunks)))
            for chunk in chunks:
                await exchange.says(chunk)
            await exchange.ends()
            return await caller.answer()

    assert loop.run(through()).content == b"".join(chunks)


async def test_the_head_is_the_upstreams() -> None:
    """Status, reason, order and case of headers are as received; framing and our name are ours."""
    async with passage() as (upstream, _, caller):
        exchange = await ask(upstream, caller)
        await exchange.raw(
            b"HTTP/1.1 299 Very Odd\r\nX-B: 2\r\nx-a: 1\r\nX-b: caf\xe9\r\nSet-Cookie: a=b\r\n"
            b"Server: up\r\nDate: never\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok"
        )
        answer = await caller.answer()
    assert (answer.status, answer.reason, answer.content) == (299, "Very Odd", b"ok")
    *headers, (timing, added) = answer.headers
    assert timing == "server-timing"
    assert re.fullmatch(r"bridge;dur=\d+\.\d\d", added)
    assert headers == [
        ("X-B", "2"),
        ("x-a", "1"),
        ("X-b", "caf\xe9"),
        ("Server", "up"),
        ("Date", "never"),
        ("Content-Length", "2"),
        ("x-bridge-provider", "kimi"),
    ]


async def test_compressed_content_stays_compressed() -> None:
    """Neither the encoding nor its header is touched."""
    packed = gzip.compress(b"data: hello\n\n" * 1000)
    async with passage() as (upstream, _, caller):
        exchange = await ask(upstream, caller)
        await exchange.answers(200, [("content-encoding", "gzip")], packed)
        answer = await caller.answer()
    assert (answer.header("content-encoding"), answer.content) == ("gzip", packed)


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_each_event_arrives_before_the_next_is_said(framing: Framing, version: str) -> None:
    """Nothing waits for more: head and events are handed over one by one."""
    async with passage() as (upstream, _, caller):
        exchange = await ask(upstream, caller, version)
        await exchange.head(200, [("content-type", "text/event-stream")], framing, 12)
        head = await caller.head()
        is_chunked = head.header("transfer-encoding") == "chunked"
        assert is_chunked == (version == "1.1" and framing != "length")
        for event in (b"event1", b"event2"):
            await exchange.says(event)
            got = await (caller.chunk() if is_chunked else caller.reader.readexactly(6))
            assert got == event
        await exchange.ends()
        if is_chunked:
            assert await caller.chunk() == b""
        elif framing != "length":
            assert await caller.rest() == b""


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (200, [("content-length", "0")], ["content-length", *ADDED]),
        (204, [], ADDED),
        (204, [("content-length", "0")], ADDED),
        (304, [("content-length", "9")], ["content-length", *ADDED]),
    ],
)
async def test_answers_without_content_end_with_their_head(
    status: int, headers: list[tuple[str, str]], expected: list[str]
) -> None:
    """The connection serves the next request right behind them."""
    async with passage() as (upstream, _, caller):
        for _ in range(2):
            exchange = await ask(upstream, caller)
            await exchange.head(status, headers, "length")
            answer = await caller.answer(empty=True)
            assert (answer.status, answer.names) == (status, expected)
            await exchange.ends()


@pytest.mark.parametrize("headers", [[("content-length", "5000")], []])
async def test_head_has_the_headers_of_get_and_no_content(headers: list[tuple[str, str]]) -> None:
    """The length that GET would have is passed on, and nothing is waited for."""
    async with passage() as (upstream, _, caller):
        for _ in range(2):
            await caller.asks("HEAD", "/kimi/v1/models")
            exchange = await upstream.arrives()
            await exchange.head(200, headers, "length")
            await exchange.ends()
            answer = await caller.answer(empty=True)
            assert answer.names == [*(name for name, _ in headers), *ADDED]


async def test_an_answer_of_two_lengths_is_no_answer() -> None:
    """An upstream that says both length and chunks may be understood in two ways: it is refused."""
    async with passage() as (upstream, _, caller):
        exchange = await ask(upstream, caller)
        await exchange.head(200, [("content-length", "3")], "chunked")
        assert (await caller.answer()).status == 502
        await exchange.abandoned()
        exchange.breaks()


@pytest.mark.parametrize(
    ("version", "header", "stays", "said"),
    [
        ("1.1", "", True, ""),
        ("1.1", "close", False, "close"),
        ("1.0", "", False, ""),
        ("1.0", "keep-alive", True, "keep-alive"),
    ],
)
async def test_the_connection_is_kept_as_the_client_wishes(
    version: str, header: str, stays: bool, said: str
) -> None:
    """HTTP/1.1 keeps it unless told, HTTP/1.0 drops it unless told, and the answer says so."""
    async with passage() as (upstream, _, caller):
        wish = [("Connection", header)] if header else []
        await caller.asks("POST", MESSAGES, wish, b"{}", version)
        await (await upstream.arrives()).answers(200, (), b"ok")
        answer = await caller.answer()
        assert (answer.content, answer.header("connection")) == (b"ok", said)
        if stays:
            await caller.asks("GET", "/health")
            assert (await caller.answer()).status == 200
        else:
            assert await caller.rest() == b""


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_cut_is_a_reset(framing: Framing, version: str) -> None:
    """An upstream that breaks off never looks like one that has finished, to any client."""
    async with passage() as (upstream, _, caller):
        exchange = await ask(upstream, caller, version)
        await exchange.head(200, (), framing, 100)
        await caller.head()
        await exchange.says(b"half")
        await caller.reader.readuntil(b"half")
        exchange.breaks()
        with pytest.raises(ConnectionResetError):
            await caller.rest()


@pytest.mark.parametrize("framing", ["chunked", "length"])
async def test_an_early_goodbye_is_a_cut(framing: Framing) -> None:
    """An upstream that closes politely before its own end has broken off all the same."""
    async with passage() as (upstream, _, caller):
        exchange = await ask(upstream, caller, "1.0")
        await exchange.head(200, (), framing, 100)
        await exchange.says(b"half")
        await caller.reader.readuntil(b"half")
        exchange.closes()
        with pytest.raises(ConnectionResetError):
            await caller.rest()


async def test_a_connection_that_is_gone_need_not_be_reset() -> None:
    """Breaking it off twice, or when it is closed already, does no harm."""
    reset(None)
    async with passage() as (_, way, caller):
        await caller.asks("GET", "/health")
        await caller.answer()
        (connection,) = way.door._connections
        assert isinstance(connection, Connection)
        transport = connection.transport
        for _ in range(2):
            reset(transport)
            with pytest.raises(ConnectionResetError):
                await caller.rest()


async def test_a_client_that_does_not_read_stops_the_upstream() -> None:
    """Back-pressure reaches the upstream, memory stays flat, and nothing is lost later."""
    block, blocks = random.Random(1).randbytes(1 << 18), 256
    async with (
        Upstream() as upstream,
        doorway(upstream.url) as way,
        way.caller(receive_buffer=1 << 14) as caller,
    ):
        upstream.hold = True
        exchange = await ask(upstream, caller)
        await exchange.head(200, (), "length", len(block) * blocks)
        said = 0

        async def speak() -> None:
            nonlocal said
            for _ in range(blocks):
                await exchange.says(block)
                said += 1
            await exchange.ends()

        speaking = asyncio.create_task(speak())
        await quiet(lambda: said)
        assert 0 < said < blocks / 4
        (connection,) = way.door._connections
        assert isinstance(connection, Connection)
        assert connection.is_full
        transport = connection.transport
        assert transport is not None
        assert transport.get_write_buffer_size() <= 1 << 20
        answer = await caller.answer()
        await speaking
    assert answer.content == block * blocks


async def quiet(progress: Callable[[], int]) -> None:
    """Return once nothing has moved for many turns of the loop: all parties live on this one."""
    clock, seen, still = FakeClock(), -1, 0
    while still < 200:
        await clock.sleep(0)
        now = progress()
        still = still + 1 if now == seen else 0
        seen = now
