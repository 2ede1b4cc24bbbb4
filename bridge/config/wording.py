"""Words a mistake: what was expected, the nearest right spelling, and no secret.

Pure. What is quoted is short and holds nothing that a terminal would obey.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from bridge.config.kinds import Mismatch
from bridge.config.schema import ANY, SYNONYMS, Key
from bridge.config.toml import KeyPath


def expectation(key: Key[object], raw: object, mismatch: Mismatch) -> str:
    """Word what *key* accepts and *raw* is not."""
    if mismatch.said:
        return mismatch.said
    near = get_close_matches(raw.lower(), key.kind.words, 1) if isinstance(raw, str) else []
    hint = mismatch.hint or (f"did you mean {near[0]}?" if near else "")
    shown = "" if key.kind.private else f", not {quoted(raw)}"
    return f"expected {key.kind.expected}{shown}" + (f" ({hint})" if hint else "")


def unknown(path: KeyPath, value: object, known: Iterable[KeyPath]) -> str:
    """Word the complaint of a key that is none of *known*, with the nearest right spelling."""
    known = list(known)
    what = "table" if isinstance(value, dict) else "key"
    depth, name = len(path) - 1, path[-1]
    siblings = sorted({other[depth] for other in known if other[:depth] == path[:-1]})
    near = get_close_matches(name, siblings, 1)
    if name in SYNONYMS and SYNONYMS[name].split()[0] in siblings:
        near = [SYNONYMS[name]]
    if not near:
        near = [_general(other) for other in known if other[-1] == name]
    if not near and ("providers", name) in {other[:2] for other in known}:
        near = [f"providers.{name}"]
    if near:
        return f"unknown {what} (did you mean {near[0]}?)"
    return f"unknown {what} (known: {', '.join(siblings)})"


def table_wanted(path: KeyPath, first: str) -> str:
    """Word the complaint of a key that must be a table, in which *first* may stand."""
    if path == ("providers",):
        return "expected a table: write [providers.NAME]"
    inline = f" or {path[-1]} = {{ {first} = … }}" if len(path) > 2 else ""
    return f"expected a table: write [{'.'.join(path)}]{inline}"


def nearest(name: str, names: Iterable[str]) -> str:
    """Return a question after the one of *names* that *name* is close to, or an empty string."""
    near = get_close_matches(name, list(names), 1)
    return f" (did you mean {near[0]}?)" if near else ""


def quoted(value: object) -> str:
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


def printable(text: str) -> str:
    """Return *text* without what a terminal might obey."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _general(path: KeyPath) -> str:
    return ".".join(("providers", ANY, *path[2:]) if path[0] == "providers" else path)
