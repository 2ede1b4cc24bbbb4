"""Anthropic with the caller's own credential: byte for byte there, and nowhere else ever."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.asking import Inquiry, calling, mirrored
from tests.fakes.mirror import ORDER, Order, digest
from tests.process.furnished import Furnished, secrets_lie_in
from tests.table import API_KEY, OAUTH, OTHER, Pair
from tests.world import World, world

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]

#: What Claude Code sends; nothing of it may be lost, and nothing added.
CLIENT: list[Pair] = [
    ("Accept", "application/json"),
    ("X-Stainless-Retry-Count", "0"),
    ("User-Agent", "claude-cli/2.1.329 (external, sdk-cli)"),
    ("X-Claude-Code-Session-Id", "0b6a7d3e-5f7e-4c64-8a55-d3f5a3a0b2a1"),
    ("anthropic-beta", "claude-code-20250219,interleaved-thinking-2025-05-14"),
    ("anthropic-version", "2023-06-01"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
]


@asynccontextmanager
async def passing(
    folder: Path, clients: str = ""
) -> AsyncIterator[tuple[World, Furnished, Inquiry]]:
    """A daemon that passes requests to Anthropic, and to kimi with a login of its own."""
    async with mirrored(["kimi", "anthropic"]) as mirrors:
        with world(folder) as machine:
            house = Furnished(machine, mirrors, clients)
            machine.start()
            async with calling(machine.port) as caller:
                yield machine, house, house.inquiry(caller)


async def test_what_the_caller_sends_arrives_unchanged(tmp_path: Path) -> None:
    """Every header in its order and case, its credential among them; only framing is ours."""
    async with passing(tmp_path) as (_, _house, inquiry):
        shown = [*CLIENT, ("AuthoriZation", f"Bearer  {OAUTH}"), ("x-API-key", API_KEY)]
        headers = [*shown, (ORDER, str(Order()))]
        await inquiry.caller.asks("POST", "/anthropic/v1/messages?beta=true", headers, b"{...}")
        answer = await inquiry.caller.answer()
    assert answer.header("x-request-hash") == digest(b"{...}")
    (request,) = inquiry.mirrors["anthropic"].requests
    assert request.target == "/anthropic/v1/messages?beta=true"
    ours = {"host", "content-length", "connection"}
    assert [pair for pair in request.headers if pair[0].lower() not in ours] == headers
    assert request.header("host") == inquiry.mirrors["anthropic"].url.removeprefix("http://")


async def test_a_refusal_is_the_callers_own(tmp_path: Path) -> None:
    """A 401 passes as it is: asked once, no login begun, no credential of ours tried."""
    async with passing(tmp_path) as (machine, house, inquiry):
        order = Order(status=401, size=90)
        headers = [("x-api-key", OTHER), (ORDER, str(order))]
        await inquiry.caller.asks("POST", "/anthropic/v1/messages", headers, b"{}")
        answer = await inquiry.caller.answer()
        assert (answer.status, answer.content) == (401, order.content)
        assert answer.header("x-should-retry") == ""
        assert machine.authorization.state()["device_flows"] == 0
    (request,) = inquiry.mirrors["anthropic"].requests
    assert house.secrets["kimi"] not in str(request.headers)


async def test_the_callers_credential_is_neither_kept_nor_told(tmp_path: Path) -> None:
    """Not in the log, not in a file of the home, not in ``/health``, not to another provider."""
    own = [OAUTH, API_KEY]
    async with passing(tmp_path) as (machine, _house, inquiry):
        headers = [("authorization", f"Bearer {OAUTH}"), ("x-api-key", API_KEY)]
        for target in ("/anthropic/v1/messages", "/kimi/v1/messages", "/anthropic/v1/x", "/v1/y"):
            await inquiry.caller.asks("POST", target, headers, b"{}")
            assert (await inquiry.caller.answer()).status == 200
        for target in ("/anthropik/v1/messages", "/anthropic/v1/responses", "/anthropic/%zz/../x"):
            await inquiry.caller.asks("POST", target, headers, b"{}")
            answer = await inquiry.caller.answer()
            assert answer.status in {400, 403}
            assert not [each for each in own if each.encode() in answer.content]
        assert machine.bridge("--reload").returncode == 0
        assert secrets_lie_in(tmp_path, own) == []
        health = machine.health()
        assert health["providers"]["anthropic"]["auth"] == "passthrough"
        assert not [each for each in own if each in f"{machine.log}{health}"]
    seen = str([request.headers for request in inquiry.mirrors["kimi"].requests])
    assert len(inquiry.mirrors["kimi"].requests) == 2
    assert not [each for each in own if each in seen]


async def test_the_caller_key_comes_beside_the_credential(tmp_path: Path) -> None:
    """Where a key is asked for it is ``x-bridge-key``; without it the caller's own is no proof."""
    async with passing(tmp_path, clients="key") as (_, _house, inquiry):
        own = ("Authorization", f"Bearer {OAUTH}")
        order = (ORDER, str(Order(size=3000, framing="chunked", gzip=True)))
        await inquiry.caller.asks("POST", "/anthropic/v1/messages", [own, order], b"{}")
        refused = await inquiry.caller.answer()
        assert (refused.status, refused.header("x-should-retry")) == (401, "false")
        assert b"x-bridge-key" in refused.content
        key = ("X-Bridge-Key", inquiry.key)
        await inquiry.caller.asks("POST", "/anthropic/v1/messages", [key, own, order], b"{}")
        assert (await inquiry.caller.answer()).status == 200
    (request,) = inquiry.mirrors["anthropic"].requests
    assert request.bearer == OAUTH
    assert inquiry.key not in str(request.headers)
