"""Which loads there are, and who is loaded when."""

from __future__ import annotations

import pytest

from benchmarks.phases import COMMANDS, GROWTH, LOADS, TABLE, chosen


def test_names_are_different() -> None:
    """No load hides another."""
    assert len(LOADS) == len(TABLE) + len(GROWTH)
    assert LOADS.keys().isdisjoint(COMMANDS)


def test_all_of_the_table() -> None:
    """Nobody asks: what the table needs; everything is asked for: TLS and growth, too."""
    usual, everything = chosen("", full=False), chosen("", full=True)
    assert {"small", "paced500", "stalled", *COMMANDS} <= set(usual)
    assert not [name for name in usual if name.endswith("-tls") or name.startswith("streams")]
    assert set(everything) == {*LOADS, *COMMANDS}


def test_chosen_by_name() -> None:
    """Whoever names phases gets these."""
    assert chosen("flat,check,", full=False) == ["flat", "check"]
    with pytest.raises(ValueError, match="no such phase: flatt: there are small,"):
        chosen("flatt", full=False)


def test_whom_a_load_concerns() -> None:
    """Direct has neither memory nor TLS; growth is looked at once, of two subjects."""
    assert LOADS["small"].concerns("direct", 4)
    assert not LOADS["idle"].concerns("direct", 0)
    assert not LOADS["small-tls"].concerns("direct", 0)
    assert LOADS["idle"].concerns("aiohttp", 4)
    assert LOADS["streams50"].concerns("bridge", 0)
    assert not LOADS["streams50"].concerns("bridge", 1)
    assert not LOADS["streams50"].concerns("aiohttp", 0)
