"""Writes values in force as the lines of a configuration file, each with where it came from.

Pure. What a secret was is hidden already in what it is handed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Final

from bridge.config.reading import DEFAULT, Entry

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_COMMENT_COLUMN: Final = 48


def lines(entries: Iterable[Entry]) -> Iterator[str]:
    """Yield the lines that say *entries*, table by table, with the origin of each as a comment.

    What nobody set is said of the general keys only: a row would be mostly that.
    """
    told = [entry for entry in entries if entry.origin != DEFAULT or entry.path[0] != "providers"]
    for index, (table, group) in enumerate(groupby(told, key=_table)):
        if index:
            yield ""
        yield f"[{_key(table)}]"
        for entry in group:
            name = _key(entry.path[len(table) :])
            if entry.shown is None:
                yield f"# {name} is not set"
            else:
                yield f"{f'{name} = {value(entry.shown)}':<{_COMMENT_COLUMN}} # {entry.origin}"


def value(shown: object) -> str:
    """Return *shown* as TOML writes it on one line."""
    if isinstance(shown, Mapping):
        pairs = [f"{_key((str(name),))} = {value(inner)}" for name, inner in shown.items()]
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
    if isinstance(shown, list | tuple):
        return f"[{', '.join(map(value, shown))}]"
    if isinstance(shown, str):
        # As JSON does; the one difference is a control character that no value may have.
        return json.dumps(shown, ensure_ascii=False).replace("\x7f", "\\u007F")
    if isinstance(shown, float) and shown.is_integer():
        return str(int(shown))
    return json.dumps(shown)


def _table(entry: Entry) -> tuple[str, ...]:
    return entry.path[: 2 if entry.path[0] == "providers" else 1]


def _key(path: Iterable[str]) -> str:
    return ".".join(part if _BARE.fullmatch(part) else value(part) for part in path)
