"""What has gone through."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.proxy.tally import BOUNDS, Outcome, Spread, Tally

TIMES = st.lists(st.floats(min_value=1e-6, max_value=29.0), min_size=1, max_size=60)


@given(TIMES, st.floats(min_value=0.01, max_value=1.0))
def test_a_quantile_is_in_the_class_of_the_true_one(times: list[float], share: float) -> None:
    """What a scrape or a person reads is wrong by the width of one class at most."""
    spread = Spread()
    for seconds in times:
        spread.observe(seconds)
    true = sorted(times)[max(0, math.ceil(share * len(times)) - 1)]
    upper = next(bound for bound in BOUNDS if true <= bound)
    lower = max((bound for bound in BOUNDS if bound < upper), default=0.0)
    found = spread.quantile(share)
    assert found is not None
    assert lower <= found <= upper
    assert spread.total == pytest.approx(sum(times))


def test_nothing_has_no_quantile() -> None:
    """Before the first request there is no time to tell; beyond all classes it is the last."""
    spread = Spread()
    assert spread.quantile(0.5) is None
    spread.observe(1000.0)
    assert spread.quantile(0.5) == BOUNDS[-1]


def test_what_ended_is_counted_by_provider_outcome_and_status() -> None:
    """Bytes count however it ended, added time only of what was answered."""
    tally = Tally()
    tally.enter("kimi", Outcome.ANSWERED, 200, 10, 0.0002)
    tally.enter("kimi", Outcome.ANSWERED, 200, 10, 0.0004)
    tally.enter("glm", Outcome.ANSWERED, 429, 1, 0.0002)
    tally.enter("kimi", Outcome.CUT, 200, 5)
    assert tally.providers["kimi"].ended == {
        (Outcome.ANSWERED, 200): 2,
        (Outcome.CUT, 200): 1,
    }
    assert tally.sent == 26
    assert sum(tally.added.counts) == 3
    assert tally.added.total == pytest.approx(0.0008)
