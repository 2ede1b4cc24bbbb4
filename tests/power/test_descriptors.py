"""Descriptors that run out, and as many streams as anybody will ever have: who is in is served.

Whoever comes beyond the limit is turned away at once; nobody hangs, and nothing is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import Counter as Tally
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.asking import calling
from tests.fakes.exchange import Exchange
from tests.fakes.mirror import ORDER, Mirror, Order, digest
from tests.process.gauge import Gauge, descriptors_allowed
from tests.proxy.doorway import Caller
from tests.verdicts import record
from tests.world import World

pytestmark = [pytest.mark.process, pytest.mark.timeout(90)]

FULL = os.environ.get("BRIDGE_TEST_FULL") == "1"
STREAMS = 1000 if FULL else 300
#: Descriptors that the daemon may have where they are to run out, and how many want to be served.
FEW, CROWD = 160, 150

_now: Callable[[], float] = time.time  # noqa: TID251 - the daemon is a real process in real time


class Patient(Mirror):
    """A provider that begins each answer at once and ends it only when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = 0
        self.done = asyncio.Event()
        self._arrived = asyncio.Condition()

    async def answer(self, exchange: Exchange) -> None:
        """Give the first half of what is ordered, wait, give the rest."""
        order = Order.of(exchange.request)
        headers = [("Content-Type", "text/event-stream")]
        await exchange.head(200, headers, "chunked", len(order.content))
        half = len(order.content) // 2
        await exchange.says(order.content[:half])
        async with self._arrived:
            self.begun += 1
            self._arrived.notify_all()
        await self.done.wait()
        await exchange.says(order.content[half:])
        await exchange.ends()

    async def has_begun(self, number: int) -> None:
        """Return once so many answers have begun."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: self.begun >= number)


@contextlib.asynccontextmanager
async def provider(machine: World) -> AsyncIterator[Patient]:
    """Open a provider in Kimi's place."""
    patient = Patient()
    await patient.comes_back()
    machine.variables["KIMI_CODE_BASE_URL"] = f"{patient.url}/coding/v1"
    try:
        yield patient
    finally:
        patient.done.set()
        await patient.goes_dark()


async def asks(caller: Caller, number: int) -> Order:
    """Ask for a stream of which every byte is known."""
    order = Order(seed=number, size=20_000, framing="chunked")
    headers = [("authorization", "Bearer dummy"), (ORDER, str(order))]
    await caller.asks("POST", "/kimi/v1/messages", headers, b"{}")
    return order


async def reads(caller: Caller, order: Order) -> None:
    """Find the answer as it was sent."""
    answer = await caller.answer()
    assert answer.status == 200
    assert digest(answer.content) == digest(order.content)


def unharmed(machine: World) -> dict[str, Any]:
    """Assert that no spent token was presented and no login lost; return the counters."""
    state = machine.authorization.state()
    assert (state["spent_presented"], state["refused"], state["revoked"]) == (0, 0, 0)
    return state


async def until(happened: Callable[[], bool]) -> None:
    """Return once *happened*; between two looks the kernel has its turn in another thread."""
    while not await asyncio.to_thread(happened):
        continue


async def test_many_streams(machine: World) -> None:
    """All of them under way together, a refresh and a reload in their midst: byte-exact.

    Afterwards the daemon holds no more descriptors than before.
    """
    with descriptors_allowed(8 * STREAMS) as allowed:
        streams = min(STREAMS, (allowed - 200) // 4)
        async with provider(machine) as patient, contextlib.AsyncExitStack() as stack:
            machine.log_in(expires_at=_now() + 3600, expires_in=3600.0)
            machine.prefix = ["prlimit", f"--nofile=1024:{allowed}"]
            config = machine.configure("")
            daemon = await asyncio.to_thread(machine.foreground)
            machine.prefix = []
            gauge = Gauge(daemon.pid)
            before = gauge.descriptors
            begun = _now()
            callers = [
                await stack.enter_async_context(calling(machine.port)) for _ in range(streams)
            ]
            orders = [await asks(caller, number) for number, caller in enumerate(callers)]
            await patient.has_begun(streams)
            assert gauge.descriptors >= 2 * streams
            machine.log_in(expires_at=_now() - 1)
            async with calling(machine.port) as one_more:
                order = await asks(one_more, streams)
                await patient.has_begun(streams + 1)
                assert unharmed(machine)["refreshes"] == 1
                config.write_text('[providers.kimi]\nheaders = { X-Test = "new" }\n')
                await until(lambda: "configuration reloaded" in machine.log)
                patient.done.set()
                for caller, wanted in zip(callers, orders, strict=True):
                    await reads(caller, wanted)
                await reads(one_more, order)
            taken = _now() - begun
            await stack.aclose()
            await patient.goes_dark()
            await until(lambda: gauge.descriptors <= before + 8)
    assert "failed" not in machine.log
    case = f"{streams} open streams, refresh and reload in their midst"
    record("power", case, "byte-exact, every descriptor is back", taken)


async def test_the_soft_limit(machine: World) -> None:
    """What a shell allows is no limit: the daemon asks for as much as it may have."""
    async with provider(machine) as patient, contextlib.AsyncExitStack() as stack:
        machine.log_in()
        machine.prefix = ["prlimit", "--nofile=64:2048"]
        await asyncio.to_thread(machine.foreground)
        machine.prefix = []
        callers = [await stack.enter_async_context(calling(machine.port)) for _ in range(100)]
        orders = [await asks(caller, number) for number, caller in enumerate(callers)]
        await patient.has_begun(len(callers))
        patient.done.set()
        for caller, order in zip(callers, orders, strict=True):
            await reads(caller, order)
    record("power", "descriptors: soft limit of 64", "raised; 100 streams are served")


async def turned_away(caller: Caller, number: int) -> str:
    """Ask for a stream and say what became of it, once that is known."""
    try:
        order = await asks(caller, number)
        await reads(caller, order)
    except (ConnectionError, asyncio.IncompleteReadError, EOFError, AssertionError) as error:
        return type(error).__name__
    return "served"


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"] if FULL else ["uvloop"])
async def test_the_hard_limit(machine: World, loop: str) -> None:
    """Who is in is served to the last byte, a refresh included; who comes beyond is turned away.

    The log is not flooded, and as soon as somebody leaves there is room again.
    """
    machine.variables["BRIDGE_LOOP"] = loop
    async with provider(machine) as patient, contextlib.AsyncExitStack() as stack:
        machine.log_in()
        machine.prefix = ["prlimit", f"--nofile={FEW}:{FEW}"]
        daemon = await asyncio.to_thread(machine.foreground)
        machine.prefix = []
        gauge = Gauge(daemon.pid)
        first = await stack.enter_async_context(calling(machine.port))
        order = await asks(first, CROWD)
        await patient.has_begun(1)
        stale = machine.log_in(expires_at=_now() + 300)
        crowd = [await stack.enter_async_context(calling(machine.port)) for _ in range(CROWD)]
        asked = [asyncio.create_task(turned_away(one, n)) for n, one in enumerate(crowd)]
        await until(lambda: stale["refresh_token"] not in machine.credential.read_text())
        assert unharmed(machine)["refreshes"] == 1
        done = await asyncio.to_thread(machine.bridge, "--check", "-v")
        assert done.returncode in {0, 4}
        assert daemon.poll() is None
        assert gauge.descriptors <= FEW
        patient.done.set()
        await reads(first, order)
        fates = Tally(await asyncio.gather(*asked))
        assert fates["served"] >= (FEW - 100) // 2, fates
        assert sum(fates.values()) == CROWD
        await stack.aclose()
        begun = _now()
        await until(lambda: _answers(machine))
        taken = _now() - begun
        lines = [line for line in machine.log.splitlines() if "INFO" not in line]
        assert len(lines) <= CROWD + 20, lines[-5:]
        assert "Traceback" not in machine.log
    assert machine.bridge("--check", "kimi").returncode == 0
    daemon.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(daemon.wait, 20) == 0
    saw = f"{fates['served']} served to the end, the others turned away; refreshed"
    record("power", f"descriptors: hard limit of {FEW}, {CROWD} clients ({loop})", saw, taken)


def _answers(machine: World) -> bool:
    try:
        return machine.ask("/health", method="GET")[0] == 200
    except OSError:
        return False


def test_a_daemon_on_its_last_descriptors(machine: World, tmp_path: Path) -> None:
    """A start with too few descriptors to live on fails in a line, or serves."""
    machine.log_in()
    for number in (12, 24, 32):
        machine.prefix = ["prlimit", f"--nofile={number}:{number}"]
        done = machine.bridge()
        machine.prefix = []
        if done.returncode == 0:
            assert machine.ask("/health", method="GET")[0] == 200
        else:
            assert done.stderr.count("\n") == 1, done.stderr
        assert machine.bridge("--stop").returncode == 0
    machine.start()
    assert machine.ask()[0] == 200
    record("power", "descriptors: a start with 12, 24 and 32", "one line, or it serves")
