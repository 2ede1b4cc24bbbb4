"""A clock that is off is told in words, as bad as it is for tokens."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.doctor.judging.skew import Clocks, judge, spoken
from tests.doctor.rows import levels, only, troubles

RIGHT = Clocks(now=1_800_000_000.0, ahead=[("auth.example", 0.4)], margin=450.0)


@pytest.mark.parametrize(
    ("ahead", "level", "words"),
    [
        (0.0, "ok", "agrees with auth.example"),
        (60.0, "ok", "agrees"),
        (-60.0, "ok", "agrees"),
        (61.0, "warn", "it is 61 s behind auth.example"),
        (-90.0, "warn", "it is 90 s ahead of auth.example"),
        (450.0, "warn", "it is 8 minutes behind auth.example"),
        (451.0, "fail", "more than half of a token's lifetime"),
        (-7200.0, "fail", "it is 2 hours ahead of auth.example"),
    ],
)
def test_against_a_server(ahead: float, level: str, words: str) -> None:
    """A minute is nothing, more is odd, and more than half a token's lifetime fails."""
    finding = only(judge(replace(RIGHT, ahead=[("auth.example", ahead)])))
    assert finding.level == level
    assert words in finding.text
    assert level == "ok" or "timedatectl" in finding.mend


def test_the_nearest_server_counts() -> None:
    """One server with a wrong clock, or a cache with an old date, does not make ours wrong."""
    finding = only(judge(replace(RIGHT, ahead=[("a", -90000.0), ("b", 1.0)])))
    assert finding.text == "it agrees with b"


def test_nobody_to_compare_with() -> None:
    """Without an answer it is said that nothing was compared, and why."""
    silent = only(judge(replace(RIGHT, ahead=[], answered=False)))
    assert (silent.level, "no server has answered" in silent.text) == ("warn", True)
    assert levels(judge(replace(RIGHT, ahead=[]))) == ["ok"]
    finding = only(judge(replace(RIGHT, ahead=[], asked=False)))
    assert (finding.level, "nobody was asked" in finding.text) == ("ok", True)


def test_a_clock_that_was_never_set() -> None:
    """A machine in 1970 fails, even without a network."""
    findings = list(judge(replace(RIGHT, now=86400.0, ahead=[], answered=False)))
    assert levels(findings) == ["fail", "warn"]


def test_files_of_the_future() -> None:
    """A file of ours from the future says that the clock was set back."""
    finding = only(troubles(judge(replace(RIGHT, newest=RIGHT.now + 7200))))
    assert (finding.level, "2 hours" in finding.text) == ("warn", True)
    assert troubles(judge(replace(RIGHT, newest=RIGHT.now + 30))) == []


def test_a_jump() -> None:
    """A wall clock that moves against the monotonic one is told."""
    assert "jumped by 3 minutes" in only(troubles(judge(replace(RIGHT, jumped=-180.0)))).text
    assert troubles(judge(replace(RIGHT, jumped=0.5))) == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (119, "119 s"), (120, "2 minutes"), (7200, "2 hours"), (200_000, "2 days")],
)
def test_spoken(seconds: float, words: str) -> None:
    """Durations are said in the unit that a person would take."""
    assert spoken(seconds) == words
