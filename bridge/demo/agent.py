"""Asks a question as a coding agent would, and keeps count of what comes back."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import aiohttp

from bridge.clock import Clock, within
from bridge.demo.program import expect

#: Seconds that an answer may take.
PATIENCE_SECONDS: Final = 20.0
#: The body of every request.
QUESTION: Final = json.dumps(
    {
        "model": "kimi-k2.5",
        "max_tokens": 64,
        "stream": True,
        "messages": [{"role": "user", "content": "How did this get here?"}],
    }
).encode()


@dataclass(frozen=True, slots=True)
class Answer:
    """What an agent got: the status, a digest of the bytes, and how they broke off, if so."""

    status: int
    digest: str
    broken: str = ""


class Agent:
    """A stand-in for Claude Code: it streams one answer at a time over *session*."""

    def __init__(self, session: aiohttp.ClientSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def ask(
        self, address: str, credential: str, arrived: Callable[[bytes], Awaitable[None]]
    ) -> Answer:
        """Ask the Anthropic surface at *address* and return the answer once it has ended.

        *arrived* is awaited for each event, before more is read. Raises ``Flop`` if the answer
        does not end in time, and what the HTTP client raises if none begins.
        """
        asking = asyncio.create_task(self._asked(address, credential, arrived))
        try:
            done = await within(self._clock, PATIENCE_SECONDS, asking)
            expect(done, f"no whole answer came within {PATIENCE_SECONDS:.0f} s")
            return asking.result()
        finally:
            asking.cancel()

    async def _asked(
        self, address: str, credential: str, arrived: Callable[[bytes], Awaitable[None]]
    ) -> Answer:
        response = await self._session.post(
            f"{address}/v1/messages?beta=true",
            headers={
                "Authorization": f"Bearer {credential}",
                "Content-Type": "application/json",
                "anthropic-version": "2023-06-01",
                "User-Agent": "bridge-demo",
            },
            data=QUESTION,
        )
        digest, pending, broken = hashlib.sha256(), b"", ""
        try:
            async with response:
                async for chunk in response.content.iter_any():
                    digest.update(chunk)
                    *events, pending = (pending + chunk).split(b"\n\n")
                    for event in events:
                        await arrived(event)
        except (aiohttp.ClientError, OSError) as error:
            broken = type(error).__name__
        return Answer(response.status, digest.hexdigest(), broken)


def session() -> aiohttp.ClientSession:
    """Return what an agent speaks HTTP with: no proxy, and no limit of time but its own."""
    return aiohttp.ClientSession(
        auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None, sock_connect=10.0)
    )
