"""Asks one row of the table of somebody who stands before mirrors, and looks at every byte."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bridge.providers import Auth, Provider
from tests.fakes.exchange import Framing, Request
from tests.fakes.mirror import ORDER, Mirror, Order, digest
from tests.proxy.doorway import Answer, Caller
from tests.table import CREDENTIALS, OWN, VERSION, Call, Pair, arrives, credentials

FRAMINGS: tuple[Framing, ...] = ("length", "chunked", "close")


@dataclass
class Inquiry:
    """A caller before a bridge: *mirrors* stand for the providers, *secrets* are our credentials.

    *key* is the caller key. Every request differs in its body, and in the answer that it orders.
    """

    caller: Caller
    mirrors: Mapping[str, Mirror]
    secrets: Mapping[str, str]
    key: str
    chance: random.Random = field(default_factory=lambda: random.Random(4))

    async def makes(self, provider: Provider, call: Call, target: str, shown: list[Pair]) -> None:
        """Ask, and check what arrived where, with which credentials, and what came back."""
        before = {name: len(mirror.requests) for name, mirror in self.mirrors.items()}
        order = self.order()
        body = self.chance.randbytes(self.chance.choice([1, 900, 12_000]))
        answer = await self.asks(call, target, shown, body if call.method == "POST" else b"", order)
        row = (provider.name, target, shown)
        assert answer.status == order.status, (row, answer.content)
        assert digest(answer.content) == digest(order.content), row
        assert answer.header("content-encoding") == ("gzip" if order.gzip else ""), row
        assert answer.header("x-bridge-provider") == provider.name, row
        arrived = {name: self.mirrors[name].requests[number:] for name, number in before.items()}
        assert {name for name, requests in arrived.items() if requests} == {provider.name}, row
        (request,) = arrived[provider.name]
        assert answer.header("x-request-hash") == digest(request.body), row
        assert request.body == (body if call.method == "POST" else b""), row
        self.judges(request, provider, call, shown)

    def judges(self, request: Request, provider: Provider, call: Call, shown: list[Pair]) -> None:
        """Check place and credentials of a request that has arrived."""
        row = (provider.name, request.target, shown)
        url = f"{self.mirrors[provider.name].url}{request.target}"
        assert (request.method, url) == (call.method, arrives(provider, call)), row
        held = [(k.lower(), v) for k, v in request.headers if k.lower() in CREDENTIALS]
        secret = self.secrets.get(provider.name, "")
        assert held == credentials(provider, secret, shown, self.key), row
        seen = f"{request.target}\n{request.headers}"
        assert self.key not in seen, row
        for name, other in self.secrets.items():
            assert name == provider.name or other not in seen, row
        if provider.auth is not Auth.PASSTHROUGH:
            assert not [own for own in OWN if own in seen], row

    async def asks(
        self, call: Call, target: str, shown: Sequence[Pair], body: bytes, order: Order
    ) -> Answer:
        """Ask for *order* with a *body*, now and then in chunks; the answer is read to its end."""
        headers = [("User-Agent", "table/1"), *shown, (ORDER, str(order))]
        if call.path.startswith("/models") and "limit" in call.path:
            headers.append(VERSION)
        if body and self.chance.random() < 0.5:
            pairs = [("Host", self.caller.host), *headers, ("Transfer-Encoding", "chunked")]
            lines = [f"{call.method} {target} HTTP/1.1", *(f"{k}: {v}" for k, v in pairs), "", ""]
            await self.caller.sends("\r\n".join(lines).encode() + chunked(body))
        else:
            await self.caller.asks(call.method, target, headers, body or None)
        return await self.caller.answer()

    def order(self) -> Order:
        """Return what to order next."""
        return Order(
            seed=self.chance.randrange(1 << 30),
            size=self.chance.choice([0, 1, 500, 9000]),
            framing=self.chance.choice(FRAMINGS),
            gzip=self.chance.random() < 0.5,
            status=self.chance.choice([200, 200, 400, 429]),
        )


def chunked(data: bytes) -> bytes:
    """Return *data* in two chunks, or one."""
    half = len(data) // 2
    pieces = [piece for piece in (data[:half], data[half:]) if piece]
    return b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in pieces) + b"0\r\n\r\n"


@asynccontextmanager
async def calling(port: int) -> AsyncIterator[Caller]:
    """Connect to whoever listens on *port*."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    try:
        yield Caller(reader, writer, f"127.0.0.1:{port}")
    finally:
        writer.transport.abort()


@asynccontextmanager
async def mirrored(names: Sequence[str]) -> AsyncIterator[dict[str, Mirror]]:
    """Open a mirror for each of *names*."""
    mirrors = {name: Mirror() for name in names}
    try:
        for mirror in mirrors.values():
            await mirror.comes_back()
        yield mirrors
    finally:
        for mirror in mirrors.values():
            await mirror.goes_dark()
