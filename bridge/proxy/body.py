"""Takes in request bodies, whole and replayable, under one budget for all of them.

A request is held so that it can be sent twice; an answer never is. The budget keeps a crowd of
large prompts from becoming the memory of the daemon: beyond it a request waits for its turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from aiohttp import StreamReader, web

from bridge.clock import Clock, within
from bridge.errors import Overloaded, Refused
from bridge.proxy.passage import Limits

#: Seconds that a request waits for its share before it is told to come back.
WAIT_SECONDS: Final = 10.0


class Budget:
    """Counts the bytes of all bodies held, and lets those wait, in order, that would be too many.

    A body larger than the whole budget is let in when it is alone. For one event loop.
    """

    def __init__(self, clock: Clock) -> None:
        self.held = 0
        self._clock = clock
        self._capacity = 0
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, size: int, capacity: int) -> None:
        """Take *size* bytes of a budget of *capacity*, waiting for them if need be.

        Raises ``Overloaded`` when others hold them for too long. Cancellation takes nothing.
        """
        self._capacity = capacity
        if not self._queue and self._fits(size):
            self.held += size
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((size, turn))
        try:
            if await within(self._clock, WAIT_SECONDS, turn):
                return
        except asyncio.CancelledError:
            if turn.done():
                self.give(size)
            raise
        finally:
            turn.cancel()
            self._admit()
        raise Overloaded(
            f"bridge holds {self.held} bytes of request bodies already: "
            "try again in a moment, or raise server.body_budget"
        )

    def give(self, size: int) -> None:
        """Give *size* bytes back and let in who fits now."""
        self.held -= size
        self._admit()

    def _admit(self) -> None:
        while self._queue:
            size, turn = self._queue[0]
            if not turn.done():
                if not self._fits(size):
                    return
                self.held += size
                turn.set_result(None)
            self._queue.popleft()

    def _fits(self, size: int) -> bool:
        return not self.held or self.held + size <= self._capacity


class Body:
    """The body of one request: taken in once, kept for a replay, let go when none can come."""

    def __init__(self, budget: Budget, limits: Limits, clock: Clock) -> None:
        self.data = b""
        self._budget = budget
        self._limits = limits
        self._clock = clock
        self._share = 0

    async def announce(self, length: int | None) -> None:
        """Make room for a body of *length* bytes, ``None`` where its end only shows at the end.

        Raises ``Refused`` (413) when that is too many, ``Overloaded`` when there is no room.
        """
        if length is not None:
            await self._grow(length)

    async def receive(self, content: StreamReader) -> None:
        """Read *content* to its end into *data*.

        Raises ``Refused``: 413 when too much comes, 408 when it does not come in time, 400 when
        it is garbled. Raises ``ConnectionError`` when the client leaves.
        """
        if content.is_eof():
            # All of it is here: no timer for the common case.
            await self._read(content)
            return
        reading = asyncio.create_task(self._read(content))
        try:
            arrived = await within(self._clock, self._limits.body_seconds, reading)
        finally:
            reading.cancel()
        if not arrived:
            raise Refused(
                f"the request body did not arrive within {self._limits.body_seconds:g} s: "
                "send it again",
                status=408,
                kind="timeout_error",
                retry_after=1.0,
            )
        reading.result()

    def release(self) -> None:
        """Let the body go and give its share back; harmless when done before."""
        share, self._share, self.data = self._share, 0, b""
        if share:
            self._budget.give(share)

    async def _read(self, content: StreamReader) -> None:
        chunks: list[bytes] = []
        total = 0
        try:
            while chunk := await content.readany():
                total += len(chunk)
                await self._grow(total)
                chunks.append(chunk)
        except web.RequestPayloadError:
            raise Refused(
                "the request body breaks the rules of HTTP: send it again",
                status=400,
                kind="invalid_request_error",
            ) from None
        self.data = chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def _grow(self, size: int) -> None:
        if size > self._limits.max_body:
            raise Refused(
                f"the request body is larger than {self._limits.max_body} bytes: "
                "shorten the conversation, or raise server.max_body",
                status=413,
                kind="request_too_large",
            )
        if size > self._share:
            await self._budget.take(size - self._share, self._limits.body_budget)
            self._share = size
