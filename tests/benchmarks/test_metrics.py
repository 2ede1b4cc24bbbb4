"""What counts, and when a limit is reached."""

from __future__ import annotations

import pytest

from benchmarks.metrics import METRICS, TLS_METRICS, Metric, Row, row
from benchmarks.phases import COMMANDS, LOADS
from benchmarks.rounds import Round

LESS = Metric("time", "small", "p50_us", "µs", must=2.0, aim=1.5)
MORE = Metric("rate", "many", "per_second", "/s", must=0.4, aim=0.6, more_is_better=True)
OWN = Metric("memory", "idle", "resident_mb", "MB", must=45, aim=32, against="")


def found(**values: float) -> Round:
    """Return a round that has found these ``p50_us`` of the small request, by subject."""
    return {"small": {name: {"p50_us": value} for name, value in values.items()}}


def counted(metric: Metric, *rounds: Round) -> float | None:
    """Return what counts."""
    one = row(metric, rounds)
    assert one is not None
    return one.counts


@pytest.mark.parametrize(
    ("metric", "counts", "verdict"),
    [
        (LESS, 1.5, "aim"),
        (LESS, 1.51, "must"),
        (LESS, 2.0, "must"),
        (LESS, 2.19, "within 10 %"),
        (LESS, 2.21, "no"),
        (MORE, 0.6, "aim"),
        (MORE, 0.59, "must"),
        (MORE, 0.4, "must"),
        (MORE, 0.361, "within 10 %"),
        (MORE, 0.359, "no"),
        (OWN, 32.0, "aim"),
        (OWN, 49.4, "within 10 %"),
        (OWN, 49.6, "no"),
        (Metric("p99", "small", "p99_us", "µs"), 99.0, ""),
    ],
)
def test_verdict(metric: Metric, counts: float, verdict: str) -> None:
    """A limit is reached or not, and a "must" that is missed by noise is told from one that is."""
    assert Row(metric, {}, counts, disturbed=False).verdict == verdict


def test_ratios_are_taken_inside_a_round() -> None:
    """In a busy round both are slow, and their ratio says what it says in a quiet one."""
    quiet, busy = found(bridge=30.0, nginx=20.0), found(bridge=300.0, nginx=200.0)
    odd = found(bridge=20.0, nginx=200.0)
    one = row(LESS, [quiet, busy, odd])
    assert one is not None
    assert one.counts == 1.5
    assert one.values == {"bridge": 30.0, "nginx": 200.0}


def test_what_a_proxy_adds() -> None:
    """With direct taken off, what is left of both is compared."""
    added = Metric("added", "small", "p50_us", "µs", beyond="direct")
    one = row(added, [found(direct=20.0, nginx=60.0, bridge=120.0)])
    assert one is not None
    assert one.values == {"nginx": 40.0, "bridge": 100.0}
    assert one.counts == 2.5
    assert counted(added, found(nginx=60.0, bridge=120.0)) is None


def test_own_value() -> None:
    """Where nothing is compared, the median of bridge's own values counts."""
    rounds: list[Round] = [{"idle": {"bridge": {"resident_mb": mb}}} for mb in (40.0, 50.0, 41.0)]
    assert counted(OWN, *rounds) == 41.0


def test_a_case_of_its_own() -> None:
    """The start in the background is nobody's but bridge's."""
    metric = Metric("s", "start", "s", "ms", against="", scale=1000, subject="background")
    one = row(metric, [{"start": {"nginx": {"s": 0.1}, "background": {"s": 0.3}}}])
    assert one is not None
    assert one.values == {"background": 300.0}


def test_not_measured() -> None:
    """What was not measured has no row, and what nginx has not done has no ratio."""
    assert row(LESS, [{}, {"many": {"bridge": {"per_second": 1.0}}}]) is None
    assert row(LESS, [found(nginx=1.0)]) is None
    assert counted(LESS, found(bridge=1.0)) is None


def test_disturbed() -> None:
    """A disturbed round marks the row, if it is one of those that are compared."""
    disturbed: Round = found(bridge=1.0, nginx=1.0, aiohttp=1.0)
    disturbed["small"]["aiohttp"]["disturbed"] = 1.0
    one = row(LESS, [disturbed])
    assert one is not None
    assert not one.disturbed
    disturbed["small"]["nginx"]["disturbed"] = 1.0
    one = row(LESS, [found(bridge=1.0, nginx=1.0), disturbed])
    assert one is not None
    assert one.disturbed


def test_every_metric_is_measured_somewhere() -> None:
    """Each metric names a phase that there is, and no aim is easier than its "must"."""
    for metric in (*METRICS, *TLS_METRICS):
        assert metric.phase in {*LOADS, *COMMANDS}
        if metric.must is not None and metric.aim is not None:
            assert (metric.aim > metric.must) is metric.more_is_better
