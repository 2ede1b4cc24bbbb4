"""Sets rows on a screen: so many columns wide, nothing that moves the cursor, colour on demand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final
from unicodedata import combining, east_asian_width

from bridge.status.report import Row, Tone

#: Where texts begin; longer labels stand on a line of their own.
INDENT: Final = 14
#: A text has at least so many columns, however narrow the screen.
NARROWEST: Final = 16

_COLOURS: Final = MappingProxyType(
    {Tone.GOOD: "32", Tone.ODD: "33", Tone.BAD: "31", Tone.DIM: "2"},
)


def lines(rows: Iterable[Row], columns: int, *, colour: bool) -> Iterator[str]:
    """Yield *rows* as lines of at most *columns*: texts are broken at blanks, else anywhere."""
    room = max(NARROWEST, columns - INDENT)
    for row in rows:
        label = plain(row.label)
        if width(label) > INDENT - 1:
            yield from _broken(label, max(NARROWEST, columns))
            label = ""
        for place, piece in enumerate(_broken(plain(row.text), room) or [""]):
            head = label + " " * (INDENT - width(label)) if place == 0 else " " * INDENT
            yield (head + _painted(piece, row.tone, colour=colour)).rstrip()


def plain(text: str) -> str:
    """Return *text* with a sign in place of each character that a terminal might obey."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


def width(text: str) -> int:
    """Return how many columns *text* takes."""
    return sum(_columns(letter) for letter in text)


def may_colour(environment: Mapping[str, str], *, terminal: bool) -> bool:
    """Say whether colour is welcome: on a terminal that has it, and where nobody has said no."""
    return terminal and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def _columns(letter: str) -> int:
    if combining(letter):
        return 0
    return 2 if east_asian_width(letter) in {"W", "F"} else 1


def _painted(text: str, tone: Tone, *, colour: bool) -> str:
    return f"\x1b[{_COLOURS[tone]}m{text}\x1b[0m" if colour and text and tone in _COLOURS else text


def _broken(text: str, room: int) -> list[str]:
    """Return *text* in pieces that fit into *room* columns."""
    pieces: list[str] = []
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if width(longer) <= room:
            line = longer
            continue
        if line:
            pieces.append(line)
        *full, line = _cut(word, room)
        pieces += full
    return [*pieces, line] if line else pieces


def _cut(word: str, room: int) -> list[str]:
    """Return a *word* in parts of at most *room* columns; the last may be empty."""
    parts, part, taken = [], "", 0
    for letter in word:
        columns = _columns(letter)
        if taken + columns > room:
            parts.append(part)
            part, taken = "", 0
        part += letter
        taken += columns
    return [*parts, part]
