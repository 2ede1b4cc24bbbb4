"""Asks as an agent would and takes the time: of short answers, first bytes and single events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final, Self

import aiohttp

from bridge.bench.standin import StandIn
from bridge.clock import Clock
from bridge.demo.program import Flop, expect
from bridge.demo.stage import Turn

#: Seconds that nothing here takes unless something is wrong.
PATIENCE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where is asked, and the *credential* that is taken there."""

    address: str
    credential: str = field(repr=False)


def question(*, stream: bool) -> bytes:
    """Return the body of a request."""
    messages = [{"role": "user", "content": "How long does this take?"}]
    document = {"model": "kimi-k2.5", "max_tokens": 64, "stream": stream, "messages": messages}
    return json.dumps(document).encode()


class Caller:
    """A client that keeps its connections, or, when it is *cold*, opens a new one each time.

    It works within ``async with``. Everything it asks has to be answered with 200, else ``Flop``.
    """

    def __init__(self, stage: StandIn, clock: Clock, *, cold: bool = False) -> None:
        self._stage = stage
        self._clock = clock
        self._cold = cold

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=self._cold),
            timeout=aiohttp.ClientTimeout(total=PATIENCE_SECONDS),
        )
        return self

    async def __aexit__(self, *reason: object) -> None:
        await self._session.close()

    async def small(self, place: Place) -> float:
        """Return the seconds that a short answer takes, from the question to its last byte."""
        began = self._clock.monotonic()
        async with self._ask(place, stream=False) as answer:
            body = await answer.read()
            took = self._clock.monotonic() - began
        expect(answer.status == 200, f"{place.address} answered {answer.status}: {body[:200]!r}")
        return took

    async def stream(self, place: Place) -> tuple[float, list[float]]:
        """Return the seconds until a stream's first byte, and those that each later event takes.

        An event is let go only when the one before has arrived, so that each travels alone.
        """
        permits = asyncio.Semaphore(1)
        self._stage.turns.append(Turn(permits=permits))
        events: list[float] = []
        began = self._clock.monotonic()
        async with self._ask(place, stream=True) as answer:
            expect(answer.status == 200, f"{place.address} answered {answer.status} to a stream")
            await _event(answer)
            first = self._clock.monotonic() - began
            while True:
                let_go = self._clock.monotonic()
                permits.release()
                if not await _event(answer):
                    return first, events
                events.append(self._clock.monotonic() - let_go)

    def _ask(
        self, place: Place, *, stream: bool
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return self._session.post(
            f"{place.address}/v1/messages?beta=true",
            data=question(stream=stream),
            headers=_headers(place),
        )


def _headers(place: Place) -> Mapping[str, str]:
    return {
        "Authorization": f"Bearer {place.credential}",
        "Content-Type": "application/json",
        "anthropic-version": "2023-06-01",
        "User-Agent": "bridge-bench",
    }


async def _event(answer: aiohttp.ClientResponse) -> bytes:
    """Return the next event when all of it is here; empty at the end of the stream."""
    event = b""
    while not event.endswith(b"\n\n"):
        piece = await answer.content.readany()
        if not piece:
            if event:
                raise Flop("a stream ended in the middle of an event")
            return b""
        event += piece
    return event
