"""The manager hears what sd_notify(3) has it hear, and a daemon without one loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.service.notify import BEAT_SECONDS, VARIABLES, Notifier
from tests.fakes.clock import FakeClock


class Ear:
    """The manager's end: *heard* returns what has come, a message as its lines."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0", 1))
        self._socket.setblocking(False)

    def heard(self) -> list[list[str]]:
        """Return all messages since the last look."""
        messages = []
        with contextlib.suppress(BlockingIOError):
            while True:
                messages.append(self._socket.recv(65536).decode().split("\n"))
        return messages

    def close(self) -> None:
        """Go."""
        self._socket.close()


@pytest.fixture(name="ear", params=["path", "abstract"])
def _ear(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ear]:
    """A manager that listens."""
    abstract = f"@bridge-test-notify-{os.getpid()}"
    ear = Ear(abstract if request.param == "abstract" else str(tmp_path / "notify"))
    yield ear
    ear.close()


@pytest.fixture(name="clock")
def _clock() -> FakeClock:
    """Time that stands still."""
    return FakeClock()


async def test_the_words(ear: Ear, clock: FakeClock) -> None:
    """READY, RELOADING, STOPPING and STATUS are worded as systemd reads them."""
    notifier = Notifier(ear.address, clock)
    assert notifier
    notifier.ready("serving")
    notifier.reloading()
    notifier.stopping("leaving", 60)
    notifier.close()
    assert ear.heard() == [
        ["READY=1", f"MAINPID={os.getpid()}", "STATUS=serving"],
        ["RELOADING=1", "MONOTONIC_USEC=1000000000"],
        ["STOPPING=1", "STATUS=leaving", f"EXTEND_TIMEOUT_USEC={int(3e6 * BEAT_SECONDS)}"],
    ]
    notifier.ready("closed")
    assert ear.heard() == []
    assert not notifier


def test_a_status_is_told_when_it_changes(ear: Ear, clock: FakeClock) -> None:
    """The same words twice are one message, and a line break begins no other word."""
    notifier = Notifier(ear.address, clock)
    for status in ("one", "one", "two\nREADY=1", "one"):
        notifier.status(status)
    notifier.close()
    assert ear.heard() == [["STATUS=one"], ["STATUS=two READY=1"], ["STATUS=one"]]


async def beats(notifier: Notifier, clock: FakeClock, seconds: list[float]) -> None:
    """Let the beat go on for *seconds*, one after the other."""
    beat = asyncio.create_task(notifier.beat(lambda: "well"))
    await asyncio.sleep(0)  # noqa: TID251 - one turn of the loop
    for each in seconds:
        clock.advance(each)
        for _ in range(3):
            await asyncio.sleep(0)  # noqa: TID251 - one turn of the loop
    beat.cancel()
    await asyncio.gather(beat, return_exceptions=True)
    notifier.close()


async def test_the_watchdog_is_fed_twice_in_a_period(ear: Ear, clock: FakeClock) -> None:
    """Half of the period passes between two WATCHDOG=1."""
    await beats(Notifier(ear.address, clock, 10.0), clock, [4.9, 0.2, 4.9, 0.2])
    assert ear.heard() == [["STATUS=well"], *([["WATCHDOG=1"]] * 3)]
    assert clock.slept == [5.0] * 3


async def test_without_a_watchdog_only_news_are_told(ear: Ear, clock: FakeClock) -> None:
    """A manager that does not watch hears of changes, and hears no WATCHDOG=1."""
    await beats(Notifier(ear.address, clock), clock, [BEAT_SECONDS] * 3)
    assert ear.heard() == [["STATUS=well"]]


async def test_patience_is_asked_for_while_leaving(ear: Ear, clock: FakeClock) -> None:
    """Each beat of a stop asks for more time, until it is overdue; the status stays the stop's."""
    notifier = Notifier(ear.address, clock, 10.0)
    notifier.stopping("leaving", 8)
    ear.heard()
    await beats(notifier, clock, [5, 5])
    patience = "EXTEND_TIMEOUT_USEC=15000000"
    assert ear.heard() == [["WATCHDOG=1", patience], ["WATCHDOG=1", patience], ["WATCHDOG=1"]]


async def test_nobody_is_told_nothing(clock: FakeClock) -> None:
    """Without a manager there is no beat and no socket."""
    notifier = Notifier("", clock)
    assert not notifier
    notifier.ready("serving")
    await notifier.beat(lambda: "well")
    assert clock.slept == []


def test_a_manager_that_has_gone_disturbs_nobody(tmp_path: Path, clock: FakeClock) -> None:
    """A socket that is not there, or whose queue is full, costs the message and nothing else."""
    gone = Notifier(str(tmp_path / "gone"), clock)
    gone.ready("serving")
    gone.close()
    deaf = Ear(str(tmp_path / "deaf"))
    notifier = Notifier(deaf.address, clock)
    for number in range(2000):
        notifier.status(str(number))
    notifier.close()
    assert 0 < len(deaf.heard()) < 2000
    deaf.close()


@pytest.mark.parametrize(
    ("variables", "period"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getpid())}, 2.0),
        ({"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({}, None),
    ],
)
async def test_the_environment(
    ear: Ear, clock: FakeClock, variables: dict[str, str], period: float | None
) -> None:
    """A watchdog counts that is meant for this process; the variables are gone afterwards."""
    environment = {"HOME": "/", "NOTIFY_SOCKET": ear.address, **variables}
    notifier = Notifier.taken(environment, clock)
    assert environment == {"HOME": "/"}
    await beats(notifier, clock, [])
    assert (["WATCHDOG=1"] in ear.heard()) == (period is not None)
    assert clock.slept == [period or BEAT_SECONDS]


@given(st.dictionaries(st.sampled_from(VARIABLES), st.text(max_size=30)))
def test_any_environment_is_survived(environment: dict[str, str]) -> None:
    """Whatever stands in the variables, it is taken out and nothing is raised."""
    notifier = Notifier.taken(environment, FakeClock())
    notifier.ready("serving")
    notifier.close()
    assert environment == {}
