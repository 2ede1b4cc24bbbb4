"""Writes the daemon's log: to a rotated file of its owner's alone, or to stderr for a manager.

What is logged is decided where it happens; this room only sees to it that a record never breaks a
line and that the file neither grows without end nor opens itself to others. What is logged in one
turn of the event loop goes out together when that turn is over, so that no answer waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import stat
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Final, TextIO

from bridge.clock import SystemClock
from bridge.errors import ServiceError

MAX_BYTES: Final = 5 * 1024 * 1024
BACKUPS: Final = 3
#: How long the line of a request may wait for others: writing each alone would cost more than what
#: it tells of. Whatever else is logged takes it along at once.
MOMENT_SECONDS: Final = 0.05

#: What the journal calls our levels.
PRIORITIES: Final = {
    "CRITICAL": "<2>",
    "ERROR": "<3>",
    "WARNING": "<4>",
    "INFO": "<6>",
    "DEBUG": "<7>",
}

_CLOCK: Final = SystemClock()

log = logging.getLogger("bridge")


class OneLine(logging.Formatter):
    """Formats a record as one line: a value with a line break in it cannot forge another record.

    A line begins with its time, or for the *journal*, which has its own, with its priority as
    sd-daemon(3) has it.
    """

    def __init__(self, *, journal: bool = False) -> None:
        super().__init__()
        self._is_for_journal = journal
        self._second = (-1, "")

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line; a traceback keeps its lines, indented."""
        text = self.line(record.created, record.levelname, record.getMessage())
        if record.exc_info:
            trace = self.formatException(record.exc_info).splitlines()
            # To the journal each line is an entry, and one without a priority is none of ours.
            prefix = self._priority(record.levelname) if self._is_for_journal else ""
            return f"\n{prefix}    ".join([text, *trace])
        return text

    def line(self, moment: float, level: str, message: str) -> str:
        """Return *message*, of *moment* (seconds since the epoch) and *level*, as one line."""
        if not message.isprintable():
            message = "\\n".join(message.splitlines())
        if self._is_for_journal:
            return f"{self._priority(level)}{level} {message}"
        second = int(moment)
        if self._second[0] != second:  # put into words once
            record = logging.LogRecord("", 0, "", 0, "", (), None)
            record.created = second
            self._second = (second, self.formatTime(record, "%Y-%m-%d %H:%M:%S"))
        return f"{self._second[1]},{int((moment - second) * 1000):03d} {level} {message}"

    @staticmethod
    def _priority(level: str) -> str:
        return PRIORITIES.get(level, "<5>")


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

    _is_closed = False

    def close(self) -> None:
        """Close the file for good."""
        self._is_closed = True
        super().close()

    def _open(self) -> Any:  # noqa: ANN401 - the base class names its type privately
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        # A pipe that nobody reads would keep us waiting, and a second name is another file's.
        descriptor = os.open(self.baseFilename, flags | os.O_NONBLOCK, 0o600)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            os.close(descriptor)
            raise OSError(errno.EINVAL, "it is not a file of its own", self.baseFilename)
        return os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace")

    def room_for(self, size: int) -> TextIO:
        """Return the file to write *size* bytes to, a new one where the old is full."""
        if self._is_closed:
            raise ValueError("the log is closed")
        if self.stream is None:  # the page was turned, and no new one was to be had at that moment
            self.stream = self._open()
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
    """Log to stderr, for a foreground daemon, in the journal's form where that reads it."""
    journal = _is_journal(sys.stderr, os.environ.get("JOURNAL_STREAM", ""))
    _install(TurnHandler(sys.stderr, OneLine(journal=journal)), level)


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


def _is_journal(stream: TextIO, journal: str) -> bool:
    """Return whether *stream* leads to the *journal*, which is named by device and inode.

    The name alone is no proof: what is redirected to a file has inherited it.
    """
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError, AttributeError):  # closed, or no file at all
        return False
    return journal == f"{status.st_dev}:{status.st_ino}"


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
