"""Finds what is said of each key, in which place, and collects every mistake.

One reading goes over one document with what lies beneath it and what overrides it. It does not
stop at a mistake: it takes the default, goes on, and tells all of them at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from bridge.config.kinds import Mismatch
from bridge.config.schema import KEYS, Key
from bridge.config.toml import Document, KeyPath
from bridge.config.wording import expectation, nearest, printable, table_wanted, unknown
from bridge.errors import ConfigError

T = TypeVar("T")

DEFAULT: Final = "default"
BUILT_IN: Final = "built-in"

#: Variables of ours that are no keys of the configuration.
_OTHER_VARIABLES: Final = ("BRIDGE_CONFIG", "BRIDGE_LOOP", "BRIDGE_PID_FILE")
#: What is wrong outside of the file stands after what is wrong in it.
_LAST: Final = float("inf")


@dataclass(frozen=True, slots=True)
class Entry:
    """One value in force: *shown* is what a person may see of it, *origin* where it came from."""

    path: KeyPath
    shown: object
    origin: str


class Reading:
    """One reading of *document*, which messages call *file*, with *environment* and *options*.

    *keys* are all there may be. Ask for each with :meth:`value`, then :meth:`close`.
    """

    def __init__(
        self,
        document: Document,
        file: str,
        environment: Mapping[str, str],
        options: Mapping[str, object],
        keys: Iterable[Key[Any]],
    ) -> None:
        self._document = document
        self._file = file
        self._environment = environment
        self._options = options
        self._beneath: list[tuple[Mapping[str, Any], str]] = []
        self._complaints: set[tuple[float, str]] = set()
        self._wrong: set[KeyPath] = set()
        #: Every value that was asked for, by its key.
        self.entries: dict[KeyPath, Entry] = {}
        #: What was accepted and may not be meant.
        self.remarks: dict[str, None] = {}
        self._known = dict.fromkeys(key.path for key in keys)
        self._tables = {path[:length] for path in self._known for length in range(1, len(path))}
        self._refuse_unknown(document.values, ())

    def lay_beneath(self, values: Mapping[str, Any], label: str) -> None:
        """Let *values* hold where nothing else is said, and call their place *label*."""
        self._beneath.insert(0, (values, label))

    def value(self, key: Key[T]) -> T:
        """Return the value of *key*, or its default where what is said of it is wrong."""
        value, origin = key.default, DEFAULT
        for raw, place in self._said(key):
            try:
                value, origin = key.kind.read(raw), place
            except Mismatch as mismatch:
                self._complain(key.path, place, expectation(key, raw, mismatch))
                continue
            if remark := key.kind.remark(raw):
                self.remarks[f"{place}: {key.name}: {remark}"] = None
        self.entries[key.path] = Entry(key.path, key.kind.show(value), origin)
        return value

    def in_order(self) -> tuple[Entry, ...]:
        """Return every value that was asked for, in the order of the keys."""
        return tuple(self.entries[path] for path in self._known if path in self.entries)

    def origin(self, key: Key[Any]) -> str:
        """Return the place that the value of *key*, which was asked for, came from."""
        return self.entries[key.path].origin

    def ours(self, key: Key[Any]) -> bool:
        """Say whether nobody set *key*, which was asked for, so that it is as we made it."""
        return self.origin(key) in {DEFAULT, BUILT_IN}

    def refuse(self, key: Key[Any], what: str) -> None:
        """Complain of the value of *key*, which was asked for, at the place it came from."""
        place = self._place(key.path) if self.ours(key) else self.origin(key)
        self._complain(key.path, place, what)

    def miss(self, table: KeyPath, keys: Iterable[Key[Any]], what: str) -> bool:
        """Complain that *table* lacks all of *keys*, unless one was said and is wrong anyway.

        Return whether there was a complaint.
        """
        if self._wrong.intersection(key.path for key in keys):
            return False
        self.refuse_table(table, what)
        return True

    def refuse_table(self, path: KeyPath, what: str) -> None:
        """Complain of the table *path* of the file as a whole."""
        self._complain(path, self._place(path), what)

    def close(self) -> None:
        """Raise ``ConfigError`` if there was any mistake; its text has one line for each."""
        if self._complaints:
            raise ConfigError("\n".join(text for _, text in sorted(self._complaints)))

    def _said(self, key: Key[object]) -> Iterator[tuple[object, str]]:
        """Yield what is said of *key* with the place where it is said, the weakest first."""
        file = (self._document.values, self._place(key.path))
        for values, place in (*self._beneath, file):
            inner: object = values
            for name in key.path:
                inner = inner.get(name) if isinstance(inner, dict) else None
            if inner is not None:  # TOML has no null
                yield inner, place
        for variable in (key.variable, *key.variables):
            if text := self._environment.get(variable, ""):
                yield _from_text(text), f"env {variable}"
                break
        option = self._options.get(key.option)
        if option is not None:
            raw = _from_text(option) if isinstance(option, str) else option
            yield raw, f"option --{key.option.replace('_', '-')}"

    def _refuse_unknown(self, table: Mapping[str, Any], path: KeyPath) -> None:
        for name, value in table.items():
            inner = (*path, name)
            if inner in self._known:
                continue
            if inner not in self._tables:
                self.refuse_table(inner, unknown(inner, value, self._known))
            elif isinstance(value, dict):
                self._refuse_unknown(value, inner)
            else:
                below = (k[len(inner)] for k in self._known if k[: len(inner)] == inner)
                self.refuse_table(inner, table_wanted(inner, next(below)))

    def _place(self, path: KeyPath) -> str:
        return f"{self._file}:{self._document.line(path)}"

    def _complain(self, path: KeyPath, place: str, what: str) -> None:
        self._wrong.add(path)
        if place.startswith(("env ", "option ")):
            self._complaints.add((_LAST, f"{place.split(' ', 1)[1]}: {what}"))
        else:
            text = f"{place}: {printable('.'.join(path))}: {what}"
            self._complaints.add((self._document.line(path), text))


def unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a warning for each variable that looks like ours and means nothing."""
    known = [*(key.variable for key in KEYS if key.variable), *_OTHER_VARIABLES]
    for name in sorted(environment):
        if name.startswith("BRIDGE_") and name not in known:
            yield f"{name}: unknown variable{nearest(name, known)}"


def _from_text(text: str) -> object:
    """Return what TOML would have made of *text*: a number where it looks like one."""
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text
