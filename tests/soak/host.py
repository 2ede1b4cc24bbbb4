"""A provider in the soak: a mirror that can go wrong to order, and that knows who may ask.

What shall go wrong stands behind the order of the answer, in the same header: ``fault=cut`` and so
on. Each credential that arrives is judged; what was never this provider's is written down.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from bridge.clock import SystemClock
from tests.fakes.exchange import Exchange, Request
from tests.fakes.mirror import ORDER, Mirror, Order, digest

#: What may go wrong: these leave no whole answer, :data:`STALL` and :data:`DAWDLE` only take time.
BREAKS: Final = ("reset", "cut", "fin", "garbage")
STALL: Final = "stall"
DAWDLE: Final = "dawdle"
FAULTS: Final = (*BREAKS, STALL, DAWDLE)
#: Seconds in which a request may still carry the key that was in the file before.
GRACE_SECONDS: Final = 3.0

#: Says of a credential: it is good, it was good once, or it was never this provider's.
Judge = Callable[[str], Awaitable[bool | None]]


def ordered(order: Order, fault: str = "") -> str:
    """Return the header that orders *order*, and that *fault* happens on the way."""
    return f"{order} fault={fault}"


class Keys:
    """The keys of one provider, the newest last, and since when each is not to be used."""

    def __init__(self, first: str) -> None:
        self.current = first
        self._clock = SystemClock()
        self._ended: dict[str, float] = {}

    def become(self, key: str) -> None:
        """Let *key* be the key from now on."""
        self._ended[self.current] = self._clock.monotonic()
        self.current = key

    async def judge(self, shown: str) -> bool | None:
        """Judge what a request has shown; a key that was replaced is good for a moment more."""
        if shown == self.current:
            return True
        ended = self._ended.get(shown)
        return None if ended is None else self._clock.monotonic() - ended < GRACE_SECONDS


class Host(Mirror):
    """One provider; *strangers* are credentials that were never its own, *stale* old ones."""

    def __init__(self) -> None:
        super().__init__()
        self.judge: Judge | None = None
        self.strangers: list[str] = []
        self.stale = 0
        self.served = 0
        self._clock = SystemClock()

    async def answer(self, exchange: Exchange) -> None:
        """Judge who asks, then answer as ordered, or go wrong as ordered."""
        self.requests.clear()  # what a long run asks for is too much to keep
        self.served += 1
        if not await self._admits(exchange.request):
            await exchange.answers_json(401, {"error": {"message": "no", "type": "no"}})
            return
        words = exchange.request.header(ORDER).rpartition("fault=")
        await self._plays(exchange, Order.of(exchange.request), words[2] if words[1] else "")

    async def _admits(self, request: Request) -> bool:
        if self.judge is None:
            return True
        shown = request.header("x-api-key") or request.bearer
        verdict = await self.judge(shown)
        if verdict is None:
            self.strangers.append(shown)
        self.stale += verdict is False
        return bool(verdict)

    async def _plays(self, exchange: Exchange, order: Order, fault: str) -> None:
        if fault == "reset":
            exchange.breaks()
            return
        if fault == "garbage":
            await exchange.raw(b"SSH-2.0-OpenSSH_9.6\r\n\x00\xff\r\n\r\n")
            exchange.closes()
            return
        kind = "text/event-stream" if order.framing == "chunked" else "image/x-odd"
        headers = [
            ("Content-Type", kind),
            ("X-Request-Hash", digest(exchange.request.body)),
            *([("Content-Encoding", "gzip")] if order.gzip else []),
        ]
        await exchange.head(order.status, headers, order.framing, len(order.content))
        pieces = order.pieces
        for number, piece in enumerate(pieces):
            if number == len(pieces) // 2 and fault in {"cut", "fin", STALL}:
                if fault != STALL:
                    exchange.breaks() if fault == "cut" else exchange.closes()
                    return
                await self._clock.sleep(0.5)
            if fault == DAWDLE and number % 8 == 0:
                await self._clock.sleep(0.01)
            await exchange.says(piece)
        await exchange.ends()
