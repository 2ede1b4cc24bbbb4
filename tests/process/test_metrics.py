"""A real daemon is scraped while it works."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.process.gauge import Gauge
from tests.process.test_framing import daemon
from tests.process.test_growth import SOME_LOOPS, asking
from tests.proxy.rawclient import RawClient, rawclient
from tests.proxy.witness import Sent, Witness
from tests.service.test_metrics import PROMETHEUS, Key, named, samples
from tests.wire.answers import MEBIBYTE
from tests.world import World

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]

STREAMS = 50


def scraped(machine: World, accept: str = "") -> dict[Key, float]:
    """Return what a scraper reads."""
    status, headers, content = machine.ask("/metrics", method="GET", headers={"accept": accept})
    assert status == 200
    assert headers["cache-control"] == "no-store"
    return samples(content, headers["content-type"])


@asynccontextmanager
async def streaming(
    machine: World, witness: Witness
) -> AsyncIterator[tuple[list[RawClient], list[Sent]]]:
    """Let clients have a stream each, and what the upstream sees of them."""
    witness.hold = True
    async with AsyncExitStack() as stack:
        clients = []
        for number in range(STREAMS):
            client = await stack.enter_async_context(rawclient(machine.port))
            await client.sends(asking(machine, b"%d" % number))
            clients.append(client)
        streams = [await witness.arrives() for _ in clients]
        says(streams, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        yield clients, streams


def says(streams: list[Sent], data: bytes) -> None:
    """Send *data* on each of *streams*."""
    for sent in streams:
        sent.line.says(data)


@pytest.mark.parametrize("loop", SOME_LOOPS)
async def test_a_scrape_disturbs_no_stream(loop: str, tmp_path: Path) -> None:
    """Fifty streams go on while their daemon is scraped for the first time, and again."""
    async with (
        daemon(tmp_path, loop) as (machine, witness),
        streaming(machine, witness) as (clients, streams),
    ):
        for event in (b"one", b"two", b"end"):
            assert scraped(machine, PROMETHEUS)[named("bridge_live_requests")] == STREAMS
            says(streams, b"3\r\n%b\r\n" % event)
            for client in clients:
                await client.hears(event)
        says(streams, b"0\r\n\r\n")
        for client in clients:
            answer = await client.concludes()
            assert answer is not None
            assert answer.content == b"onetwoend"
        machine.until(lambda: machine.health()["providers"]["kimi"]["requests"] == STREAMS)
        agrees(scraped(machine), machine)


def agrees(read: dict[Key, float], machine: World) -> None:
    """See that metrics and health say the same."""
    health = machine.health()
    ended = named("bridge_requests_total", provider="kimi", outcome="answered", status="200")
    assert read[ended] == health["requests"] == STREAMS
    assert read[named("bridge_live_requests")] == 0
    assert read[named("bridge_added_seconds_count", provider="kimi")] == STREAMS
    sent = read[named("bridge_sent_bytes_total", provider="kimi")]
    assert sent == health["sent_bytes"] == STREAMS * len(b"onetwoend")
    assert read[named("bridge_info", version=health["version"])] == 1
    for name, state in health["providers"].items():
        assert read[named("bridge_provider_ready", provider=name)] == state["ready"]


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel is asked through /proc")
async def test_scrapes_cost_little(tmp_path: Path) -> None:
    """The first loads the library, which takes a few megabytes, and the others take no more."""
    async with daemon(tmp_path, "uvloop") as (machine, _):
        gauge = Gauge(machine.pid or 0)
        for _ in range(100):
            machine.health()
        idle = gauge.resident
        for _ in range(20):
            scraped(machine)
        warm = gauge.resident
        for _ in range(100):
            scraped(machine)
        assert warm - idle < 8 * MEBIBYTE
        assert gauge.resident - warm < MEBIBYTE


async def test_metrics_are_guarded_as_health_is(tmp_path: Path) -> None:
    """They need no key, no web page gets them, and nothing of them goes to a provider."""
    async with daemon(tmp_path, "uvloop") as (machine, witness):
        assert machine.ask("/metrics", method="HEAD")[::2] == (200, b"")
        assert machine.ask("/metrics")[0] == 405
        page = {"origin": "https://evil.example"}
        assert machine.ask("/metrics", method="GET", headers=page)[0] == 403
        assert machine.ask("/metrics", method="GET", headers={"host": "evil.example"})[0] == 421
        assert witness.requests == []
        assert machine.health()["requests"] == 0
