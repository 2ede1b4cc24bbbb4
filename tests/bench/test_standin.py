"""The stand-in answers as the demo's does, and shortly where no stream is asked for."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import aiohttp

from bridge.bench.caller import question
from bridge.bench.standin import SHORT_ANSWER, StandIn
from tests.fakes.clock import FakeClock


@contextlib.asynccontextmanager
async def asking(clock: FakeClock) -> AsyncIterator[tuple[StandIn, aiohttp.ClientSession, str]]:
    """Open a stand-in with a client, and a token that lives ten seconds."""
    async with StandIn(clock, lifetime=10.0) as stage, aiohttp.ClientSession() as session:
        stage._issue()
        yield stage, session, stage.secrets[0]


async def ask(
    stage: StandIn, session: aiohttp.ClientSession, token: str, *, stream: bool
) -> tuple[int, bytes]:
    """Return status and body."""
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{stage.url}/coding/v1/messages"
    async with session.post(url, data=question(stream=stream), headers=headers) as answer:
        return answer.status, await answer.read()


async def test_short_answer() -> None:
    """Who asks for no stream gets a short answer, and it is remembered like any other."""
    async with asking(FakeClock()) as (stage, session, token):
        assert await ask(stage, session, token, stream=False) == (200, SHORT_ANSWER)
        (exchange,) = stage.exchanges
    assert (exchange.token, exchange.credentials, exchange.status) == (token, 1, 200)
    assert exchange.sent == SHORT_ANSWER


async def test_stream() -> None:
    """Who asks for a stream gets the demo's."""
    async with asking(FakeClock()) as (stage, session, token):
        status, body = await ask(stage, session, token, stream=True)
    assert status == 200
    assert body.endswith(b'"message_stop"}\n\n')


async def test_dead_token() -> None:
    """A token that is dead gets neither."""
    clock = FakeClock()
    async with asking(clock) as (stage, session, token):
        clock.jump(10)
        assert (await ask(stage, session, token, stream=False))[0] == 401
        assert (await ask(stage, session, token, stream=True))[0] == 401
