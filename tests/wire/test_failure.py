"""The names of what can go wrong on the way out."""

from __future__ import annotations

import inspect

import pytest

from bridge.wire import failure
from bridge.wire.failure import Disconnected, WireError

KINDS = [kind for _, kind in inspect.getmembers(failure, inspect.isclass)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_failure_is_caught_as_one(kind: type[Exception]) -> None:
    """Whoever waits for a connection needs one name beside ``OSError``."""
    assert issubclass(kind, WireError)
    assert not issubclass(kind, OSError)
    assert str(kind("the reason")) == "the reason"


def test_a_connection_that_dies_says_whether_it_had_served() -> None:
    """Only then may it have been closed for being idle; a new one was not."""
    assert not Disconnected("closed").reused
    assert Disconnected("closed", reused=True).reused
