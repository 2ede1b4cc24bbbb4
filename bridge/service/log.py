"""Writes the daemon's log: to a rotated file of its owner's alone, or to stderr for a manager.

What is logged is decided where it happens; this room only sees to it that a record never breaks a
line and that the file neither grows without end nor opens itself to others.
"""

from __future__ import annotations

import logging
import os
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

from bridge.errors import ServiceError

MAX_BYTES: Final = 5 * 1024 * 1024
BACKUPS: Final = 3
#: What is kept free for a line, in bytes; a longer one makes the file that much longer.
LONGEST_LINE: Final = 16 * 1024


class OneLine(logging.Formatter):
    """Formats a record as one line: a value with a line break in it cannot forge another record."""

    def __init__(self, layout: str) -> None:
        super().__init__(layout)
        self._second = (-1, "")

    def formatTime(self, record: logging.LogRecord, _: str | None = None) -> str:  # noqa: N802
        """Return the time of *record* to the millisecond; a second is put into words once."""
        second = int(record.created)
        if self._second[0] != second:
            self._second = (second, super().formatTime(record, "%Y-%m-%d %H:%M:%S"))
        return f"{self._second[1]},{int(record.msecs):03d}"

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line; a traceback keeps its lines, indented."""
        text = super().format(record)
        if text.isprintable():
            return text
        first, *rest = text.splitlines() or [""]
        if record.exc_info:
            return "\n    ".join([first, *rest])
        return "\\n".join([first, *rest])


class PrivateFileHandler(RotatingFileHandler):
    """A rotated log file that only its owner can read."""

    def shouldRollover(self, _: logging.LogRecord) -> bool:  # noqa: N802
        """Say whether the file is full, without asking the disk or formatting twice."""
        return self.stream is not None and self.stream.tell() > self.maxBytes - LONGEST_LINE

    def _open(self):  # type: ignore[no-untyped-def]  # noqa: ANN202 - the base class names its type privately
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.baseFilename, flags, 0o600)
        return os.fdopen(descriptor, "a", encoding="utf-8")


def to_stderr(level: str) -> None:
    """Log to stderr, for a foreground daemon: a service manager adds its own time."""
    handler = logging.StreamHandler(sys.stderr)
    stamp = "" if "JOURNAL_STREAM" in os.environ else "%(asctime)s "
    handler.setFormatter(OneLine(f"{stamp}%(levelname)s %(message)s"))
    _install(handler, level)


def to_file(path: Path, level: str) -> None:
    """Log to *path*, rotated. Raises ``ServiceError`` where that cannot be written."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handler = PrivateFileHandler(path, maxBytes=MAX_BYTES, backupCount=BACKUPS)
    except OSError as error:
        raise ServiceError(
            f"the log {path} cannot be written ({error.strerror}): mend that, then try again"
        ) from None
    handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(message)s"))
    _install(handler, level)


def set_level(level: str) -> None:
    """Change how much is logged, from now on."""
    logging.getLogger("bridge").setLevel(level.upper())


def _install(handler: logging.Handler, level: str) -> None:
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    set_level(level)
    # What no line of ours shows is not looked up for each record.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001 - the switch that the logging HOWTO names
    # A full disk must not turn into a traceback on a stderr that may not exist.
    logging.raiseExceptions = False
