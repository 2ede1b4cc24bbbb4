"""Finds what is said of each key, and words every mistake with its place and the way out.

One reading goes over one document with its overrides. It does not stop at a mistake: it takes the
default, goes on, and tells all of them at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final, TypeVar

from bridge.config.schema import KEYS, Key, Mismatch
from bridge.config.toml import Document, KeyPath
from bridge.errors import ConfigError

T = TypeVar("T")

#: Variables of ours that name files and are no keys of the configuration.
_FILE_VARIABLES: Final = ("BRIDGE_CONFIG", "BRIDGE_LOOP", "BRIDGE_PID_FILE")
_NAMES: Final = {key.path: key.name for key in KEYS}
_TABLES: Final = {key.path[:length] for key in KEYS for length in range(1, len(key.path))}
#: What is wrong outside of the file stands after what is wrong in it.
_LAST: Final = float("inf")


class Reading:
    """One reading of *document*, which messages call *file*, with *environment* and *options*.

    Ask for every key with :meth:`value`, then :meth:`close`.
    """

    def __init__(
        self,
        document: Document,
        file: str,
        environment: Mapping[str, str],
        options: Mapping[str, object],
    ) -> None:
        self._document = document
        self._file = file
        self._environment = environment
        self._options = options
        self._complaints: list[tuple[float, str]] = []
        #: The place that the value of each key came from.
        self.origins: dict[str, str] = {}
        self._refuse_unknown(document.values, ())

    def value(self, key: Key[T]) -> T:
        """Return the value of *key*, or its default where what is said of it is wrong."""
        value, self.origins[key.name] = key.default, "default"
        for raw, origin in self._layers(key):
            try:
                value, self.origins[key.name] = key.kind.read(raw), origin
            except Mismatch as mismatch:
                self._complain(key.path, origin, _expectation(key, raw, mismatch.hint))
        return value

    def clash(self, one: Key[Any], other: Key[Any], what: str) -> None:
        """Complain that the values of two keys do not go together, at one that somebody set."""
        key = one if self.origins[one.name] != "default" else other
        self._complain(key.path, self.origins[key.name], what)

    def close(self) -> None:
        """Raise ``ConfigError`` if there was any mistake; its text has one line for each."""
        if self._complaints:
            raise ConfigError("\n".join(text for _, text in sorted(self._complaints)))

    def _layers(self, key: Key[object]) -> Iterator[tuple[object, str]]:
        """Yield what is said of *key* with the place where it is said, the weakest first."""
        inner: object = self._document.values
        for name in key.path:
            inner = inner.get(name) if isinstance(inner, dict) else None
        if inner is not None:  # TOML has no null
            yield inner, self._place(key.path)
        text = self._environment.get(key.variable)
        if text:
            yield _from_text(text), f"env {key.variable}"
        option = self._options.get(key.option)
        if option is not None:
            raw = _from_text(option) if isinstance(option, str) else option
            yield raw, f"option --{key.option.replace('_', '-')}"

    def _refuse_unknown(self, table: Mapping[str, Any], path: KeyPath) -> None:
        for name, value in table.items():
            inner = (*path, name)
            if inner in _NAMES:
                continue
            if inner not in _TABLES:
                what = "table" if isinstance(value, dict) else "key"
                self._complain(inner, self._place(inner), _unknown(inner, what))
            elif isinstance(value, dict):
                self._refuse_unknown(value, inner)
            else:
                text = f"expected a table: write [{'.'.join(inner)}]"
                self._complain(inner, self._place(inner), text)

    def _place(self, path: KeyPath) -> str:
        return f"{self._file}:{self._document.line(path)}"

    def _complain(self, path: KeyPath, origin: str, what: str) -> None:
        if origin.startswith(("env ", "option ")):
            self._complaints.append((_LAST, f"{origin.split(' ', 1)[1]}: {what}"))
        else:
            text = f"{origin}: {_printable('.'.join(path))}: {what}"
            self._complaints.append((self._document.line(path), text))


def unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a warning for each variable that looks like ours and means nothing."""
    known = [*(key.variable for key in KEYS if key.variable), *_FILE_VARIABLES]
    for name in sorted(environment):
        if name.startswith("BRIDGE_") and name not in known:
            near = get_close_matches(name, known, 1)
            yield f"{name}: unknown variable" + (f" (did you mean {near[0]}?)" if near else "")


def _unknown(path: KeyPath, what: str) -> str:
    """Word the complaint of an unknown key, with the nearest right spelling or all there are."""
    depth = len(path) - 1
    siblings = sorted({known[depth] for known in _NAMES if known[:depth] == path[:-1]})
    if path[:-1] == ("providers",):
        what = "provider"
    near = get_close_matches(path[-1], siblings, 1)
    near += [name for known, name in _NAMES.items() if known[-1] == path[-1]]
    if near:
        return f"unknown {what} (did you mean {near[0]}?)"
    return f"unknown {what} (known: {', '.join(siblings)})"


def _expectation(key: Key[object], raw: object, hint: str) -> str:
    """Word what *key* accepts and *raw* is not."""
    near = get_close_matches(raw.lower(), key.kind.words, 1) if isinstance(raw, str) else []
    hint = hint or (f"did you mean {near[0]}?" if near else "")
    shown = "" if key.private else f", not {_shown(raw)}"
    return f"expected {key.kind.expected}{shown}" + (f" ({hint})" if hint else "")


def _from_text(text: str) -> object:
    """Return what TOML would have made of *text*: a number where it looks like one."""
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def _shown(value: object) -> str:
    """Return *value* in the words of TOML, short."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return "a number that large" if abs(value) >= 1e15 else str(value)
    if isinstance(value, str):
        return repr(value[:40])
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "a table"
    return "a date or time"


def _printable(text: str) -> str:
    """Return *text* without what a terminal might obey."""
    return "".join(character if character.isprintable() else "?" for character in text)
