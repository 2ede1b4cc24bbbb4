"""Reads the end of a rotated log and what comes after it, line by line; no line is lost or twice.

A log that is full is renamed (``bridge.log.1`` is younger than ``.2``) and begun anew. Its files
are told apart by the kernel's numbers, so that a place is found whatever its file is called now.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from io import FileIO
from itertools import count
from pathlib import Path
from typing import Final

#: What is read of a file at once.
PIECE: Final = 64 * 1024


class Tail:
    """The end of the log at *path*, and all that follows; lines are bytes, with their break."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _open(path)
        self._rest = b""

    def last(self, number: int) -> list[bytes]:
        """Return the last *number* lines, from older files where needed; call it first."""
        kept = deque(self._lines(self._file), number) if self._file is not None else deque()
        for path in _older(self._path):
            if len(kept) >= number or (file := _open(path)) is None:
                break
            with file:
                if self._file is None or not _same(file, self._file):  # renamed just now
                    lines = file.readall().splitlines(keepends=True)
                    kept.extendleft(reversed(lines[len(kept) - number :]))
        return list(kept)

    def more(self) -> Iterator[bytes]:
        """Yield the lines that have come since."""
        if self._file is None:
            self._file = _open(self._path)
        while (file := self._file) is not None:
            # Asked before the file is read: what has been renamed is written to no more.
            following = self._following(file)
            yield from self._lines(file)
            if following is None:
                return
            self.close()
            self._file = following

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
        self._file, self._rest = None, b""

    def _lines(self, file: FileIO) -> Iterator[bytes]:
        if os.fstat(file.fileno()).st_size < file.tell():  # emptied by hand
            file.seek(0)
            self._rest = b""
        while piece := file.read(PIECE):
            *whole, self._rest = (self._rest + piece).split(b"\n")
            yield from (line + b"\n" for line in whole)

    def _following(self, file: FileIO) -> FileIO | None:
        """Return the file that came after *file*, ``None`` while that is the youngest."""
        found: FileIO | None = None
        written_at = os.fstat(file.fileno()).st_mtime_ns
        for path in (self._path, *_older(self._path)):
            if (candidate := _open(path)) is None:
                continue
            if _same(candidate, file) or os.fstat(candidate.fileno()).st_mtime_ns < written_at:
                candidate.close()
                break
            if found is not None:
                found.close()
            found = candidate
        return found


def _older(path: Path) -> Iterator[Path]:
    """Yield the older files of the log at *path*, youngest first."""
    for number in count(1):
        older = path.with_name(f"{path.name}.{number}")
        if not older.exists():
            return
        yield older


def _open(path: Path) -> FileIO | None:
    try:
        return FileIO(path)
    except FileNotFoundError:
        return None


def _same(one: FileIO, other: FileIO) -> bool:
    return os.path.sameopenfile(one.fileno(), other.fileno())
