"""The plain pass-through passes everything, and puts another credential in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from benchmarks.subjects import TOKEN, Subject, Upstream
from benchmarks.subjects import aiohttp as pass_through

pytestmark = pytest.mark.process

EVENTS = [b"event: one\n\n", b"event: two\n\n"]


@asynccontextmanager
async def upstream(seen: list[web.BaseRequest]) -> AsyncIterator[Upstream]:
    """Open a server that remembers what it was asked, and answers with its body or with events."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(request)
        body = await request.read()
        if body:
            return web.Response(body=body, status=201, headers={"X-Seen": "yes"})
        response = web.StreamResponse()
        await response.prepare(request)
        for event in EVENTS:
            await response.write(event)
        return response

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield Upstream(runner.addresses[0][1])
    await runner.cleanup()


async def test_pass(tmp_path: Path) -> None:
    """Path, query, body, status, headers and streams pass; of credentials only ours arrives."""
    seen: list[web.BaseRequest] = []
    async with upstream(seen) as there, aiohttp.ClientSession() as session:
        with pass_through(there, tmp_path / "aiohttp") as way:
            status, header, body = await _asked(session, way, b"x" * 1_000_000)
            streamed = await _asked(session, way, b"")
    assert (status, header, body) == (201, "yes", b"x" * 1_000_000)
    assert streamed == (200, None, b"".join(EVENTS))
    for request in seen:
        assert request.path_qs == "/v1/messages?beta=true"
        assert request.headers.getall("Authorization") == [f"Bearer {TOKEN}"]
        assert "x-api-key" not in request.headers


async def _asked(
    session: aiohttp.ClientSession, way: Subject, body: bytes
) -> tuple[int, str | None, bytes]:
    url = f"http://127.0.0.1:{way.port}{way.path}"
    headers = {"Authorization": "Bearer dummy", "x-api-key": "dummy"}
    async with session.post(url, data=body, headers=headers) as answer:
        return answer.status, answer.headers.get("X-Seen"), await answer.read()
