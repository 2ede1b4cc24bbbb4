"""What is in force is one value."""

from __future__ import annotations

import dataclasses

import pytest

from bridge.proxy.passage import MEBIBYTE, Limits, Passage
from bridge.proxy.rewrite import Routes
from tests.proxy.doorway import CALLER_KEY, Purse, policy, provider


def test_a_passage_cannot_change_under_a_request() -> None:
    """It is frozen as a whole, and shows no key."""
    routes = Routes.of([provider("https://api.kimi.com")], default="kimi")
    passage = Passage(routes, {"kimi": Purse()}, policy(18462), Limits())
    with pytest.raises(dataclasses.FrozenInstanceError):
        passage.limits = Limits()  # type: ignore[misc]
    assert CALLER_KEY not in repr(passage)


def test_the_limits_are_generous() -> None:
    """64 MiB for a body, and minutes of silence for a model that thinks."""
    assert Limits().max_body == 64 * MEBIBYTE
    assert Limits().idle_seconds >= 900
