"""What is told of times that were taken."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.bench.figures import MEASURES, Pair, Quantiles, Report, quantiles

times = st.lists(st.floats(min_value=0, max_value=60), min_size=1)


def test_quantiles_by_hand() -> None:
    """Of a hundred times the fiftieth is usual and the 99th unlucky; of one, it is both."""
    assert quantiles([n / 1000 for n in range(100, 0, -1)]) == Quantiles(0.050, 0.099)
    assert quantiles([3.0]) == Quantiles(3.0, 3.0)
    assert quantiles([2.0, 1.0]) == Quantiles(1.0, 2.0)


@given(times)
def test_quantiles_were_taken(seconds: list[float]) -> None:
    """Each quantile was really taken, and the unlucky case is not the quicker one."""
    found = quantiles(seconds)
    assert {found.p50, found.p99} <= set(seconds)
    assert found.p50 <= found.p99


@given(times, times)
def test_half_is_not_slower(seconds: list[float], others: list[float]) -> None:
    """At least half of all times are no longer than the usual one, and 99 in 100 than the other."""
    found = quantiles(seconds + others)
    together = len(seconds + others)
    assert sum(each <= found.p50 for each in seconds + others) >= together / 2
    assert sum(each <= found.p99 for each in seconds + others) >= together * 0.99


def test_added() -> None:
    """What bridge added is the difference of the two, even where noise makes it negative."""
    assert Pair([1.0, 5.0], [3.0, 4.0]).added == Quantiles(2.0, -1.0)


def test_document() -> None:
    """A program reads microseconds, by temperature and measure, with how many there were."""
    pairs = {name: Pair([0.0001, 0.0001], [0.0003, 0.0005]) for name in MEASURES}
    document = Report(pairs, 0.3, 0.31234, 7, 4.0).document()
    assert document["start"] == {"returned_ms": 300.0, "answered_ms": 312.3}
    assert (document["rounds"], document["seconds"]) == (7, 4.0)
    small = {
        "samples": 2,
        "direct": {"p50_us": 100.0, "p99_us": 100.0},
        "bridge": {"p50_us": 300.0, "p99_us": 500.0},
        "added": {"p50_us": 200.0, "p99_us": 400.0},
    }
    assert document["warm"] == {"small": small, "first": small, "event": small}
    assert document["cold"] == {"small": small, "first": small}
