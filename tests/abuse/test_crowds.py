"""Crowds at the door: idle ones, slow ones and strangers cost a good client next to nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.abuse.siege import clean, noted
from tests.abuse.stranger import SOMEBODY, as_user
from tests.process.wire import Wire, dial, request
from tests.world import World, world

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]

_clock: Callable[[], float] = time.perf_counter

#: Milliseconds; far above what any request takes here, far below what anybody would notice.
NOTICEABLE = 150.0
#: Descriptors of a daemon that is to run out of them.
FEW = 256


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> Iterator[World]:
    """A machine with a daemon."""
    with world(tmp_path) as machine:
        machine.log_in()
        machine.start()
        yield machine
        assert machine.bridge("--stop").returncode == 0
        clean(machine.log)


@pytest.fixture(name="poor")
def _poor(tmp_path: Path) -> Iterator[World]:
    """A machine whose daemon may open few files."""
    if shutil.which("prlimit") is None:
        pytest.skip("takes prlimit")
    folder = tmp_path / "poor"
    folder.mkdir()
    with world(folder) as machine:
        machine.log_in()
        machine.prefix = ["prlimit", f"--nofile={FEW}:{FEW}"]
        machine.start()
        machine.prefix = []
        yield machine
        assert machine.bridge("--stop").returncode == 0
        clean(machine.log)


def latency(machine: World, times: int = 30) -> float:
    """Return the median milliseconds of requests that all succeed, each on its own connection."""
    taken = []
    for _ in range(times):
        began = _clock()
        assert machine.ask()[0] == 200
        taken.append((_clock() - began) * 1000)
    return statistics.median(taken)


def crowd(stack: ExitStack, machine: World, data: bytes, number: int) -> list[Wire]:
    """Open so many connections that send *data* and nothing more."""
    wires = [stack.enter_context(dial(machine.port)) for _ in range(number)]
    for wire in wires:
        with contextlib.suppress(ConnectionError):  # sent away already
            wire.sends(data)
    return wires


def test_many_that_drip(machine: World) -> None:
    """Six hundred that send a byte now and then: in head, body or chunks; others are served."""
    whole = request(machine.port)
    chunked = whole.partition(b"Content-Length")[0] + b"Transfer-Encoding: chunked\r\n\r\n"
    calm = latency(machine)
    with ExitStack() as stack:
        wires = [
            *crowd(stack, machine, b"POST /kimi/v1/mess", 200),
            *crowd(stack, machine, whole[:-60], 200),
            *crowd(stack, machine, chunked + b"1\r\n{\r\n", 200),
        ]
        taken = []
        for number in range(30):
            for wire in wires[number % 3 :: 3]:
                wire.sends(b"0")
            taken.append(latency(machine, 1))
        busy = statistics.median(taken)
        assert busy < NOTICEABLE + calm, (calm, busy)
        assert machine.bridge("--check", "kimi").returncode == 0
    assert latency(machine, 3) < NOTICEABLE
    noted("600 slow-loris connections", f"a good request takes {busy:.1f} ms, {calm:.1f} ms before")


def test_a_hundred_thousand_chunks(machine: World) -> None:
    """A body of single bytes in chunks is one body, and others are served while it comes."""
    body = request(machine.port).partition(b"\r\n\r\n")[2].ljust(100_000)
    head = request(machine.port, more="Connection: close\r\n").partition(b"Content-Length")[0]
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    with dial(machine.port) as wire:
        wire.sends(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks[:200_000])
        meanwhile = latency(machine, 5)
        wire.sends(chunks[200_000:] + b"0\r\n\r\n")
        assert wire.rest().startswith(b"HTTP/1.1 200 ")
    (last, *_) = reversed(machine.upstream.requests())
    assert last["body_bytes"] == 100_000
    noted(
        "100,000 chunks of a byte", f"one body; a good request meanwhile takes {meanwhile:.1f} ms"
    )


def test_more_than_there_are_descriptors(poor: World) -> None:
    """Idle connections beyond all descriptors: the oldest unused go, whoever asks is served."""
    with ExitStack() as stack:
        for data in (b"", b"GET /health HT"):
            crowd(stack, poor, data, FEW)
            for _ in range(5):
                assert poor.ask()[0] == 200
            assert poor.bridge("--check", "kimi").returncode == 0
        assert descriptors(poor) < FEW
    assert poor.ask()[0] == 200
    noted(f"{2 * FEW} idle connections, {FEW} descriptors", "every good request was served")


def test_a_stream_outlives_a_crowd(poor: World) -> None:
    """Whoever is being answered is not sent away for somebody who only connects."""
    with dial(poor.port) as reader, ExitStack() as stack:
        reader.sends(request(poor.port))
        reader.hears(b"message_start")
        crowd(stack, poor, b"", FEW)
        reader.hears(b"message_stop")
    noted("a stream beside a crowd", "came to its end")


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root can be somebody else"
)
def test_a_crowd_of_strangers(machine: World, poor: World) -> None:
    """Another user cannot use up connections, memory or time: of theirs only a number stays."""
    for home in (machine, poor):
        before, memory, calm = descriptors(home), resident(home), latency(home, 10)
        half = b"POST /kimi/v1/messages HTTP/1.1\r\nX-A: " + b"x" * 50_000
        with as_user(SOMEBODY, "crowds", str(home.port), "700", half.hex(), wait=False) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "there\n"
            busy = latency(home, 10)
            assert descriptors(home) - before < 300
            assert resident(home) - memory < 128 * 1024
            child.communicate(timeout=30)
        assert busy < calm + NOTICEABLE
        home.until(lambda home=home, before=before: descriptors(home) <= before + 8)  # type: ignore[misc]
    noted("700 half heads of another user", f"256 stay; a good request takes {busy:.1f} ms")


def descriptors(machine: World) -> int:
    """Return how many descriptors the daemon has open."""
    return len(list(Path(f"/proc/{machine.pid}/fd").iterdir()))


def resident(machine: World) -> int:
    """Return the daemon's memory in KiB."""
    lines = Path(f"/proc/{machine.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])
