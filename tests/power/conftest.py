"""Machines whose clock, disk and life are at the mercy of the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.power.wallclock import LIBRARY, WallClock
from tests.process.wire import Counter
from tests.world import World, world


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> Iterator[World]:
    """A machine whose authorization server takes a spent refresh token for theft."""
    with world(tmp_path, stern=True, interval=0.1) as machine:
        yield machine


@pytest.fixture(name="api")
def _api(machine: World) -> Iterator[Counter]:
    """An API whose answers the test gives by hand."""
    with Counter() as counter:
        machine.variables["KIMI_CODE_BASE_URL"] = f"{counter.url}/coding/v1"
        yield counter


@pytest.fixture(name="clock")
def _clock(machine: World) -> WallClock:
    """The machine's wall clock, to be turned."""
    if not LIBRARY.exists():
        pytest.skip(f"there is no {LIBRARY} (Debian: libfaketime) to turn a wall clock with")
    return WallClock(machine)
