"""What the house tells of itself; the rest of it is seen in real daemons."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bridge.proxy.tally import Outcome
from bridge.service.house import ERROR_LENGTH, House
from bridge.service.settings import load
from tests.fakes.clock import EPOCH, FakeClock
from tests.service.test_metrics import PROMETHEUS, named, samples


@contextlib.asynccontextmanager
async def opened(clock: FakeClock) -> AsyncIterator[House]:
    """Return a house without configuration, and close it."""
    house = House(load({}), port=18462, key="k", instance="i" * 32, clock=clock)
    yield house
    await house.close()


async def test_a_house_that_was_just_opened(home: Path) -> None:
    """Nothing has gone through, and nothing is made up."""
    clock = FakeClock()
    async with opened(clock) as house:
        clock.advance(90)
        clock.jump(3600)
        document = house.health()
    assert document["port"] == 18462
    assert document["started_at"] == EPOCH
    assert document["uptime_seconds"] == 90
    assert document["added_ms"] == {"p50": None, "p99": None}
    assert document["last_error"] is None
    assert document["requests"] == document["streams"] == document["sent_bytes"] == 0
    json.dumps(document)


async def test_what_went_through_is_told(home: Path) -> None:
    """Of all together, and of each provider that is in force."""
    async with opened(FakeClock()) as house:
        tally = house.front_door.tally
        tally.requests, tally.live = 9, 2
        tally.last_error, tally.last_error_at = "kimi: " + "x" * 999, EPOCH + 0.4
        for seconds in (0.00004, 0.00012, 0.04):
            tally.enter("kimi", Outcome.ANSWERED, 200, 100, seconds)
        tally.enter("kimi", Outcome.ANSWERED, 429, 10, 0.0001)
        tally.enter("kimi", Outcome.CUT, 200, 50)
        tally.enter("kimi", Outcome.ABANDONED, 200, 5)
        tally.enter("glm", Outcome.FAILED, 401, 1)
        tally.enter("removed", Outcome.ANSWERED, 200, 1000, 0.0001)
        document = house.health()
    providers = document["providers"]
    assert isinstance(providers, dict)
    assert (document["requests"], document["streams"], document["sent_bytes"]) == (9, 2, 1366)
    added = document["added_ms"]
    assert isinstance(added, dict)
    assert 0.05 < added["p50"] <= 0.1
    assert 30 < added["p99"] <= 50
    error = document["last_error"]
    assert isinstance(error, dict)
    assert error == {"at": EPOCH, "text": ("kimi: " + "x" * 999)[:ERROR_LENGTH]}
    passed = ("requests", "errors", "sent_bytes")
    assert [providers["kimi"][name] for name in passed] == [6, 2, 365]
    assert [providers["glm"][name] for name in passed] == [1, 1, 1]
    assert [providers["deepseek"][name] for name in passed] == [0, 0, 0]
    assert "removed" not in providers


@pytest.mark.parametrize("accept", ["", PROMETHEUS])
async def test_a_scraper_reads_the_same(home: Path, accept: str) -> None:
    """Metrics and health have one source."""
    async with opened(FakeClock()) as house:
        house.front_door.tally.enter("kimi", Outcome.ANSWERED, 200, 100, 0.0001)
        kind, content = await house.metrics(accept)
        health = house.health()
    read = samples(content, kind)
    providers = health["providers"]
    assert isinstance(providers, dict)
    assert read[named("bridge_info", version=str(health["version"]))] == 1
    assert read[named("bridge_sent_bytes_total", provider="kimi")] == health["sent_bytes"]
    for name, state in providers.items():
        assert read[named("bridge_provider_ready", provider=name)] == state["ready"]
