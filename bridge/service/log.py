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


class OneLine(logging.Formatter):
    """Formats a record as one line: a value with a line break in it cannot forge another record."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line; a traceback keeps its lines, indented."""
        text = super().format(record)
        first, *rest = text.splitlines() or [""]
        if record.exc_info:
            return "\n    ".join([first, *rest])
        return "\\n".join([first, *rest])


class PrivateFileHandler(RotatingFileHandler):
    """A rotated log file that only its owner can read."""

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
    # A full disk must not turn into a traceback on a stderr that may not exist.
    logging.raiseExceptions = False
