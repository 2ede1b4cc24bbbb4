"""A coroutine that runs at once, and becomes a task only where it waits."""

from __future__ import annotations

import asyncio

import pytest

from bridge.eager import start
from tests.fakes.clock import FakeClock


async def test_what_does_not_wait_is_done_at_once() -> None:
    """No task is made of it."""
    seen = []

    async def work() -> None:
        seen.append(1)

    assert start(work()) is None
    assert seen == [1]


async def test_what_waits_goes_on_in_a_task() -> None:
    """Each wait is a wait like any other; several may wait for the same future."""
    gate: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    clock, seen = FakeClock(), list[str]()

    async def work(name: str) -> None:
        seen.append(name)
        seen.append(f"{name}{await gate}")
        await clock.sleep(5)
        seen.append(f"{name} slept")

    tasks = [start(work("a")), start(work("b"))]
    assert seen == ["a", "b"]
    gate.set_result(7)
    await clock.sleepers(2)
    assert seen == ["a", "b", "a7", "b7"]
    clock.advance(5)
    for task in tasks:
        assert task is not None
        await task
    assert seen[4:] == ["a slept", "b slept"]


async def test_a_wait_for_nothing_but_a_turn() -> None:
    """What only yields goes on at the next turn."""
    clock = FakeClock()
    task = start(clock.sleep(0))
    assert task is not None
    await task


@pytest.mark.parametrize("turns", [0, 1, 3])
async def test_cancelling_reaches_the_work_whenever_it_comes(turns: int) -> None:
    """Even before the task has run for the first time; what the work does about it counts."""
    clock, seen = FakeClock(), list[str]()

    async def work() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            seen.append("cancelled")
            await clock.sleep(0)
            seen.append("cleaned up")
            raise

    task = start(work())
    assert task is not None
    for _ in range(turns):
        await clock.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cancelled", "cleaned up"]


async def test_what_it_raises() -> None:
    """Before it waits it raises here, afterwards in the task."""

    async def early() -> None:
        raise KeyError("early")

    async def late() -> None:
        await FakeClock().sleep(0)
        raise KeyError("late")

    with pytest.raises(KeyError, match="early"):
        start(early())
    task = start(late())
    assert task is not None
    with pytest.raises(KeyError, match="late"):
        await task
