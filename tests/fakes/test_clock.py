"""The fake clock keeps time the way the real one does, only on command."""

from __future__ import annotations

import asyncio

import pytest

from bridge.clock import Clock
from tests.fakes.clock import EPOCH, FakeClock


def test_stands_in_for_the_clock_of_the_machine() -> None:
    """A fake clock is a Clock, begins at a fixed moment and stands still."""
    clock: Clock = FakeClock()
    assert (clock.now(), clock.now()) == (EPOCH, EPOCH)


async def test_wakes_sleepers_in_order_of_their_deadlines() -> None:
    """One advance over several deadlines wakes the sleepers earliest first."""
    clock, woken = FakeClock(), list[float]()

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    tasks = [asyncio.create_task(sleeper(seconds)) for seconds in (3.0, 1.0, 2.0, 9.0)]
    await clock.sleepers(4)
    assert clock.deadlines == [1.0, 2.0, 3.0, 9.0]
    clock.advance(3)
    await asyncio.gather(*tasks[:3])
    assert woken == [1.0, 2.0, 3.0]
    assert not tasks[3].done()
    clock.advance(6)
    await tasks[3]


async def test_a_sleep_of_nothing_yields_once() -> None:
    """A sleep of zero or less gives others a turn and asks for no advance."""
    clock = FakeClock()
    turn = asyncio.Event()
    asyncio.get_running_loop().call_soon(turn.set)
    await clock.sleep(0)
    assert turn.is_set()
    await clock.sleep(-1)
    assert clock.slept == [0, -1]


async def test_a_cancelled_sleeper_no_longer_counts() -> None:
    """Cancelling ends a wait at once, and the clock forgets it."""
    clock = FakeClock()
    task = asyncio.create_task(clock.sleep(5))
    await clock.sleepers(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert clock.waiting == 0
    clock.advance(10)


def test_a_pause_passes_at_once() -> None:
    """A blocked thread finds that its pause has passed on both clocks."""
    clock = FakeClock()
    before = clock.monotonic()
    clock.pause(2.5)
    assert (clock.now() - EPOCH, clock.monotonic() - before) == (2.5, 2.5)


def test_a_jump_moves_the_wall_clock_alone() -> None:
    """After a suspend or a corrected clock, differences of the monotonic clock still hold."""
    clock = FakeClock()
    before = clock.monotonic()
    clock.jump(-3600)
    assert (clock.now(), clock.monotonic()) == (EPOCH - 3600, before)
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(-1)


async def test_runs_a_task_through_all_its_sleeps() -> None:
    """A task that sleeps again and again is carried to its end, and the time has passed."""
    clock = FakeClock()

    async def sleepy() -> None:
        for _ in range(3):
            await clock.sleep(10)

    task = asyncio.create_task(sleepy())
    await clock.run_until(task)
    assert clock.now() == EPOCH + 30
