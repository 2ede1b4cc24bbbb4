"""A day's requests fill no disk and no memory: one line each, in files of limited size.

In quick form by default; BRIDGE_TEST_FULL=1 sends all ten thousand.
"""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from pathlib import Path
from typing import Final

import pytest

from bridge.service.log import BACKUPS, MAX_BYTES
from tests.process.gauge import Gauge
from tests.proxy.ambiguous import HOST, LENGTH, post
from tests.proxy.rawclient import rawclient
from tests.proxy.witness import Witness
from tests.verdicts import record
from tests.world import World, world

pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform != "linux", reason="the kernel is asked through /proc"),
]

FULL: Final = os.environ.get("BRIDGE_TEST_FULL") == "1"
REQUESTS: Final = 10_000 if FULL else 2_000
CLIENTS: Final = 4
MEBIBYTE: Final = 1 << 20
#: Allocators keep some of what they once had.
SLACK: Final = 2 * MEBIBYTE
#: An earlier daemon's line, so that the files are nearly full before the first request.
LINE: Final = b"2027-01-15 12:00:00,000 INFO request answered by an earlier daemon\n"


def files(machine: World) -> list[Path]:
    """Return the log's files, youngest first."""
    log = machine.home / ".local/state/bridge/bridge.log"
    return [log, *(log.with_name(f"bridge.log.{number}") for number in range(1, 10))]


def furnish(machine: World) -> None:
    """Let earlier daemons have filled every file that is kept."""
    log, *older = files(machine)
    log.parent.mkdir(parents=True, mode=0o700)
    for file in (log, *older[:BACKUPS]):
        file.write_bytes(LINE * (MAX_BYTES // len(LINE)))
        file.chmod(0o600)


async def sends(machine: World, witness: Witness, numbers: range) -> None:
    """Send one request for each of *numbers*, some at a time."""

    async def one(mine: range) -> None:
        async with rawclient(machine.port) as client:
            for number in mine:
                first = b"POST /kimi/v1/%b/%d?secret=1 HTTP/1.1" % (b"long" * 50, number)
                data = post(LENGTH, first=first, body=b"hello")
                await client.sends(data.replace(HOST, b"127.0.0.1:%d" % machine.port))
                answer = await client.concludes()
                assert answer is not None
                assert answer.status == 200
                client.received.clear()

    parts = [numbers[place::CLIENTS] for place in range(CLIENTS)]
    await asyncio.gather(*(one(part) for part in parts))
    witness.requests.clear()


async def levelled(machine: World) -> list[int]:
    """Send all requests through a daemon; return what memory it had after each part of them."""
    levels = []
    async with Witness() as witness:
        machine.log_in()
        machine.variables["KIMI_CODE_BASE_URL"] = f"{witness.url}/coding/v1"
        machine.start()
        gauge = Gauge(machine.pid or 0)
        step = REQUESTS // 5
        for begin in range(0, REQUESTS, step):
            await sends(machine, witness, range(begin, begin + step))
            levels.append(gauge.resident)
        machine.until(lambda: machine.health()["providers"]["kimi"]["requests"] == REQUESTS)
    machine.bridge("--stop")
    return levels


async def test_many_requests_fill_nothing(tmp_path: Path) -> None:
    """Each has its line; full files make room, the oldest goes, and memory stays where it was."""
    with world(tmp_path) as machine:
        furnish(machine)
        levels = await levelled(machine)
        there = [file for file in files(machine) if file.exists()]
        sizes = [file.stat().st_size for file in there]
        lines = [
            line
            for file in there
            for line in file.read_bytes().splitlines()
            if b"request answered id=" in line
        ]
        assert len(lines) == REQUESTS
        assert len({line.partition(b" id=")[2].split()[0] for line in lines}) == REQUESTS
        assert all(b"secret" not in line for line in lines)
        assert len(there) == BACKUPS + 1
        assert max(sizes) <= MAX_BYTES
        assert {stat.S_IMODE(file.stat().st_mode) for file in there} == {0o600}
        assert levels[-1] - levels[0] < SLACK, levels
    record(
        "growth",
        f"{REQUESTS:,} requests with log level info",
        f"log files of {sum(sizes) / MEBIBYTE:.1f} MiB in all (at most {BACKUPS + 1} of "
        f"{MAX_BYTES // MEBIBYTE} MiB), memory {(levels[-1] - levels[0]) / MEBIBYTE:+.1f} MiB",
    )
    print(f"sizes={sizes} resident={levels}")
