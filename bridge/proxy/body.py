"""Takes in request bodies, whole and replayable, under one budget for all of them.

A request is held so that it can be sent twice; an answer never is. The budget keeps a crowd of
large prompts from becoming the memory of the daemon: beyond it a request waits for its turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Protocol

from bridge.clock import Clock, within
from bridge.errors import Overloaded, Refused
from bridge.proxy.framing import Request
from bridge.proxy.passage import Limits

#: Seconds that a request waits for its share before it is told to come back.
WAIT_SECONDS: Final = 10.0


class Flow(Protocol):
    """What feeds something, and can wait."""

    def pause(self) -> None:
        """Send no more for now."""

    def resume(self) -> None:
        """Send again."""


class Budget:
    """Counts the bytes of all bodies held, and lets those wait, in order, that would be too many.

    A body larger than the whole budget is let in when it is alone. For one event loop.
    """

    def __init__(self, clock: Clock) -> None:
        self.held = 0
        self._clock = clock
        self._capacity = 0
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    def take_at_once(self, size: int, capacity: int) -> bool:
        """Take *size* bytes of a budget of *capacity*, if nobody has to wait for them."""
        self._capacity = capacity
        if self._queue or not self._fits(size):
            return False
        self.held += size
        return True

    async def take(self, size: int, capacity: int) -> None:
        """Take *size* bytes of a budget of *capacity*, waiting for them if need be.

        Raises ``Overloaded`` when others hold them for too long. Cancellation takes nothing.
        """
        if self.take_at_once(size, capacity):
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
    """The body of one request: taken in once, kept for a replay, let go when none can come.

    *flow* is the connection that it comes on, which is told to wait where there is no room; *size*
    is the length of what is in *pieces*, and stays known when they are let go.
    """

    __slots__ = ("_budget", "_clock", "_flow", "_limits", "_request", "_share", "pieces", "size")

    def __init__(
        self, request: Request, flow: Flow, budget: Budget, limits: Limits, clock: Clock
    ) -> None:
        self.pieces: list[bytes] = []
        self.size = 0
        self._request = request
        self._flow = flow
        self._budget = budget
        self._limits = limits
        self._clock = clock
        self._share = 0

    def take_at_once(self) -> bool:
        """Take the body in if all of it is here and there is room for it."""
        request, limits = self._request, self._limits
        size = request.size
        if not request.whole or size > limits.max_body:
            return False
        if size and not self._budget.take_at_once(size, limits.body_budget):
            return False
        self._share = size
        self._take()
        return True

    async def announce(self) -> None:
        """Make room for the body as its request announces it.

        Raises ``Refused`` (413) when that is too many, ``Overloaded`` when there is no room.
        """
        if self._request.length:
            await self._grow(self._request.length)

    async def receive(self) -> None:
        """Take the body in to its end, into *pieces*.

        Raises ``Refused``: 413 when too much comes, 408 when it does not come in time, 400 when
        it is garbled.
        """
        request = self._request
        if not request.whole:
            arriving = asyncio.create_task(self._arrive())
            try:
                arrived = await within(self._clock, self._limits.body_seconds, arriving)
            finally:
                arriving.cancel()
            if not arrived:
                raise Refused(
                    f"the request body did not arrive within {self._limits.body_seconds:g} s: "
                    "send it again",
                    status=408,
                    kind="timeout_error",
                    retry_after=1.0,
                )
            arriving.result()
        if request.size > self._share:
            await self._grow(request.size)
        self._take()

    def release(self) -> None:
        """Let the body go and give its share back; harmless when done before."""
        share, self._share, self.pieces = self._share, 0, []
        if share:
            self._budget.give(share)

    def _take(self) -> None:
        request = self._request
        self.size = request.size
        self.pieces, request.pieces = request.pieces, []

    async def _arrive(self) -> None:
        request = self._request
        changed = asyncio.Event()
        request.changed = changed.set
        try:
            while not request.whole:
                if request.garbled:
                    raise Refused(
                        "the request body breaks the rules of HTTP: send it again",
                        status=400,
                        kind="invalid_request_error",
                    )
                if request.size > self._share:
                    await self._grow(request.size)
                await changed.wait()
                changed.clear()
        finally:
            request.changed = None

    async def _grow(self, size: int) -> None:
        if size > self._limits.max_body:
            raise Refused(
                f"the request body is larger than {self._limits.max_body} bytes: "
                "shorten the conversation, or raise server.max_body",
                status=413,
                kind="request_too_large",
            )
        more, capacity = size - self._share, self._limits.body_budget
        if not self._budget.take_at_once(more, capacity):
            # A connection that is not read does not tell that its client has left.
            waits = not self._request.whole
            if waits:
                self._flow.pause()
            try:
                await self._budget.take(more, capacity)
            finally:
                if waits:
                    self._flow.resume()
        self._share = size
