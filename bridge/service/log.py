"""Writes the daemon's log: to a rotated file of its owner's alone, or to stderr for a manager.

What is logged is decided where it happens; this room only sees to it that a record never breaks a
line and that the file neither grows without end nor opens itself to others. What is logged in one
turn of the event loop goes out together when that turn is over, so that no answer waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final, TextIO

from bridge.clock import SystemClock
from bridge.errors import ServiceError

MAX_BYTES: Final = 5 * 1024 * 1024
BACKUPS: Final = 3
#: How long the line of a request may wait for others: writing each alone would cost more than what
#: it tells of. Whatever else is logged takes it along at once.
MOMENT_SECONDS: Final = 0.05

_CLOCK: Final = SystemClock()

log = logging.getLogger("bridge")


class OneLine(logging.Formatter):
    """Formats a record as one line: a value with a line break in it cannot forge another record.

    *stamped* lines begin with their time.
    """

    def __init__(self, *, stamped: bool = True) -> None:
        super().__init__()
        self._is_stamped = stamped
        self._second = (-1, "")

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line; a traceback keeps its lines, indented."""
        text = self.line(record.created, record.levelname, record.getMessage())
        if record.exc_info:
            trace = self.formatException(record.exc_info).splitlines()
            return "\n    ".join([text, *trace])
        return text

    def line(self, moment: float, level: str, message: str) -> str:
        """Return *message*, of *moment* (seconds since the epoch) and *level*, as one line."""
        if not message.isprintable():
            message = "\\n".join(message.splitlines())
        if not self._is_stamped:
            return f"{level} {message}"
        second = int(moment)
        if self._second[0] != second:  # put into words once
            record = logging.LogRecord("", 0, "", 0, "", (), None)
            record.created = second
            self._second = (second, self.formatTime(record, "%Y-%m-%d %H:%M:%S"))
        return f"{self._second[1]},{int((moment - second) * 1000):03d} {level} {message}"


class TurnHandler(logging.StreamHandler[TextIO]):
    """Writes to a stream what is logged in one turn of the event loop, when that turn is over.

    Outside of an event loop each goes out at once. A full disk costs lines and nothing else.
    """

    def __init__(self, stream: TextIO, formatter: OneLine) -> None:
        super().__init__(stream)
        self._lines: list[str] = []
        self._is_due = False
        self._formatter = formatter

    def emit(self, record: logging.LogRecord) -> None:
        """Put *record* down, to be written soon."""
        self._lines.append(self._formatter.format(record))
        if not self._is_due:
            try:
                asyncio.get_running_loop().call_soon(self.flush)
            except RuntimeError:
                self.flush()
            else:
                self._is_due = True

    def info(self, message: str) -> None:
        """Put *message* down, to be written with others in a moment."""
        self._lines.append(self._formatter.line(_CLOCK.now(), "INFO", message))
        if len(self._lines) == 1:
            asyncio.get_running_loop().call_later(MOMENT_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what has been put down."""
        self._is_due = False
        lines, self._lines = self._lines, []
        if lines:
            with contextlib.suppress(OSError, ValueError):
                self.write("\n".join([*lines, ""]))

    def write(self, text: str) -> None:
        """Write *text*, which is whole lines."""
        self.stream.write(text)
        self.stream.flush()


class PrivateFile(RotatingFileHandler):
    """A rotated log file that only its owner can read."""

    def _open(self):  # type: ignore[no-untyped-def]  # noqa: ANN202 - the base class names its type privately
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.baseFilename, flags, 0o600)
        return os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace")

    def room_for(self, size: int) -> TextIO:
        """Return the file to write *size* bytes to, a new one where the old is full."""
        if self.stream is None:
            raise ValueError("the log is closed")
        if self.stream.tell() + size > self.maxBytes:
            self.doRollover()
        return self.stream


class FileHandler(TurnHandler):
    """Writes to *file* as turns end."""

    def __init__(self, file: PrivateFile, formatter: OneLine) -> None:
        super().__init__(file.room_for(0), formatter)
        self._file = file

    def write(self, text: str) -> None:
        """Write *text*, into a new file when this one is full."""
        stream = self._file.room_for(len(text))
        stream.write(text)
        stream.flush()

    def close(self) -> None:
        """Write what has been put down and close the file."""
        self.flush()
        self._file.close()
        super().close()


def to_stderr(level: str) -> None:
    """Log to stderr, for a foreground daemon: a service manager adds its own time."""
    formatter = OneLine(stamped="JOURNAL_STREAM" not in os.environ)
    _install(TurnHandler(sys.stderr, formatter), level)


def to_file(path: Path, level: str) -> None:
    """Log to *path*, rotated. Raises ``ServiceError`` where that cannot be written."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = PrivateFile(path, maxBytes=MAX_BYTES, backupCount=BACKUPS)
    except OSError as error:
        raise ServiceError(
            f"the log {path} cannot be written ({error.strerror}): mend that, then try again"
        ) from None
    _install(FileHandler(file, OneLine()), level)


def set_level(level: str) -> None:
    """Change how much is logged, from now on."""
    log.setLevel(level.upper())


def info(message: str) -> None:
    """Log *message* as ``log.info`` does, in half the time: there is one for each request."""
    if log.isEnabledFor(logging.INFO):
        handlers = logging.getLogger().handlers
        if len(handlers) == 1 and isinstance(handlers[0], TurnHandler):
            handlers[0].info(message)
        else:
            log.info(message)


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
