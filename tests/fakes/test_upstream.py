"""The fake coding API answers, remembers and breaks exactly as told."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fakes.child import fetch
from tests.fakes.conversation import GREETING
from tests.fakes.exchange import fingerprint
from tests.fakes.upstream import UNAUTHENTICATED, Upstream, UpstreamProcess

MESSAGES = "/coding/v1/messages?beta=true"


def asking(prompt: str, **more: Any) -> dict[str, Any]:
    """Return the Messages request of a prompt."""
    return {"model": "kimi-k2.5", "messages": [{"role": "user", "content": prompt}], **more}


def told(stream: bytes) -> list[dict[str, Any]]:
    """Return the data of each server-sent event."""
    lines = stream.decode().splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


async def test_answers_like_a_small_model_and_remembers_the_request() -> None:
    """Left alone it answers 200 with a message, and keeps target, headers and body as received."""
    async with Upstream() as upstream, aiohttp.ClientSession() as client:
        headers = {"Authorization": "Bearer one", "X-Odd": "yes"}
        async with client.post(upstream.url + MESSAGES, json=asking("hi"), headers=headers) as got:
            assert (got.status, (await got.json())["content"][0]["text"]) == (200, GREETING)
        async with client.post(upstream.url + MESSAGES, json=asking("hi")) as got:
            await got.read()
    first, second = upstream.requests
    assert (first.method, first.target, first.path) == ("POST", MESSAGES, "/coding/v1/messages")
    assert ("X-Odd", "yes") in first.headers
    assert first.document == asking("hi")
    assert upstream.bearers == ["one", ""]
    assert first.connection == second.connection


@pytest.mark.parametrize("packed", [False, True])
async def test_streams_events_in_the_order_of_the_protocol(packed: bool) -> None:
    """A streamed answer runs from message_start to message_stop, compressed where accepted."""
    async with Upstream() as upstream, aiohttp.ClientSession(auto_decompress=False) as client:
        upstream.gzip = packed
        body, headers = asking("hi", stream=True), {"Accept-Encoding": "gzip"}
        async with client.post(upstream.url + MESSAGES, json=body, headers=headers) as got:
            assert (got.headers.get("content-encoding") == "gzip") == packed
            stream = await got.read()
    events = told(gzip.decompress(stream) if packed else stream)
    assert [event["type"] for event in events] == [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert "".join(event["delta"]["text"] for event in events[3:5]) == GREETING


async def test_serves_the_small_requests_of_agents() -> None:
    """HEAD, the model list and count_tokens have their own answers."""
    async with Upstream() as upstream, aiohttp.ClientSession() as client:
        async with client.head(upstream.url + "/api/hello") as got:
            assert got.status == 200
        async with client.get(upstream.url + "/v1/models?limit=1000") as got:
            assert (await got.json())["data"][0]["id"] == "kimi-for-coding"
        async with client.post(upstream.url + "/v1/messages/count_tokens", json={}) as got:
            assert await got.json() == {"input_tokens": 7}


async def test_refuses_tokens_it_does_not_accept() -> None:
    """A bearer outside *accepts*, or refused by *judge* or *refuse_all*, gets Kimi's own 401."""
    async with Upstream(accepts=["good"]) as upstream, aiohttp.ClientSession() as client:

        async def status(bearer: str) -> int:
            headers = {"Authorization": f"Bearer {bearer}"}
            async with client.post(upstream.url + MESSAGES, json={}, headers=headers) as got:
                if got.status == 401:
                    error = {"type": "authentication_error", "message": UNAUTHENTICATED}
                    assert await got.json() == {"type": "error", "error": error}
                return got.status

        assert [await status("good"), await status("bad")] == [200, 401]
        upstream.accepts, upstream.judge = None, lambda bearer: bearer == "better"
        assert [await status("better"), await status("good")] == [200, 401]
        upstream.refuse_next = 1
        assert [await status("better"), await status("better")] == [401, 200]
        upstream.refuse_all = True
        assert await status("better") == 401


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
async def test_hands_an_answer_over_step_by_step(framing: Any) -> None:
    """What the test says is with the client before the next word is said, in every framing."""
    async with Upstream() as upstream, aiohttp.ClientSession() as client:
        upstream.hold = True
        asked = asyncio.create_task(client.get(upstream.url + "/anything"))
        exchange = await upstream.arrives()
        await exchange.head(206, {"X-Seen": "1"}, framing, 8 if framing == "length" else None)
        async with await asked as got:
            assert (got.status, got.headers["X-Seen"]) == (206, "1")
            for word in (b"one ", b"two "):
                await exchange.says(word)
                assert await got.content.readexactly(4) == word
            await exchange.ends()
            assert await got.content.read() == b""


async def test_breaks_a_connection_with_a_reset() -> None:
    """An answer broken off reaches the client as a reset, never as an end."""
    async with Upstream() as upstream:
        upstream.hold = True
        reader, writer = await asyncio.open_connection("127.0.0.1", upstream.port)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        exchange = await upstream.arrives()
        await exchange.head(200, framing="close")
        await reader.readuntil(b"\r\n\r\n")
        exchange.breaks()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_closes_a_connection_in_good_order() -> None:
    """A close without an end reaches the client as an end of file where the answer stood."""
    async with Upstream() as upstream:
        upstream.hold = True
        reader, writer = await asyncio.open_connection("127.0.0.1", upstream.port)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        exchange = await upstream.arrives()
        await exchange.head(200, framing="chunked")
        exchange.closes()
        assert (await reader.read()).endswith(b"chunked\r\n\r\n")
        writer.close()


async def test_notices_that_the_client_has_left() -> None:
    """An exchange tells that the client has closed its side, before or amid the answer."""
    async with Upstream() as upstream, aiohttp.ClientSession() as client:
        upstream.hold = True
        asked = asyncio.create_task(client.get(upstream.url + "/"))
        exchange = await upstream.arrives()
        asked.cancel()
        await exchange.abandoned()
        asked = asyncio.create_task(client.get(upstream.url + "/"))
        exchange = await upstream.arrives()
        await exchange.head(200)
        (await asked).close()
        await exchange.abandoned()


async def test_goes_dark_and_comes_back_on_the_same_port() -> None:
    """While dark it refuses connections; afterwards it answers where it did before."""
    async with Upstream() as upstream, aiohttp.ClientSession() as client:
        await upstream.goes_dark()
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.get(upstream.url)
        await upstream.comes_back()
        async with client.get(upstream.url) as got:
            assert got.status == 200
        assert upstream.drops_idle() == 1


def spoken(upstream: UpstreamProcess, body: dict[str, Any], bearer: str = "x") -> bytes:
    """Return the answer to *body*, which must be a success."""
    headers = {"Authorization": f"Bearer {bearer}"}
    status, answer = fetch(upstream.url + MESSAGES, json.dumps(body).encode(), headers)
    assert status == 200, answer
    return answer


@pytest.mark.process
def test_a_process_lets_an_agent_run_a_tool_and_repeats_its_output() -> None:
    """RUN-TOOL becomes a Bash call; the result of the tool is echoed; credentials stay hashed."""
    prompt = asking("please RUN-TOOL: echo 42\nthanks", stream=True, tools=[{"name": "Bash"}])
    with UpstreamProcess() as upstream:
        events = told(spoken(upstream, prompt, "secret"))
        parts = [e["delta"]["partial_json"] for e in events if e["type"] == "content_block_delta"]
        assert json.loads("".join(parts))["command"] == "echo 42"
        assert events[-2]["delta"]["stop_reason"] == "tool_use"
        result = {"type": "tool_result", "tool_use_id": "t", "content": "42"}
        prompt["messages"].append({"role": "user", "content": [result]})
        prompt["messages"].append({"role": "system", "content": "environment"})
        answer = json.loads(spoken(upstream, {**prompt, "stream": False}))
        assert answer["content"][0]["text"] == "The tool said: 42"
        first, second = upstream.requests()
    assert (first["bearer"], first["stream"]) == (fingerprint("secret"), True)
    assert "secret" not in json.dumps(second)


@pytest.mark.process
def test_a_process_cuts_an_answer_once() -> None:
    """CUT-ONCE breaks the first answer in the middle and lets the repeated request succeed."""
    with UpstreamProcess() as upstream:
        with pytest.raises(ConnectionResetError):
            spoken(upstream, asking("CUT-ONCE now", stream=True))
        assert told(spoken(upstream, asking("CUT-ONCE now", stream=True)))[-1]["type"] == (
            "message_stop"
        )


@pytest.mark.process
def test_a_process_plays_a_script_and_expects_401(tmp_path: Path) -> None:
    """Steps of the script come in order, and refusals on demand come before them."""
    script = tmp_path / "script.json"
    script.write_text('[{"status": 529, "body": {"type": "error"}}, {"text": "scripted"}]')
    with UpstreamProcess(script=script) as upstream:
        upstream.expect_401()
        body = json.dumps(asking("hi")).encode()
        statuses = [fetch(upstream.url + MESSAGES, body)[0] for _ in range(2)]
        assert statuses == [401, 529]
        assert json.loads(spoken(upstream, asking("hi")))["content"][0]["text"] == "scripted"
        with pytest.raises(LookupError, match="404"):
            upstream.ask("nonsense")
