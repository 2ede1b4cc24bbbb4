"""Many agents on many providers at once, and every byte where it belongs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.asking import calling
from tests.fakes.exchange import Exchange
from tests.fakes.mirror import ORDER, Mirror, Order, digest
from tests.process.furnished import Furnished
from tests.world import World, world

pytestmark = [pytest.mark.process, pytest.mark.timeout(90)]

PROVIDERS = ("kimi", "minimax", "deepseek", "glm", "anthropic")
STREAMS = 20
TURNS = 3


class Patient(Mirror):
    """A mirror that begins to answer when as many requests are here, at all of them together."""

    def __init__(self, together: asyncio.Barrier) -> None:
        super().__init__()
        self._together = together

    async def answer(self, exchange: Exchange) -> None:
        """Wait for the others, then give the answer that is ordered."""
        await self._together.wait()
        await super().answer(exchange)


async def agent(machine: World, provider: str, number: int) -> None:
    """Work on one connection as an agent does, and find every answer as it was sent."""
    async with calling(machine.port) as caller:
        for turn in range(TURNS):
            order = Order(
                seed=hash((provider, number, turn)) & 0xFFFFFF,
                size=40_000 + 1000 * number,
                framing="chunked",
                gzip=bool((number + turn) % 2),
            )
            body = f"{provider} {number} {turn} ".encode() * 500
            headers = [("x-api-key", f"{provider}-{number}"), (ORDER, str(order))]
            await caller.asks("POST", f"/{provider}/v1/messages?beta=true", headers, body)
            answer = await caller.answer()
            assert (answer.status, answer.header("x-bridge-provider")) == (200, provider)
            assert answer.header("x-request-hash") == digest(body)
            assert digest(answer.content) == digest(order.content)


async def test_five_providers_at_once(tmp_path: Path) -> None:
    """20 streams on each, all under way together, three times over: byte-exact, each with its own.

    What the mirrors were shown afterwards says that no credential went astray either.
    """
    together = asyncio.Barrier(len(PROVIDERS) * STREAMS)
    mirrors = {name: Patient(together) for name in PROVIDERS}
    for mirror in mirrors.values():
        await mirror.comes_back()
    with world(tmp_path) as machine:
        house = Furnished(machine, mirrors)
        machine.start()
        async with asyncio.TaskGroup() as agents:
            for name in PROVIDERS:
                for number in range(STREAMS):
                    agents.create_task(agent(machine, name, number))
        health = machine.health()
        assert (health["status"], health["streams"]) == ("ok", 0)
        assert "failed" not in machine.log
    for name, mirror in mirrors.items():
        await mirror.goes_dark()
        assert len(mirror.requests) == STREAMS * TURNS
        shown = {request.header("x-api-key") or request.bearer for request in mirror.requests}
        if name == "anthropic":
            assert shown == {f"{name}-{number}" for number in range(STREAMS)}
        else:
            assert shown == {house.secrets[name]}
