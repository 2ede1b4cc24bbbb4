"""Gaps are filled, blocks are left out, and nothing else is touched."""

from __future__ import annotations

import pytest

from bridge.units.template import filled

TEXT = """\
# What the gaps mean: @NAME@.
# More of it.

[Unit]
Key=@NAME@ --word
# @MANY@

# @BLOCK@
# Why this may be left out.
Inner=@NAME@
# @END@

# @system stays.
"""


def test_everything() -> None:
    """With its block the text is whole but for the first comment."""
    assert filled(TEXT, {"NAME": "x", "MANY": "A=1\nB=2"}, {"BLOCK"}) == (
        "[Unit]\nKey=x --word\nA=1\nB=2\n\n"
        "# Why this may be left out.\nInner=x\n\n# @system stays.\n"
    )


def test_nothing() -> None:
    """A block that is not wanted goes with its comment; a gap of no lines leaves none."""
    assert filled(TEXT, {"NAME": "x", "MANY": ""}) == "[Unit]\nKey=x --word\n\n# @system stays.\n"


def test_forgotten() -> None:
    """A gap that nothing fills is a bug."""
    with pytest.raises(KeyError):
        filled(TEXT, {"MANY": ""})


def test_what_fills_a_gap() -> None:
    """What looks like a gap in what is filled in is none."""
    assert "Key=@NAME@ --word" in filled(TEXT, {"NAME": "@NAME@", "MANY": ""})
