"""Any provider at all: keeps every request whole, and gives the answer that the request orders.

The order is the header ``x-mirror``, for instance ``seed=7 size=70000 framing=chunked gzip=1``, and
the same order makes the same bytes, so that whoever asked knows what must have come.
"""

from __future__ import annotations

import gzip
import hashlib
import random
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from tests.fakes.exchange import Exchange, Framing, Request
from tests.fakes.loopback import LoopbackServer

ORDER = "x-mirror"


@dataclass(frozen=True)
class Order:
    """An answer: *size* bytes by *seed*, compressed or not, in some *framing*."""

    seed: int = 1
    size: int = 200
    framing: Framing = "length"
    gzip: bool = False
    status: int = 200

    @classmethod
    def of(cls, request: Request) -> Order:
        """Return what *request* orders."""
        words = dict(word.split("=") for word in request.header(ORDER).split())
        return cls(
            seed=int(words.get("seed", 1)),
            size=int(words.get("size", 200)),
            framing=cast("Framing", words.get("framing", "length")),
            gzip=words.get("gzip") == "1",
            status=int(words.get("status", 200)),
        )

    def __str__(self) -> str:
        return (
            f"seed={self.seed} size={self.size} framing={self.framing} gzip={int(self.gzip)} "
            f"status={self.status}"
        )

    @cached_property
    def content(self) -> bytes:
        """The bytes of the answer as they go over the wire."""
        data = random.Random(self.seed).randbytes(self.size)
        return gzip.compress(data.hex().encode(), 1, mtime=0) if self.gzip else data

    @property
    def pieces(self) -> list[bytes]:
        """The content in the uneven pieces in which it is sent."""
        chance, data, pieces = random.Random(-self.seed - 1), self.content, []
        while data:
            length = chance.choice([1, 17, 300, 4096, 40_000])
            pieces.append(data[:length])
            data = data[length:]
        return pieces


class Mirror(LoopbackServer):
    """A provider on a loopback port of its own."""

    async def answer(self, exchange: Exchange) -> None:
        """Give the answer that is ordered."""
        order = Order.of(exchange.request)
        headers = [
            ("Content-Type", "text/event-stream" if order.framing == "chunked" else "image/x-odd"),
            ("X-Request-Hash", digest(exchange.request.body)),
        ]
        if order.gzip:
            headers.append(("Content-Encoding", "gzip"))
        await exchange.head(order.status, headers, order.framing, len(order.content))
        for piece in order.pieces if exchange.request.method != "HEAD" else []:
            await exchange.says(piece)
        await exchange.ends()


def digest(data: bytes) -> str:
    """Return what *data* is known by."""
    return hashlib.sha256(data).hexdigest()
