"""How long a start takes, with the real daemon."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import starting
from benchmarks.generator import Result
from benchmarks.machine import CLOCK
from benchmarks.phases import Phase
from benchmarks.subjects import Subject, Upstream, bridge
from tests.fakes.upstream import UpstreamProcess

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]


class Idle:
    """A generator in front of a fake upstream: it loads nothing."""

    def __init__(self, port: int) -> None:
        self.plain = Upstream(port)
        self.secure = Upstream(port)

    def load(self, phase: Phase, subject: Subject) -> Result:
        """Load nothing."""
        return {}

    def worked(self) -> float:
        """Return no seconds."""
        return 0.0


@pytest.fixture(name="generator")
def _generator() -> Iterator[Idle]:
    upstream = UpstreamProcess().start()
    yield Idle(int(upstream.url.rpartition(":")[2]))
    upstream.stop()


def test_in_foreground(generator: Idle, tmp_path: Path) -> None:
    """A start is over when an answer has passed through, and then the daemon is ended."""
    way = bridge(generator.plain, tmp_path / "bridge")
    began = CLOCK.monotonic()
    found = starting.in_foreground(generator, way)
    assert 0 < found["start_seconds"] < CLOCK.monotonic() - began
    assert not way.listens()
    assert not starting.answered(way)


def test_in_background(generator: Idle, tmp_path: Path) -> None:
    """The command returns before the first answer; daemon and PID file are gone afterwards."""
    way = bridge(generator.plain, tmp_path / "bridge")
    found = starting.in_background(generator, way)
    assert 0 < found["returned_seconds"] < found["start_seconds"]
    assert found["resident_mb"] > 10
    assert not way.listens()
    assert not (way.folder / ".local/run/bridge.pid").exists()


def test_start_that_fails(generator: Idle, tmp_path: Path) -> None:
    """What does not start is told with its own words, at once."""
    way = bridge(generator.plain, tmp_path / "bridge")
    way.variables["BRIDGE_PORT"] = "none"
    with pytest.raises(RuntimeError, match=r"bridge ended with 78: .*BRIDGE_PORT"):
        starting.in_foreground(generator, way)


def test_median() -> None:
    """Of several starts the median counts, each after a quiet moment."""
    seconds = iter([0.3, 9.0, 0.2])
    waits: list[int] = []
    found = starting.median(lambda: {"s": next(seconds)}, lambda: waits.append(1), starts=3)
    assert found == {"s": 0.3}
    assert len(waits) == 3
