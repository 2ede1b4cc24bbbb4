"""The agent of the demo sees what a real one would see."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from bridge.demo.agent import QUESTION, Agent, session
from bridge.demo.program import Flop, free_port
from bridge.demo.stage import Mood, Stage, Turn
from tests.fakes.clock import FakeClock


@contextlib.asynccontextmanager
async def conversation(clock: FakeClock) -> AsyncIterator[tuple[Stage, Agent, str]]:
    """Open a stage, and give an agent a token for it."""
    async with Stage(clock, lifetime=10.0) as stage:
        stage._issue()
        async with session() as http:
            yield stage, Agent(http, clock), stage.secrets[0]


async def test_whole_answer() -> None:
    """A whole answer is counted byte for byte and told event by event."""
    events: list[bytes] = []

    async def arrived(event: bytes) -> None:
        events.append(event)

    async with conversation(FakeClock()) as (stage, agent, token):
        answer = await agent.ask(f"{stage.url}/coding", token, arrived)
        sent = bytes(stage.exchanges[0].sent)
    assert (answer.status, answer.broken) == (200, "")
    assert answer.digest == hashlib.sha256(sent).hexdigest()
    assert b"".join(event + b"\n\n" for event in events) == sent


async def nothing(event: bytes) -> None:
    """Take no notice."""


async def test_question() -> None:
    """The question is a streaming one in the dialect of the Messages API, under the key given."""
    async with conversation(FakeClock()) as (stage, agent, token):
        await agent.ask(f"{stage.url}/coding", token, nothing)
        (exchange,) = stage.exchanges
    assert (exchange.token, exchange.body) == (token, QUESTION)
    assert json.loads(QUESTION)["stream"] is True


async def test_refusal() -> None:
    """A refusal is an answer too."""
    async with conversation(FakeClock()) as (stage, agent, _):
        assert (await agent.ask(f"{stage.url}/coding", "stranger", nothing)).status == 401


async def test_broken_answer() -> None:
    """An answer that breaks off is told from one that ends."""
    async with conversation(FakeClock()) as (stage, agent, token):
        stage.turns.append(Turn(Mood.BREAK))
        answer = await agent.ask(f"{stage.url}/coding", token, nothing)
    assert answer.status == 200
    assert answer.broken


async def test_answer_without_end() -> None:
    """An answer that never ends is given up, and the flop says so."""
    clock = FakeClock()
    async with conversation(clock) as (stage, agent, token):
        stage.turns.append(Turn(permits=asyncio.Semaphore(0)))
        asking = asyncio.create_task(agent.ask(f"{stage.url}/coding", token, nothing))
        await clock.sleepers(1)
        clock.advance(21)
        with pytest.raises(Flop, match="no whole answer came within 20 s"):
            await asking


async def test_nobody_there() -> None:
    """Where nobody listens, the client's own error tells."""
    async with session() as http:
        with pytest.raises(aiohttp.ClientError):
            await Agent(http, FakeClock()).ask(f"http://127.0.0.1:{free_port()}", "t", nothing)
