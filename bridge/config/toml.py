"""Reads a TOML text and remembers on which line each key stands.

Pure. ``tomllib`` parses and does not tell where a key was; a second, much simpler walk over the
text, which by then is known to be valid, finds out. The room knows nothing of what the keys mean.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

#: A key with the tables it lies in: ``("server", "port")``.
KeyPath = tuple[str, ...]

_POSITION: Final = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_HINTS: Final = (
    ("Invalid value", "text is written in quotes, true and false without"),
    ("Expected newline", "text is written in quotes"),
    ("Expected '='", "write NAME = VALUE"),
    ("Invalid statement", "write NAME = VALUE or [TABLE]"),
    ("Cannot overwrite", "this key stands twice"),
    ("Cannot declare", "this table stands twice"),
)

_TOKEN: Final = re.compile(
    r"""
      (?P<newline>\n)
    | (?P<blank>[ \t\r]+|\#[^\n]*)
    | (?P<string>\"{3}(?:\\.|(?!\"{3}).)*\"{3,5} | '{3}(?:(?!'{3}).)*'{3,5}
               | \"(?:\\.|[^\"\\])*\" | '[^']*')
    | (?P<mark>[][{}=,.])
    | (?P<bare>[^][{}=,.\s\#\"']+)
    """,
    re.VERBOSE | re.DOTALL,
)


class TomlError(ValueError):
    """The text is no TOML; *line* counts from 1."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


@dataclass(frozen=True, slots=True)
class Document:
    """The values of a TOML text, and the line of each key outside of arrays."""

    values: Mapping[str, Any]
    lines: Mapping[KeyPath, int]

    def line(self, path: KeyPath) -> int:
        """Return the line of the key *path*, or of the nearest table around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read(text: str) -> Document:
    """Return what *text* says and where it says it; raises ``TomlError`` for anything but TOML."""
    text = text.removeprefix("\ufeff")  # some editors still write a byte order mark
    try:
        values = tomllib.loads(text)
    except RecursionError:
        raise TomlError(1, "the values are nested too deeply") from None
    except ValueError as error:
        raise _understood(text, str(error)) from None
    return Document(values, _Walk().over(text))


def _understood(text: str, message: str) -> TomlError:
    """Return *message* of ``tomllib`` as an error with a line and, where one is known, a hint."""
    position = _POSITION.search(message)
    reason = message[: position.start()] if position else message
    reason = next(
        (f"{reason}: {hint}" for start, hint in _HINTS if reason.startswith(start)), reason
    )
    at_end = text.rstrip().count("\n") + 1
    line = int(position[1]) if position and position[1] else at_end
    return TomlError(min(line, at_end), f"not TOML: {reason[:1].lower()}{reason[1:]}")


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    """Yield the kind, text and line of each token of a valid TOML *text*."""
    line = 1
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if kind != "blank":
            yield kind, match[0], line
        line += match[0].count("\n")


class _Walk:
    """One walk over a valid TOML text; what it keeps is where it stands."""

    def __init__(self) -> None:
        self._lines: dict[KeyPath, int] = {}
        self._table: KeyPath = ()
        #: Brackets open in a value: an inline table by its path, an array by ``None``.
        self._open: list[KeyPath | None] = []
        self._parts: list[str] = []
        self._in_key = True

    def over(self, text: str) -> Mapping[KeyPath, int]:
        """Return the line of each key."""
        for kind, word, line in _tokens(text):
            if kind == "newline":
                if not self._open:
                    self._expect_key()
            elif self._in_key:
                self._key(kind, word, line)
            else:
                self._value(word)
        return self._lines

    def _expect_key(self) -> None:
        self._parts = []
        self._in_key = True

    def _key(self, kind: str, word: str, line: int) -> None:
        if kind != "mark":
            self._parts.append(tomllib.loads(f"k={word}")["k"] if kind == "string" else word)
        elif word == "[":
            self._table = ()
        elif word == "]":
            self._table = self._record(line)
            self._in_key = False
        elif word == "=":
            self._record(line)
            self._in_key = False
        elif word == "}":
            self._open.pop()
            self._in_key = False

    def _value(self, word: str) -> None:
        if word == "[":
            self._open.append(None)
        elif word == "{":
            self._enter()
        elif word in {"]", "}"} and self._open:
            self._open.pop()
        elif word == "," and self._open and self._open[-1] is not None:
            self._expect_key()

    def _enter(self) -> None:
        """Enter an inline table; the keys of one in an array are not recorded."""
        if self._open and self._open[-1] is None:
            self._open.append(None)
            return
        self._open.append(self._path())
        self._expect_key()

    def _record(self, line: int) -> KeyPath:
        path = self._path()
        for length in range(1, len(path) + 1):
            self._lines.setdefault(path[:length], line)
        return path

    def _path(self) -> KeyPath:
        around = self._open[-1] if self._open else self._table
        return (*(around or ()), *self._parts)
