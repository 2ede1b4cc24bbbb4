"""The end of a log and what follows, whatever happens to its files in between."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.status.tail import Tail


class Log:
    """A log as its writer sees it: numbered lines, rotated with three old files kept."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "bridge.log"
        self.written = 0

    def says(self, number: int = 1) -> None:
        """Write so many lines more."""
        with self.path.open("ab") as file:
            for _ in range(number):
                self.written += 1
                file.write(b"line %d\n" % self.written)

    def turns(self) -> None:
        """Begin a new file."""
        for number in (2, 1, 0):
            older = self.path.with_name(f"bridge.log.{number}") if number else self.path
            if older.exists():
                older.rename(self.path.with_name(f"bridge.log.{number + 1}"))


@pytest.fixture(name="log")
def _log(tmp_path: Path) -> Log:
    return Log(tmp_path)


def numbers(lines: list[bytes]) -> list[int]:
    """Return the numbers of the lines."""
    assert all(line.endswith(b"\n") for line in lines)
    return [int(line.split()[1]) for line in lines]


@pytest.mark.parametrize("wanted", [0, 1, 3, 4, 5, 9, 10, 11, 100])
def test_the_last_lines(log: Log, wanted: int) -> None:
    """As many as are wanted, from older files where the youngest has too few."""
    log.says(4)
    log.turns()
    log.says(3)
    log.turns()
    log.says(3)
    with contextlib.closing(Tail(log.path)) as tail:
        assert numbers(tail.last(wanted)) == list(range(max(1, 11 - wanted), 11))


def test_a_log_that_is_not_there_yet(log: Log) -> None:
    """Nothing comes until there is one, and then all of it."""
    with contextlib.closing(Tail(log.path)) as tail:
        assert tail.last(5) == []
        assert list(tail.more()) == []
        log.says(2)
        assert numbers(list(tail.more())) == [1, 2]


def test_a_log_that_was_renamed_just_now(log: Log) -> None:
    """Between two files there is none of that name; the older ones are the log."""
    log.says(2)
    log.turns()
    with contextlib.closing(Tail(log.path)) as tail:
        assert numbers(tail.last(1)) == [2]
        log.says()
        assert numbers(list(tail.more())) == [3]


def test_half_a_line_waits_for_the_rest(log: Log) -> None:
    """Lines come whole, also one that was being written at the beginning."""
    log.says(1)
    with log.path.open("ab") as file, contextlib.closing(Tail(log.path)) as tail:
        file.write(b"line ")
        file.flush()
        assert numbers(tail.last(9)) == [1]
        assert list(tail.more()) == []
        file.write(b"2\nli")
        file.flush()
        assert numbers(list(tail.more())) == [2]


def test_a_log_that_was_emptied(log: Log) -> None:
    """Whoever empties it by hand sees what comes then."""
    log.says(5)
    with contextlib.closing(Tail(log.path)) as tail:
        tail.last(1)
        log.path.write_bytes(b"")
        log.says(1)
        assert numbers(list(tail.more())) == [6]


def test_a_log_that_was_removed(log: Log) -> None:
    """Older files are no news; a new one is."""
    log.says(2)
    log.turns()
    log.says(1)
    with contextlib.closing(Tail(log.path)) as tail:
        tail.last(1)
        log.path.unlink()
        assert list(tail.more()) == []
        log.says(1)
        assert numbers(list(tail.more())) == [4]


@settings(max_examples=200, deadline=None)
@given(
    before=st.integers(0, 5),
    wanted=st.integers(0, 8),
    steps=st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=3), max_size=8),
)
def test_no_line_is_lost_or_twice(
    tmp_path_factory: pytest.TempPathFactory, before: int, wanted: int, steps: list[list[int]]
) -> None:
    """However often the log turns between two looks, up to as many files as are kept."""
    log = Log(tmp_path_factory.mktemp("log"))
    log.says(before)
    with contextlib.closing(Tail(log.path)) as tail:
        seen = numbers(tail.last(wanted))
        for files in steps:
            log.says(files[0])
            for number in files[1:]:
                log.turns()
                log.says(number)
            seen += numbers(list(tail.more()))
    assert seen == list(range(max(1, before - wanted + 1), log.written + 1))
