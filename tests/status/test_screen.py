"""Nothing on the screen is wider than it, and nothing of what is shown moves its cursor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.status.report import Row, Tone
from bridge.status.screen import INDENT, NARROWEST, lines, may_colour, plain, width

texts = st.text(max_size=300) | st.text("ab /\u4e16\u0301", max_size=300)
rows = st.lists(st.builds(Row, texts, texts, st.sampled_from(Tone)), max_size=5)


@given(rows=rows, columns=st.integers(0, 200))
def test_no_line_is_too_wide(rows: list[Row], columns: int) -> None:
    """Whatever is said and however narrow it is, down to a width at which nothing can be read."""
    for line in lines(rows, columns, colour=False):
        assert width(line) <= max(columns, INDENT + NARROWEST)
        assert line.isprintable()


@given(text=st.text(st.characters(categories=["L", "N", "P", "Z"]), max_size=300))
def test_nothing_is_left_out(text: str) -> None:
    """What is broken up is all there, in order."""
    shown = "".join(lines([Row("label", text)], 40, colour=False))
    assert [*plain(text).replace(" ", "")] == [*shown.removeprefix("label").replace(" ", "")]


def test_a_text_is_broken_at_blanks() -> None:
    """The rest stands below its beginning."""
    assert list(lines([Row("kimi", "not ready, by login yet"), Row("", "")], 30, colour=False)) == [
        "kimi          not ready, by",
        "              login yet",
        "",
    ]


def test_a_long_label_stands_alone() -> None:
    """A provider of one's own may be called anything."""
    told = list(lines([Row("my-very-own-gateway", "ready")], 80, colour=False))
    assert told == ["my-very-own-gateway", "              ready"]


def test_wide_letters_take_two_columns() -> None:
    """A path may be in any language."""
    told = list(lines([Row("log", "/\u4e16\u754c" * 10)], 40, colour=False))
    assert [width(line) for line in told] == [40, 38]


def test_colour_goes_around_the_text_only() -> None:
    """And only where a tone has one."""
    odd, usual = lines([Row("a", "b", Tone.ODD), Row("c", "d")], 80, colour=True)
    assert odd == "a             \x1b[33mb\x1b[0m"
    assert usual == "c             d"


@pytest.mark.parametrize(
    ("environment", "terminal", "may"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"TERM": "dumb"}, True, False),
    ],
)
def test_who_wants_colour(environment: dict[str, str], terminal: bool, may: bool) -> None:
    """Terminals, unless somebody has said no."""
    assert may_colour(environment, terminal=terminal) is may


def test_nothing_is_obeyed() -> None:
    """An error may quote what a stranger sent."""
    assert plain("a\x1b[2Jb\nc\x07") == "a\ufffd[2Jb\ufffdc\ufffd"
