"""Tokens are counted whoever is asked: by the provider where it can, else by an estimate."""

from __future__ import annotations

import asyncio
import json

import pytest

from bridge.errors import LoginRequired
from bridge.providers import Auth
from bridge.proxy.estimate import estimate
from tests.fakes.mirror import ORDER, Mirror, Order
from tests.fakes.upstream import Upstream
from tests.proxy.doorway import Answer, Caller, Purse, doorway, provider

COUNT = "/kimi/v1/messages/count_tokens?beta=true"
BODY = json.dumps(
    {"model": "kimi-k2.5", "messages": [{"role": "user", "content": "How many are we?"}]}
).encode()


def estimated(answer: Answer) -> bool:
    """Say whether *answer* is our own estimate of the body, and marked as one."""
    return (
        answer.status == 200
        and json.loads(answer.content) == {"input_tokens": estimate(BODY)}
        and answer.header("x-bridge-estimated") == "true"
        and answer.header("x-bridge-provider") == "kimi"
        and answer.header("content-type") == "application/json"
    )


async def counted(caller: Caller, *orders: Order) -> Answer:
    """Ask for the tokens of the body."""
    headers = [("anthropic-version", "2023-06-01"), *((ORDER, str(order)) for order in orders)]
    await caller.asks("POST", COUNT, headers, BODY)
    return await caller.answer()


async def test_a_provider_that_counts_is_asked() -> None:
    """Its own answer comes, and no mark on it."""
    async with Upstream() as upstream, doorway(upstream.url) as way, way.caller() as caller:
        answer = await counted(caller)
    assert json.loads(answer.content) == {"input_tokens": 7}
    assert answer.header("x-bridge-estimated") == ""
    assert upstream.requests[0].body == BODY


async def test_a_provider_that_does_not_count_is_not_asked() -> None:
    """The estimate comes at once: no credential is needed for it, and nothing leaves."""
    purse = Purse()
    purse.problem = LoginRequired("no login")
    async with Upstream() as upstream:
        row = provider(upstream.url, counts_tokens=False)
        async with doorway(upstream.url, row=row, purse=purse) as way, way.caller() as caller:
            assert estimated(await counted(caller))
            await caller.asks("POST", COUNT, body=b"no JSON")
            refused = await caller.answer()
            assert (refused.status, refused.header("x-should-retry")) == (400, "false")
            assert "no JSON document" in json.loads(refused.content)["error"]["message"]
    assert (upstream.requests, way.invited) == ([], [])


@pytest.mark.parametrize("status", [404, 405, 501])
@pytest.mark.parametrize("auth", [Auth.OAUTH, Auth.KEY, Auth.PASSTHROUGH])
async def test_an_upstream_that_turns_out_not_to_count_is_helped_out(
    status: int, auth: Auth
) -> None:
    """The estimate comes instead of its refusal, and nothing else changes: it is asked again."""
    order = Order(status=status, framing="chunked", size=40_000)
    async with Mirror() as mirror:
        row = provider(mirror.url, auth=auth)
        async with doorway(mirror.url, row=row) as way, way.caller() as caller:
            for _ in range(3):
                assert estimated(await counted(caller, order))
            assert (await counted(caller, Order(seed=5))).content == Order(seed=5).content
            await caller.asks("POST", "/kimi/v1/messages", [(ORDER, str(order))], BODY)
            answer = await caller.answer()
    assert (answer.status, answer.content) == (status, order.content)
    assert way.door.live == 0
    assert len(mirror.requests) == 5


@pytest.mark.parametrize("status", [400, 402, 403, 429, 500, 503])
async def test_any_other_refusal_is_the_clients(status: int) -> None:
    """A quota that is used up is no missing endpoint."""
    order = Order(status=status)
    async with Mirror() as mirror, doorway(mirror.url) as way, way.caller() as caller:
        answer = await counted(caller, order)
    assert (answer.status, answer.content) == (status, order.content)


async def test_a_second_token_is_tried_before_it_is_estimated() -> None:
    """A 401 is no missing endpoint either; what comes after the replay counts."""
    async with Upstream(accepts=["second"]) as upstream:
        purse = Purse("first", "second")
        async with doorway(upstream.url, purse=purse) as way, way.caller() as caller:
            assert json.loads((await counted(caller)).content) == {"input_tokens": 7}
    assert upstream.bearers == ["first", "second"]


async def test_a_burst_is_answered_whole() -> None:
    """Claude Code asks 25 times at once for one screen."""
    async with Mirror() as mirror, doorway(mirror.url) as way:

        async def ask() -> bool:
            async with way.caller() as caller:
                return estimated(await counted(caller, Order(status=404)))

        assert all(await asyncio.gather(*(ask() for _ in range(25))))
        assert way.door.live == 0
