"""What grows with the work under way shrinks with it, and nothing grows with time.

In quick form by default; BRIDGE_TEST_FULL=1 takes more rounds, both event loops and more requests.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import shutil
import signal
import sys
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final, cast

import pytest

from bridge.credentials.keeper import Keeper
from tests.credentials.strongbox import Household, household
from tests.fakes.clock import FakeClock
from tests.process.gauge import Gauge, descriptors_allowed, waiting_room
from tests.process.test_framing import LOOPS, daemon
from tests.proxy.ambiguous import CHUNKED, HOST, LENGTH, post
from tests.proxy.doorway import Doorway, Purse, doorway
from tests.proxy.rawclient import RawClient, passes, rawclient
from tests.proxy.witness import Sent, Witness
from tests.wire.answers import MEBIBYTE, chunked, sized
from tests.wire.farside import descriptors, turns
from tests.world import World

pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform != "linux", reason="the kernel is asked through /proc"),
]

FULL: Final = os.environ.get("BRIDGE_TEST_FULL") == "1"
SOME_LOOPS: Final = LOOPS if FULL else LOOPS[:1]
BLOB: Final = random.Random(5).randbytes(32 * MEBIBYTE)
CROWDS: Final = (1, 50, 500, 1000)
#: What a stream may take while it is open: twice of what it is meant to take at most.
STREAM_BYTES: Final = 32 * 1024
#: Allocators keep some of what they once had; what is lost for good goes beyond that in time.
SLACK: Final = 4 * MEBIBYTE
#: Crowds until an allocator has found its level.
WARMING: Final = 5
#: The allocator is told to keep up to 16 MiB (``service.memory``), and has holes.
KEPT: Final = 24 * MEBIBYTE


def asking(machine: World, body: bytes) -> bytes:
    """Return a request with *body*."""
    data = post(b"Content-Length: %d" % len(body), body=body)
    return data.replace(HOST, b"127.0.0.1:%d" % machine.port, 1)


class Crowd:
    """So many clients that each have a stream of their own open at the same time.

    One in ten leaves in the middle, one in ten is cut off by the upstream.
    """

    def __init__(self, machine: World, witness: Witness, size: int) -> None:
        self._machine = machine
        self._witness = witness
        self._size = size
        self._clients: dict[int, RawClient] = {}
        self._sent: dict[int, Sent] = {}

    async def streams(self, gauge: Gauge) -> int:
        """Open, stream and end all of them; return the memory taken while all were open."""
        async with asyncio.timeout(60), AsyncExitStack() as stack:
            for number in range(self._size):
                client = await stack.enter_async_context(rawclient(self._machine.port))
                await client.sends(asking(self._machine, b"%d" % number))
                self._clients[number] = client
            for _ in self._clients:
                sent = await self._witness.arrives()
                self._sent[int(sent.body)] = sent
            self._say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nopen\r\n")
            for client in self._clients.values():
                await client.hears(b"open")
            assert self._machine.health()["streams"] == self._size
            taken = gauge.resident
            await self._speak()
            await self._part()
        return taken

    async def _speak(self) -> None:
        for part in range(1, 9):
            for number, sent in self._sent.items():
                piece = _piece(number, part)
                sent.line.says(b"%x\r\n%b\r\n" % (len(piece), piece))
            await passes(2)

    async def _part(self) -> None:
        """End every stream in its own way, and see that each client had its own bytes."""
        for number, client in self._clients.items():
            line, way = self._sent[number].line, number % 10
            if way == 3:
                client.leaves(reset=number % 20 == 3)
                await line.over.wait()
            elif way == 7:
                line.breaks()
                assert await client.concludes() is None
                assert client.end == "reset"
            else:
                line.says(b"0\r\n\r\n")
                answer = await client.concludes()
                assert answer is not None
                expected = b"open" + b"".join(_piece(number, part) for part in range(1, 9))
                assert sha256(answer.content).digest() == sha256(expected).digest()

    def _say(self, data: bytes) -> None:
        for sent in self._sent.values():
            sent.line.says(data)


def _piece(number: int, part: int) -> bytes:
    """Return the bytes that only this stream has at this place."""
    begin = (number * 977 + part * 131) % MEBIBYTE
    return BLOB[begin : begin + 200 + number % 700]


async def ebbs(machine: World, witness: Witness, gauge: Gauge, before: int) -> None:
    """Return once the daemon has no more descriptors than *before*: all it keeps warm is closed."""
    for line in witness.lines:
        line.closes()
    witness.lines.clear()
    async with asyncio.timeout(20):
        while gauge.descriptors > before:
            await passes(1)
    assert machine.health()["streams"] == 0


@pytest.mark.parametrize("loop", SOME_LOOPS)
async def test_streams_leave_nothing_behind(loop: str, tmp_path: Path) -> None:
    """A thousand at once cost little each and get their own bytes; after them all is as before."""
    with descriptors_allowed(8192) as allowed:
        async with daemon(tmp_path, loop) as (machine, witness):
            witness.hold = True
            gauge = Gauge(machine.pid or 0)
            crowds = [size for size in CROWDS if 2 * size + 200 < allowed]
            assert len(crowds) > 1
            idle, open_before = gauge.resident, gauge.descriptors
            for size in crowds:
                taken = await Crowd(machine, witness, size).streams(gauge)
                assert taken - idle < SLACK + size * STREAM_BYTES, size
                await ebbs(machine, witness, gauge, open_before + 1)
            levels = []
            for _ in range(WARMING + (10 if FULL else 5)):
                await Crowd(machine, witness, crowds[-1]).streams(gauge)
                await ebbs(machine, witness, gauge, open_before + 1)
                levels.append(gauge.resident)
            # asyncio's transports are cycles, whose memory comes back in lumps.
            slack = SLACK if loop == "uvloop" else 4 * SLACK
            assert levels[-1] - levels[WARMING - 1] < slack, levels


@pytest.mark.parametrize("loop", SOME_LOOPS)
async def test_the_usual_limit_is_no_limit(loop: str, tmp_path: Path) -> None:
    """A shell allows 1,024 descriptors, and a daemon more where it asks: for 700 streams."""
    prefix = [shutil.which("prlimit") or pytest.skip("takes prlimit"), "--nofile=1024:8192"]
    with descriptors_allowed(8192) as allowed:
        if allowed < 3000:
            pytest.skip("this machine allows too few descriptors")
        async with daemon(tmp_path, loop, prefix=prefix) as (machine, witness):
            witness.hold = True
            await Crowd(machine, witness, 700).streams(Gauge(machine.pid or 0))


@pytest.mark.parametrize("loop", SOME_LOOPS)
async def test_a_crowd_need_not_wait_at_the_door(loop: str, tmp_path: Path) -> None:
    """While the daemon is busy its kernel lets hundreds in, who would else try again after 1 s."""
    if waiting_room() < 512:
        pytest.skip("this kernel lets nobody wait")
    async with daemon(tmp_path, loop) as (machine, witness), AsyncExitStack() as stack:
        pid = machine.pid or 0
        os.kill(pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(20):
                crowd = [
                    await stack.enter_async_context(rawclient(machine.port)) for _ in range(400)
                ]
        finally:
            os.kill(pid, signal.SIGCONT)
        for client in crowd:
            await client.sends(asking(machine, b"hello"))
        for client in crowd:
            answer = await client.concludes()
            assert answer is not None
            assert answer.status == 200
        assert len(witness.requests) == 400


@asynccontextmanager
async def weighed(machine: World) -> AsyncIterator[tuple[RawClient, Gauge]]:
    """A client, and the daemon's memory, whose highest level counts from now on."""
    gauge = Gauge(machine.pid or 0)
    async with rawclient(machine.port) as client:
        gauge.forget()
        yield client, gauge


@pytest.mark.parametrize("loop", SOME_LOOPS)
async def test_bodies_are_held_once_and_let_go(loop: str, tmp_path: Path) -> None:
    """From 10 kB to 32 MB, up and down: each arrives as it was sent, and its memory comes back.

    Of each size so many go that what any of them left behind would show.
    """
    # asyncio before Python 3.12 copies what the kernel does not take at once.
    copies = 4 if loop == "asyncio" and sys.version_info < (3, 12) else 1
    async with daemon(tmp_path, loop) as (machine, witness):
        witness.hold = True
        idle = Gauge(machine.pid or 0).resident
        for size in (10_000, 100_000, MEBIBYTE, 8 * MEBIBYTE, 32 * MEBIBYTE):
            for number in range(max(2, (64 if FULL else 32) * MEBIBYTE // size)):
                shift = number % 1000
                body = BLOB[shift:size] + BLOB[:shift]
                async with weighed(machine) as (client, gauge):
                    before = gauge.resident
                    await client.sends(asking(machine, body))
                    sent = await witness.arrives()
                    assert sha256(sent.body).digest() == sha256(body).digest()
                    assert gauge.highest - before < copies * size + 2 * SLACK
                    sent.line.says(sized(body) if number % 2 else chunked(_in_chunks(body)))
                    answer = await client.concludes()
                    assert answer is not None
                    assert sha256(answer.content).digest() == sha256(body).digest()
                    witness.requests.clear()
            assert Gauge(machine.pid or 0).resident - idle < KEPT, size


def _in_chunks(body: bytes) -> bytes:
    size = 60_000
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


@pytest.mark.parametrize("loop", SOME_LOOPS)
async def test_large_answers_pass_through(loop: str, tmp_path: Path) -> None:
    """Of 32 MB to a client that reads, the daemon never holds more than a part."""
    async with daemon(tmp_path, loop) as (machine, witness):
        witness.hold = True
        for number in range(8 if FULL else 2):
            async with weighed(machine) as (client, gauge):
                before = gauge.resident
                await client.sends(asking(machine, b"hello"))
                sent = await witness.arrives()
                sent.line.says(sized(BLOB) if number % 2 else chunked(_in_chunks(BLOB)))
                answer = await client.concludes()
                assert answer is not None
                assert sha256(answer.content).digest() == sha256(BLOB).digest()
                # Some megabytes are the allocator's own, once.
                assert gauge.highest - before < 4 * SLACK


# A day's work, with a clock in the test's hand.

#: Requests in each minute of a day of eight hours.
PACE: Final = 12 if FULL else 3
DAY_HOURS: Final = 8
#: What may be left of seven hours with all their requests, refreshes and connections, in bytes.
LEFT_OVER: Final = 64 * 1024


#: What two thousand targets that nobody asks for again may leave in caches, in bytes.
CACHED: Final = 256 * 1024


class Day:
    """Eight hours of an agent at work, over tokens of a quarter of an hour, in seconds.

    Each minute brings requests of every kind, and a connection that goes idle and is given up.
    """

    def __init__(self, home: Household, witness: Witness, way: Doorway, clock: FakeClock) -> None:
        self._home = home
        self._witness = witness
        self._way = way
        self._clock = clock
        self.asked = 0

    async def hour(self) -> None:
        """Work for an hour."""
        for _ in range(60):
            for _ in range(PACE):
                await self._ask()
            for _ in range(4):
                self._clock.advance(15)
                await turns(3)
                await self._home.source.settle()
        self._forget()

    async def _ask(self) -> None:
        self.asked += 1
        number = self.asked
        body = b'{"stream": %b, "messages": []}' % (b"true" if number % 2 else b"false")
        length = b"Content-Length: %d" % len(body)
        requests = [
            (post(length, body=body), 200),
            (post(length, first=b"POST /kimi/v1/messages/count_tokens HTTP/1.1", body=body), 200),
            (post(b"X-Session: %d" % number, length, body=body), 200),
            (post(CHUNKED, body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)), 200),
            (post(length, first=b"POST /kimi/v1/%d HTTP/1.1" % (number % 64), body=body), 200),
            (post(length, host=b"Host: evil.example", body=body), 421),
            (post(first=b"GET /health HTTP/1.1", body=b""), 200),
            (post(CHUNKED, LENGTH, body=b"0\r\n\r\n"), 400),
        ]
        data, status = requests[number % len(requests)]
        async with rawclient(self._way.port) as client:
            await client.sends(data.replace(HOST, b"127.0.0.1:%d" % self._way.port))
            if number % 23:
                answer = await client.concludes()
                assert answer is not None
                assert answer.status == status
        for sent in self._witness.requests:
            (bearer,) = sent.values(b"authorization")
            assert self._home.server.valid(bearer.decode().removeprefix("Bearer "))
        self._witness.requests.clear()
        await self._rests()

    async def _rests(self) -> None:
        async with asyncio.timeout(30):
            while list(self._way.door._connections):
                await turns(1)

    def _forget(self) -> None:
        """Drop what the fakes remember, which is not what is weighed."""
        server, witness = self._home.server, self._witness
        witness.lines = [line for line in witness.lines if not line.over.is_set()]
        self._clock.slept.clear()
        self._way.peers.clear()
        for tokens in (server.access, server.refresh):
            memory = cast("dict[str, object]", tokens)
            for name in list(memory)[:-4]:
                del memory[name]
        server.requests.clear()
        server._conversations = {t: w for t, w in server._conversations.items() if not t.done()}


@asynccontextmanager
async def working(tmp_path: Path) -> AsyncIterator[tuple[Day, Household]]:
    """A door of a household whose keeper is awake, before an upstream that keeps what comes."""
    clock = FakeClock()
    async with household(tmp_path, clock) as home, Witness() as witness:
        purse = cast("Purse", home.source)
        async with doorway(witness.url, purse=purse, clock=clock) as way:
            keeper = Keeper(home.source, clock, lambda: way.door.last_request)
            keeping = asyncio.create_task(keeper.keep())
            yield Day(home, witness, way, clock), home
            keeping.cancel()
            await asyncio.wait([keeping])


@pytest.fixture(name="traced")
def _traced() -> Iterator[None]:
    """Every allocation is counted."""
    tracemalloc.start(1)
    yield
    tracemalloc.stop()


def weigh() -> tuple[int, int, int]:
    """Return the bytes allocated, the tasks and the descriptors there are now."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0], len(asyncio.all_tasks()), descriptors()


@pytest.mark.usefixtures("traced")
async def test_eight_hours_of_work(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Memory, tasks and descriptors are after eight hours what they were after one.

    More than fifty tokens have been lived through, and nobody was refused.
    """
    caplog.set_level("ERROR", "bridge")
    async with working(tmp_path) as (day, home):
        await day.hour()
        memory, tasks, open_files = weigh()
        for _ in range(DAY_HOURS - 1):
            await day.hour()
        later = weigh()
    assert home.server.refreshes >= 50
    assert (home.server.refused, home.server.spent_presented) == (0, 0)
    assert day.asked == DAY_HOURS * 60 * PACE
    assert later[0] - memory < LEFT_OVER
    assert later[1:] == (tasks, open_files)
    assert caplog.records == []


@pytest.mark.usefixtures("traced")
async def test_what_is_remembered_has_a_bound(caplog: pytest.LogCaptureFixture) -> None:
    """Two thousand targets, hosts, names and values that never come again fill no memory."""
    caplog.set_level("ERROR", "bridge")
    async with Witness() as witness, doorway(witness.url) as way:

        async def asks(numbers: range) -> None:
            async with rawclient(way.port) as client:
                for number in numbers:
                    first = b"POST /kimi/v1/%d?x=%d HTTP/1.1" % (number, number)
                    lines = [b"X-%d: %d" % (number, number), b"Connection: X-%d" % number]
                    data = post(*lines, LENGTH, first=first, body=b"hello")
                    await client.sends(data.replace(HOST, b"127.0.0.1:%d" % way.port))
                    assert await client.concludes() is not None
                    client.received.clear()
            witness.requests.clear()

        await asks(range(600))
        memory, tasks, open_files = weigh()
        await asks(range(600, 2600))
        later = weigh()
    assert later[0] - memory < CACHED
    assert later[1] <= tasks
    assert later[2] <= open_files + 1
