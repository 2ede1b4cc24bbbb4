"""The few requests that are for bridge itself."""

from __future__ import annotations

import json

import pytest

from bridge.proxy.head import Head
from bridge.proxy.pages import Pages
from bridge.proxy.rewrite import Routes, choose
from tests.fakes.upstream import Upstream
from tests.proxy.doorway import INSTANCE, doorway, provider


@pytest.mark.parametrize(
    ("query", "ready"),
    [
        ("", ""),
        ("?provider=kimi", "yes"),
        ("?provider=idle", "no"),
        ("?x=1&provider=glm", "unknown"),
    ],
)
async def test_health_tells_who_we_are_and_what_is_ready(query: str, ready: str) -> None:
    """The document, our instance, and on request one provider's readiness; GET and HEAD alike."""
    async with (
        Upstream() as upstream,
        doorway(upstream.url, health=lambda: {"status": "degraded", "pid": 7}) as way,
        way.caller() as caller,
    ):
        await caller.asks("GET", f"/health{query}")
        answer = await caller.answer()
        await caller.asks("HEAD", f"/health{query}")
        bare = await caller.answer(empty=True)
    assert (answer.status, bare.status) == (200, 200)
    assert json.loads(answer.content) == {"status": "degraded", "pid": 7}
    assert answer.header("x-bridge-instance") == INSTANCE
    assert answer.header("x-bridge-ready") == ready
    assert bare.headers == answer.headers
    assert upstream.requests == []


@pytest.mark.parametrize(
    "path",
    ["/", "/api/hello", "/kimi", "/kimi/", "/kimi/api/hello", "/v1/api/hello?x"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_warm_up_is_answered_here(method: str, path: str) -> None:
    """Claude Code greets before it works; that costs no request upstream."""
    async with Upstream() as upstream, doorway(upstream.url) as way, way.caller() as caller:
        await caller.asks(method, path)
        answer = await caller.answer(empty=method == "HEAD")
    assert answer.status == 200
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/health", 405), ("GET", "/metrics", 404), ("POST", "/metrics", 405)],
)
async def test_a_page_that_is_not_there_is_not_looked_for_upstream(
    method: str, path: str, status: int
) -> None:
    """Our own names are never forwarded."""
    async with Upstream() as upstream, doorway(upstream.url) as way, way.caller() as caller:
        await caller.asks(method, path)
        answer = await caller.answer()
    assert answer.status == status
    assert "message" in json.loads(answer.content)["error"]
    assert upstream.requests == []


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_metrics_come_later(method: str) -> None:
    """Their words take a while, so the page is waited for; the scraper's wish is passed on."""
    wishes: list[str] = []

    async def metrics(accept: str) -> tuple[str, bytes]:
        wishes.append(accept)
        return "text/plain; version=0.0.4", b"bridge_live_requests 0.0\n"

    pages = Pages(INSTANCE, dict, lambda name: None, metrics)
    headers = [("Host", "127.0.0.1"), ("Accept", "text/plain"), ("accept", "*/*")]
    head = Head(method, "/metrics?x=1", headers)
    page = pages.find(
        head, choose(head, Routes.of([provider("http://127.0.0.1:1")], default="kimi"))
    )
    assert page is not None
    assert (page.headers, page.content) == ((), b"")
    assert page.later is not None
    assert wishes == []
    whole = await page.later()
    assert dict(whole.headers)[b"content-type"] == b"text/plain; version=0.0.4"
    assert dict(whole.headers)[b"cache-control"] == b"no-store"
    assert whole.content == b"bridge_live_requests 0.0\n"
    assert whole.later is None
    assert wishes == ["text/plain,*/*"]


@pytest.mark.parametrize("path", ["/health", "/", "/api/hello"])
async def test_pages_are_for_programs_of_this_machine(path: str) -> None:
    """They need no proof of who calls, but no web page and no foreign name gets one."""
    async with (
        Upstream() as upstream,
        doorway(upstream.url, peer_uid=lambda: None) as way,
        way.caller() as caller,
    ):
        await caller.asks("GET", path)
        assert (await caller.answer()).status == 200
        await caller.asks("GET", path, [("Origin", "https://evil.example")])
        assert (await caller.answer()).status == 403
        caller.host = "evil.example"
        await caller.asks("GET", path)
        assert (await caller.answer()).status == 421


@pytest.mark.parametrize("path", ["/", "/kimi/", "/health", "/api/hello", "/v1/responses", "/x"])
async def test_no_page_is_a_websocket(path: str) -> None:
    """An upgrade is refused at once wherever it is asked for: a 200 would keep a client waiting."""
    async with Upstream() as upstream, doorway(upstream.url) as way, way.caller() as caller:
        await caller.asks("GET", path, [("Connection", "Upgrade"), ("Upgrade", "WebSocket")])
        assert (await caller.answer()).status == 426
        await caller.asks("GET", "/health")
        assert (await caller.answer()).status == 200
    assert upstream.requests == []


@pytest.mark.parametrize("path", ["/kimi/health", "/healthy", "/kimi/api/hello/x"])
async def test_other_paths_go_to_the_provider(path: str) -> None:
    """Only the exact names are ours, and a greeting is only read."""
    async with Upstream() as upstream, doorway(upstream.url) as way, way.caller() as caller:
        upstream.script.extend([{"status": 418}] * 2)
        await caller.asks("GET", path)
        assert (await caller.answer()).status == 418
        await caller.asks("POST", "/kimi/api/hello", body=b"{}")
        assert (await caller.answer()).status == 418
