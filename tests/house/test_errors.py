"""The family of errors is complete and drawn as it is."""

from __future__ import annotations

import re

import pytest

from bridge import errors
from bridge.errors import BridgeError, Refused


def family(kind: type[BridgeError]) -> list[type[BridgeError]]:
    """*kind* and every error below it in ``bridge.errors``."""
    below = [k for child in kind.__subclasses__() for k in family(child)]
    return [k for k in [kind, *below] if k.__module__ == errors.__name__]


def test_the_drawing_shows_the_family() -> None:
    """The tree at the head of the module names every error, once, and no other."""
    drawn = re.findall(r"[─ ]([A-Z]\w+)", (errors.__doc__ or "").split("::")[1])
    assert sorted(drawn) == sorted(kind.__name__ for kind in family(BridgeError))


@pytest.mark.parametrize("kind", family(BridgeError), ids=lambda kind: kind.__name__)
def test_an_error_keeps_its_words(kind: type[BridgeError]) -> None:
    """Each error says what it was given to say, and bears a status and an exit code."""
    error = kind("what is wrong: what to do next")
    assert str(error) == "what is wrong: what to do next"
    assert 400 <= error.status < 600
    assert error.exit_code > 0


def test_a_time_to_try_again_means_that_it_may_help() -> None:
    """retry_after is the class's unless the occasion knows better."""
    assert errors.CredentialBusy("x").retry_after == 5.0
    assert errors.CredentialBusy("x", retry_after=9.0).retry_after == 9.0
    assert Refused("x", status=413).retry_after is None
