"""Everything that can be too large: refused at once, in little memory, and the door stays open."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.abuse.siege import clean, noted
from tests.abuse.test_crowds import resident
from tests.process.wire import dial, request
from tests.world import World, world

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]

MEBIBYTE: Final = 1 << 20
#: KiB that the daemon may hold on to for all of it.
ROOM: Final = 96 * 1024
#: How many bytes of each are sent at most.
FLOOD: Final = 24 * MEBIBYTE


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> Iterator[World]:
    """A machine with a daemon that takes bodies of a mebibyte, and with a key from a program."""
    with world(tmp_path) as machine:
        machine.log_in()
        machine.configure(
            '[server]\nmax_body = "1 MiB"\nbody_budget = "4 MiB"\n[providers.minimax]\n'
            f'anthropic = "{machine.upstream.url}/mm"\n'
            'key = { command = ["head", "-c", "300000000", "/dev/zero"] }\n'
        )
        machine.start()
        yield machine
        assert machine.bridge("--stop").returncode == 0
        clean(machine.log)


def flooded(machine: World, begin: bytes, more: bytes, most: int = FLOOD) -> list[int]:
    """Send *begin* and *more* again and again; return the statuses of what comes back."""
    block = more * max(1, MEBIBYTE // len(more))
    with dial(machine.port) as wire:
        # Refused and closed while we are still sending, as it should be.
        with contextlib.suppress(OSError):
            wire.sends(begin)
            for _ in range(0, most, len(block)):
                wire.sends(block)
            wire.ends()
        with contextlib.suppress(OSError):
            wire.rest()
        return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", wire.received)]


def test_floods(machine: World) -> None:
    """Lines, heads, sizes, extensions, trailers and bodies without end: a 4xx or a closed door."""
    head = request(machine.port).partition(b"Content-Length")[0]
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n"
    floods = {
        "a method": (b"", b"G"),
        "a URL": (b"GET /", b"x"),
        "a query": (b"GET /kimi/v1/models?q=", b"%20"),
        "a header's name": (head, b"x"),
        "a header's value": (head + b"X-A: ", b"x"),
        "headers": (head, b"X-A: b\r\n"),
        "empty headers": (head, b"A:\r\n"),
        "cookies": (head, b"Cookie: " + b"c" * 4000 + b"\r\n"),
        "a size of a chunk": (chunked, b"0"),
        "an extension of a chunk": (chunked + b"5;", b"x"),
        "trailers": (chunked + b"0\r\n", b"X-T: y\r\n"),
        "a chunk": (chunked + b"7fffffff\r\n", b"x"),
        "chunks": (chunked, b"400\r\n" + b"x" * 1024 + b"\r\n"),
        "a body as announced": (head + b"Content-Length: 99999999\r\n\r\n", b"x"),
        "empty lines": (b"", b"\r\n"),
    }
    machine.ask()
    before = resident(machine)
    for name, (begin, more) in floods.items():
        statuses = flooded(machine, begin, more)
        assert all(400 <= status < 500 for status in statuses), (name, statuses)
        assert len(statuses) <= 1, name
        assert machine.ask()[0] == 200, name
    grown = resident(machine) - before
    assert grown < ROOM
    assert len(machine.upstream.requests()) == len(floods) + 1
    noted("floods of 24 MiB", f"{len(floods)} kinds, none forwarded, memory +{grown // 1024} MiB")


def test_a_program_that_says_too_much(machine: World) -> None:
    """A key command that does not stop talking is no key, and is not kept in memory."""
    before = resident(machine)
    status, _, body = machine.ask("/minimax/v1/messages")
    assert status in {401, 403, 503}, body
    assert resident(machine) - before < ROOM
    assert machine.ask()[0] == 200
    noted("a key command that prints 300 MB", f"{status}, and little of it was read")
