"""The provider that answers to order."""

from __future__ import annotations

import gzip

import pytest

from tests.asking import FRAMINGS, calling
from tests.fakes.exchange import Framing
from tests.fakes.mirror import ORDER, Mirror, Order, digest


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("packed", [True, False])
async def test_what_is_ordered_comes(framing: Framing, packed: bool) -> None:
    """Status, framing, coding and bytes are those of the order, and the request is kept."""
    order = Order(seed=3, size=50_000, framing=framing, gzip=packed, status=429)
    async with Mirror() as mirror, calling(mirror.port) as caller:
        await caller.asks("POST", "/x", [(ORDER, str(order))], b"asked")
        answer = await caller.answer()
    assert (answer.status, answer.content) == (429, order.content)
    assert answer.header("x-request-hash") == digest(b"asked")
    if packed:
        assert len(gzip.decompress(answer.content)) == 100_000
    assert Order.of(mirror.requests[0]) == order
    assert b"".join(order.pieces) == order.content != Order(seed=4, size=50_000).content
