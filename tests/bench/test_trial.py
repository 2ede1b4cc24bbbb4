"""A whole bench, with the real daemon."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from bridge.bench.figures import MEASURES
from bridge.bench.trial import LEAST_ROUNDS, SMALL, Bench
from bridge.clock import SystemClock
from bridge.demo.program import Flop
from tests.demo.surroundings import leading_astray, left_behind

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]


@pytest.fixture(autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let temporary folders be made where the test sees them."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


async def test_least(tmp_path: Path) -> None:
    """Without time to spare a few rounds are made all the same, and nothing is left behind."""
    report = await Bench(leading_astray(tmp_path), SystemClock(), seconds=0).run()
    assert report.rounds == LEAST_ROUNDS
    assert set(report.pairs) == set(MEASURES)
    assert {len(pair.direct) for pair in report.pairs.values()} == {
        *(SMALL * LEAST_ROUNDS, LEAST_ROUNDS),
        len(report.pairs["warm_event"].bridge),
    }
    for pair in report.pairs.values():
        assert len(pair.direct) == len(pair.bridge)
        assert min(pair.direct) > 0
    assert 0 < report.returned < report.answered < report.seconds
    assert left_behind(tmp_path) == []


async def test_daemon_that_cannot_start(tmp_path: Path) -> None:
    """If the daemon does not start, the bench says why, and leaves nothing behind."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        bench = Bench(leading_astray(tmp_path), SystemClock(), seconds=0, port=port)
        with pytest.raises(Flop, match=rf"bridge ended with 4: .*{port}"):
            await bench.run()
    assert left_behind(tmp_path) == []
