"""One request of the soak, from what it asks for to the verdict on what came back."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from bridge.clock import SystemClock
from tests.asking import FRAMINGS, chunked
from tests.fakes.mirror import ORDER, Order, digest
from tests.proxy.doorway import Answer, Caller
from tests.soak.host import BREAKS, DAWDLE, STALL, ordered

_CLOCK: Final = SystemClock()
#: What bridge itself may say of a provider that it cannot use now.
HONEST: Final = frozenset({401, 502, 503, 504})
#: How a client may behave.
PLAIN, COUNT, SLOW, LEAVE = "plain", "count", "slow", "leave"


@dataclass(frozen=True)
class Errand:
    """What one client asks of *provider*, with *body*, for *order*; *manner* is how it behaves."""

    provider: str
    order: Order
    body: bytes
    fault: str = ""
    manner: str = PLAIN
    in_chunks: bool = False

    @classmethod
    def drawn(cls, chance: random.Random, provider: str) -> Errand:
        """Draw an errand."""
        manner = chance.choices([PLAIN, SLOW, LEAVE], [20, 2, 2])[0]
        big = chance.random() < 0.04
        size = 200_000 if manner == SLOW else chance.choice([0, 1, 500, 9000, 60_000])
        framing = chance.choice(FRAMINGS)
        order = Order(
            seed=chance.randrange(1 << 30),
            size=size,
            framing=framing,
            gzip=chance.random() < 0.3,
            status=chance.choices([200, 400, 403, 429, 500, 529], [20, 1, 1, 1, 1, 1])[0],
        )
        fault = ""
        if chance.random() < 0.12:
            fault = chance.choice([*BREAKS, STALL, DAWDLE])
        if fault in {"fin", "cut"} and (framing == "close" or len(order.pieces) < 2):
            fault = "reset"  # a close is the good end of such an answer
        length = chance.choice([1 << 20, 4 << 20]) if big else chance.choice([1, 900, 12_000])
        return cls(provider, order, chance.randbytes(length), fault, manner, chance.random() < 0.3)

    @classmethod
    def counting(cls, chance: random.Random, provider: str) -> Errand:
        """Draw a request to count the tokens of a prompt."""
        text = "how many tokens are these " * chance.choice([1, 40, 400])
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]})
        return cls(provider, Order(seed=chance.randrange(1 << 30)), body.encode(), "", COUNT)

    async def runs(self, port: int) -> Verdict:
        """Go, ask the bridge on *port*, and judge."""
        async with _calling(port, 4096 if self.manner == SLOW else None) as caller:
            await self._asks(caller)
            try:
                return self._judged(await self._hears(caller))
            except (ConnectionError, asyncio.IncompleteReadError):
                if self.manner == LEAVE:
                    return Verdict("left")
                good = self.fault in BREAKS
                return Verdict("cut" if good else "broken", "" if good else "a cut out of nothing")

    async def _asks(self, caller: Caller) -> None:
        path = "/v1/messages/count_tokens" if self.manner == COUNT else "/v1/messages"
        target = f"/{self.provider}{path}?beta=true"
        pairs = [
            ("Host", caller.host),
            ("authorization", "Bearer CLIENTsecret-soak"),
            (ORDER, ordered(self.order, self.fault)),
        ]
        if self.in_chunks:
            pairs.append(("Transfer-Encoding", "chunked"))
        else:
            pairs.append(("Content-Length", str(len(self.body))))
        lines = [f"POST {target} HTTP/1.1", *(f"{k}: {v}" for k, v in pairs), "", ""]
        body = chunked(self.body) if self.in_chunks else self.body
        await caller.sends("\r\n".join(lines).encode() + body)

    async def _hears(self, caller: Caller) -> Answer:
        if self.manner == LEAVE:
            await caller.reader.read(300)
            raise ConnectionAbortedError
        if self.manner == SLOW:
            await _CLOCK.sleep(0.3)
        return await caller.answer()

    def _judged(self, answer: Answer) -> Verdict:
        """Judge an answer that has come to its end as the client understands it."""
        own = answer.header("x-request-hash") == ""
        if answer.header("x-bridge-estimated") == "true":
            counted = json.loads(answer.content)["input_tokens"]
            return Verdict("estimated", "" if counted > 0 else f"counted {counted}")
        if own:
            honest = answer.status in HONEST and b"error" in answer.content
            if answer.status == 401 and b"is empty: write" in answer.content:
                return Verdict("told of an empty key file")  # it was, for the time of a write
            excused = self.fault in BREAKS or (self.provider == "kimi" and answer.status != 502)
            name = f"told {answer.status}"
            told = f"{name} {answer.content[:160]!r}"
            return Verdict(name, "" if honest and excused else told)
        if self.fault in BREAKS:
            return Verdict("forged", f"a {self.fault} answer was taken for whole")
        seen = (answer.status, digest(answer.content), answer.header("x-request-hash"))
        wanted = (self.order.status, digest(self.order.content), digest(self.body))
        return Verdict("whole", "" if seen == wanted else f"altered: {seen} for {wanted}")


@dataclass(frozen=True)
class Verdict:
    """How an errand ended, in a word, and what is *wrong* with that, empty where nothing is."""

    name: str
    wrong: str = ""


@asynccontextmanager
async def _calling(port: int, receive_buffer: int | None) -> AsyncIterator[Caller]:
    sock = socket.socket()
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=1 << 16)
    try:
        yield Caller(reader, writer, f"127.0.0.1:{port}")
    finally:
        writer.transport.abort()
