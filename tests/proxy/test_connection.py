"""Accepted connections: whose they are, what they carry besides requests, how they end."""

from __future__ import annotations

import logging
import os

import pytest

from bridge.proxy.connection import HEAD_LOOKS, KEEPALIVE_LOOKS
from bridge.proxy.connections import LOOK_SECONDS
from tests.fakes.clock import FakeClock
from tests.fakes.upstream import Upstream
from tests.proxy.doorway import MESSAGES, doorway


async def test_the_kernel_is_asked_once_for_each_connection() -> None:
    """When it is accepted, with our address and theirs; every request on it shares the answer."""
    uids = [4242, os.getuid()]
    async with Upstream() as upstream, doorway(upstream.url, peer_uid=lambda: uids.pop(0)) as way:
        async with way.caller() as stranger:
            for _ in range(2):
                await stranger.asks("POST", MESSAGES, body=b"{}")
                assert (await stranger.answer()).status == 403
        async with way.caller() as friend:
            for _ in range(2):
                await friend.asks("POST", MESSAGES, body=b"{}")
                assert (await friend.answer()).status == 200
            address = friend.writer.get_extra_info("sockname")
    assert len(way.peers) == 2
    assert way.peers[1] == (("127.0.0.1", way.port), address)


@pytest.mark.parametrize(
    ("garbage", "words"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03secret\r\n\r\n", b"not HTTP"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"not HTTP"),
        (b"secret\r\n\r\n", b"not HTTP"),
        (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", b"not HTTP"),
        (b"GET / HTTP/1.1\r\nA: b\r\n secret: folded\r\n\r\n", b"not HTTP"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"more than one Host"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", b"not"),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"not HTTP"),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * 70_000 + b"\r\n\r\n", b"too long"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b"too long"),
    ],
)  # fmt: skip
async def test_garbage_is_answered_shortly(
    garbage: bytes, words: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A 400 that quotes and traces nothing, one line in the log, and the door stays open."""
    caplog.set_level(logging.INFO)
    async with Upstream() as upstream, doorway(upstream.url) as way:
        async with way.caller() as caller:
            await caller.sends(garbage)
            answer = await caller.answer()
            assert (answer.status, await caller.rest()) == (400, b"")
        async with way.caller() as caller:
            await caller.asks("GET", "/health")
            assert (await caller.answer()).status == 200
    assert words in answer.content
    assert len(answer.content) < 250
    assert answer.header("server") == "bridge"
    assert b"secret" not in answer.content
    (line,) = [record.message for record in caplog.records]
    assert line.startswith("request failed status=400 error=")
    assert "secret" not in caplog.text
    assert upstream.requests == []


async def test_a_large_head_is_no_garbage() -> None:
    """Agents put whole documents into headers."""
    async with Upstream() as upstream, doorway(upstream.url) as way, way.caller() as caller:
        await caller.asks("POST", MESSAGES, [("x-codex-turn-metadata", "a" * 60_000)], b"{}")
        assert (await caller.answer()).status == 200
    assert len(upstream.requests[0].header("x-codex-turn-metadata")) == 60_000


async def test_pipelined_requests_are_answered_in_order() -> None:
    """What is sent ahead waits its turn, behind answers of any framing."""
    async with Upstream() as upstream, doorway(upstream.url) as way, way.caller() as caller:
        upstream.hold = True
        for body in (b"one", b"two", b"three"):
            await caller.asks("POST", MESSAGES, body=body)
        for framing in ("chunked", "length", "close"):
            exchange = await upstream.arrives()
            await exchange.head(200, (), framing, len(exchange.request.body))
            await exchange.says(exchange.request.body)
            await exchange.ends()
        assert [(await caller.answer()).content for _ in range(3)] == [b"one", b"two", b"three"]


async def test_a_client_that_asks_and_closes_its_side_has_left() -> None:
    """A half-closed connection is a closed one, as with other servers: no answer is paid for."""
    async with Upstream() as upstream, doorway(upstream.url) as way, way.caller() as caller:
        upstream.hold = True
        await caller.asks("POST", MESSAGES, body=b"{}")
        exchange = await upstream.arrives()
        caller.writer.write_eof()
        await exchange.abandoned()
        exchange.breaks()


async def test_a_thousand_requests_leave_nothing_open() -> None:
    """Descriptors stay flat over requests and over connections."""
    async with Upstream() as upstream, doorway(upstream.url) as way:
        async with way.caller() as caller:
            await caller.asks("POST", MESSAGES, body=b"{}")
            await caller.answer()
            before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count, not paths
            for _ in range(950):
                await caller.asks("POST", MESSAGES, body=b"{}")
                assert (await caller.answer()).status == 200
            assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
        for _ in range(50):
            async with way.caller() as caller:
                await caller.asks("POST", MESSAGES, [("Connection", "close")], b"{}")
                assert (await caller.answer()).status == 200
                assert await caller.rest() == b""
        assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208
    assert len(upstream.requests) == 1001
    assert len({request.connection for request in upstream.requests}) == 1


async def test_dropping_says_whether_anything_was_lost() -> None:
    """A connection that only waits loses nothing; one under way does, and learns it by a reset."""
    async with Upstream() as upstream, doorway(upstream.url) as way, way.caller() as idle:
        upstream.hold = True
        await idle.asks("GET", "/health")
        await idle.answer()
        (waiting,) = way.door._connections
        assert waiting.drop() is False
        with pytest.raises(ConnectionResetError):
            await idle.rest()
        async with way.caller() as busy:
            await busy.asks("POST", MESSAGES, body=b"{}")
            exchange = await upstream.arrives()
            (connection,) = way.door._connections
            assert connection.drop() is True
            with pytest.raises(ConnectionResetError):
                await busy.rest()
            await exchange.abandoned()
            exchange.breaks()


async def test_a_connection_that_says_nothing_is_closed_after_a_while() -> None:
    """Longer than any agent keeps one, counted from the last byte; what is under way is spared."""
    clock = FakeClock()
    async with Upstream() as upstream, doorway(upstream.url, clock=clock) as way:
        upstream.hold = True
        async with way.caller() as idle, way.caller() as busy:
            await busy.asks("POST", MESSAGES, body=b"{}")
            exchange = await upstream.arrives()
            await looks(clock, KEEPALIVE_LOOKS)
            await idle.asks("GET", "/health")
            assert (await idle.answer()).status == 200
            await looks(clock, KEEPALIVE_LOOKS)
            await idle.asks("GET", "/health")
            assert (await idle.answer()).status == 200
            await looks(clock, KEEPALIVE_LOOKS + 1)
            assert await idle.rest() == b""
            await exchange.answers(200)
            assert (await busy.answer()).status == 200


async def test_a_head_that_does_not_end_is_given_up() -> None:
    """A byte now and then does not keep a connection."""
    clock = FakeClock()
    async with (
        Upstream() as upstream,
        doorway(upstream.url, clock=clock) as way,
        way.caller() as slow,
    ):
        await slow.sends(b"POST /kimi/v1/mess")
        for _ in range(HEAD_LOOKS):
            await looks(clock, 1)
            await slow.sends(b"a")
        await looks(clock, 1)
        assert await slow.rest() == b""
    assert upstream.requests == []


async def looks(clock: FakeClock, number: int) -> None:
    """Let the door look at its connections so often."""
    for _ in range(number):
        for _ in range(20):
            await clock.sleep(0)
        await clock.sleepers(1)
        clock.advance(LOOK_SECONDS)
    for _ in range(5):
        await clock.sleep(0)
