"""How times are taken, against the stand-in itself and against servers that misbehave."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from bridge.bench.caller import Caller, Place
from bridge.bench.standin import StandIn
from bridge.clock import SystemClock
from bridge.demo.program import Flop
from bridge.demo.stage import Mood, Turn


class Visited(StandIn):
    """A stand-in that remembers from which port each request came."""

    def __init__(self) -> None:
        super().__init__(SystemClock(), lifetime=60.0)
        self.ports: list[int] = []
        self._issue()

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        self.ports.append(request.transport.get_extra_info("peername")[1])
        return await super()._messages(request)


@contextlib.asynccontextmanager
async def conversation(*, cold: bool = False) -> AsyncIterator[tuple[Visited, Caller, Place]]:
    """Open a stand-in and a caller who knows its token."""
    async with Visited() as stage, Caller(stage, SystemClock(), cold=cold) as caller:
        yield stage, caller, Place(f"{stage.url}/coding", stage.secrets[0])


async def test_small() -> None:
    """A short answer takes some time, but none of it is invented."""
    async with conversation() as (stage, caller, place):
        before = SystemClock().monotonic()
        took = await caller.small(place)
        assert 0 < took < SystemClock().monotonic() - before
        assert [each.status for each in stage.exchanges] == [200]


async def test_stream() -> None:
    """Every event of a stream but the first is timed by itself, up to the end."""
    async with conversation() as (stage, caller, place):
        first, events = await caller.stream(place)
        (exchange,) = stage.exchanges
    assert first > 0
    assert len(events) == exchange.sent.count(b"\n\n") - 1
    assert all(each > 0 for each in events)


async def test_warm() -> None:
    """A warm caller comes on one connection."""
    async with conversation() as (stage, caller, place):
        for _ in range(3):
            await caller.small(place)
            await caller.stream(place)
    assert len(stage.ports) == 6
    assert len(set(stage.ports)) == 1


async def test_cold() -> None:
    """A cold caller comes on a new connection each time."""
    async with conversation(cold=True) as (stage, caller, place):
        for _ in range(3):
            await caller.small(place)
            await caller.stream(place)
    assert len(set(stage.ports)) == 6


async def test_refusal() -> None:
    """A refusal is no time: it ends the bench, and says who refused."""
    async with conversation() as (_, caller, place):
        stranger = Place(place.address, "stranger")
        with pytest.raises(Flop, match=r"/coding answered 401"):
            await caller.small(stranger)
        with pytest.raises(Flop, match=r"/coding answered 401 to a stream"):
            await caller.stream(stranger)


async def test_broken_stream() -> None:
    """A stream that breaks off is no time either."""
    async with conversation() as (stage, caller, place):
        stage.turns.append(Turn(Mood.BREAK))
        with pytest.raises(aiohttp.ClientError):
            await caller.stream(place)


async def test_half_an_event() -> None:
    """A stream that ends in good order, but in the middle of an event, is noticed."""

    async def half(request: web.BaseRequest) -> web.Response:
        return web.Response(body=b"event: message_start\n\nevent: mess")

    server = web.ServerRunner(web.Server(half))
    await server.setup()
    await web.TCPSite(server, "127.0.0.1", 0).start()
    async with conversation() as (_, caller, _place):
        with pytest.raises(Flop, match="in the middle of an event"):
            await caller.stream(Place(f"http://127.0.0.1:{server.addresses[0][1]}", "t"))
    await server.cleanup()


def test_credential_is_not_shown() -> None:
    """A place can be printed."""
    assert "secret" not in repr(Place("http://127.0.0.1:1", "secret"))
