"""Whatever a client shows: exactly one credential arrives, the right one, at the right place.

Every provider of the catalogue, every surface, every form of a path and every style of credential,
through a front door to a mirror for each provider.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from bridge.errors import LoginRequired
from bridge.providers import Auth, Provider
from bridge.proxy.guard import Clients
from bridge.proxy.rewrite import Routes
from tests.asking import Inquiry, mirrored
from tests.proxy.doorway import CALLER_KEY, Doorway, Purse, doorway
from tests.proxy.rows import NAMES, row
from tests.table import CALLS, OWN, answers, questions, styles

SECRETS = {name: f"sk-of-{name}" for name in NAMES if name != "anthropic"}
STYLES = styles(CALLER_KEY)


@asynccontextmanager
async def house() -> AsyncIterator[tuple[Doorway, Inquiry, dict[str, Provider]]]:
    """A front door with every provider behind it, each on a port of its own."""
    async with mirrored(list(NAMES)) as mirrors:
        rows = {name: row(name, mirror.url) for name, mirror in mirrors.items()}
        sources = {name: Purse(secret) for name, secret in SECRETS.items()}
        async with doorway("http://127.0.0.1:9") as way, way.caller() as caller:
            routes = Routes.of(rows.values(), default="kimi")
            way.passage = replace(way.passage, routes=routes, sources=sources)
            yield way, Inquiry(caller, mirrors, SECRETS, CALLER_KEY), rows


def proven(way: Doorway, clients: Clients) -> None:
    """Make callers prove themselves in that way."""
    way.passage = replace(way.passage, policy=replace(way.passage.policy, clients=clients))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", NAMES)
async def test_one_credential_arrives_and_it_is_the_right_one(name: str, style: str) -> None:
    """On every surface and by every form of path; bytes are the same going in and coming out."""
    async with house() as (_, inquiry, rows):
        for call, target in questions(rows[name], default=name == "kimi"):
            await inquiry.makes(rows[name], call, target, STYLES[style])


@pytest.mark.parametrize("style", [name for name in STYLES if "caller key" in name])
@pytest.mark.parametrize("name", NAMES)
async def test_the_caller_key_opens_and_stays_here(name: str, style: str) -> None:
    """Where it is asked for it is found in each of its headers, and it never leaves."""
    async with house() as (way, inquiry, rows):
        proven(way, "key")
        for call in CALLS.values():
            if answers(rows[name], call):
                target = f"/{name}/v1{call.path}"
                if style == "caller key elsewhere":
                    await way_is_barred(inquiry, target)
                else:
                    await inquiry.makes(rows[name], call, target, STYLES[style])


async def way_is_barred(inquiry: Inquiry, target: str) -> None:
    """Check that the caller is refused, and that nobody upstream hears of it."""
    await inquiry.caller.asks("POST", target, STYLES["caller key elsewhere"], b"{}")
    answer = await inquiry.caller.answer()
    assert (answer.status, answer.header("x-should-retry")) == (401, "false")
    assert not [own for own in OWN if own.encode() in answer.content]
    assert not any(mirror.requests for mirror in inquiry.mirrors.values())


def strays() -> Iterator[str]:
    """Yield targets that come near Anthropic and are not meant for it, or are meant for nobody."""
    for name in ("anthropi", "anthropic%2f", "Anthropic", "%61nthropic", "kimi;anthropic", "a"):
        for path in ("v1/messages", "messages", "v1/chat/completions", "responses", "v1/models"):
            yield f"/{name}/{path}"
    yield "/anthropic/../kimi/v1/messages"
    yield "/kimi/%2e%2e/anthropic/v1/messages"
    yield "/anthropic/v1/chat/completions"
    yield "/anthropic/v1/responses"
    yield "/cerebras/v1/messages"
    yield "/kimi/v1/responses"


@pytest.mark.parametrize("style", STYLES)
async def test_a_request_that_strays_reaches_nobody(style: str) -> None:
    """A name that nobody has, a surface that is not there: refused in words, with nothing sent."""
    async with house() as (_, inquiry, _rows):
        for target in strays():
            await inquiry.caller.asks("POST", target, STYLES[style], b"{}")
            answer = await inquiry.caller.answer()
            assert answer.status in {400, 403}, target
            error = json.loads(answer.content)["error"]
            assert re.search("no provider|request target|does not speak", error["message"]), target
            assert answer.header("x-should-retry") == "false"
        assert not any(mirror.requests for mirror in inquiry.mirrors.values())


@pytest.mark.parametrize("style", STYLES)
async def test_the_callers_login_goes_to_anthropic_alone(style: str) -> None:
    """Nobody else ever sees it, whatever is asked in whatever order on one connection."""
    async with house() as (_, inquiry, rows):
        for target in ("/anthropic/v1/messages", "/kimi/v1/messages", "/v1/x", "/glm/a/b?c=d"):
            await inquiry.caller.asks("POST", target, STYLES[style], b"{}")
            await inquiry.caller.answer()
        for name, mirror in inquiry.mirrors.items():
            seen = repr([(each.target, each.headers) for each in mirror.requests])
            shown = [own for own in OWN if own in seen]
            assert not shown or rows[name].auth is Auth.PASSTHROUGH, name
            assert CALLER_KEY not in seen


async def test_a_missing_surface_is_told_before_a_missing_key() -> None:
    """Nobody is sent for a key that would not help, and no body is waited for."""
    async with house() as (way, inquiry, _):
        purse = way.passage.sources["cerebras"]
        assert isinstance(purse, Purse)
        purse.problem = LoginRequired("cerebras has no key")
        await inquiry.caller.asks("POST", "/cerebras/v1/messages", [("Content-Length", "5")])
        answer = await inquiry.caller.answer()
    assert (answer.status, answer.header("connection")) == (403, "close")
    assert b"cerebras does not speak Anthropic Messages" in answer.content
    assert json.loads(answer.content)["type"] == "error"
