"""The verb that prints the daemon's log, or hands over to whoever keeps it."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NoReturn

from bridge.clock import SystemClock
from bridge.errors import ServiceError, UsageError
from bridge.service.pidfile import HELD, look
from bridge.service.record import FOREGROUND, SYSTEMD
from bridge.status.places import located
from bridge.status.tail import Tail
from bridge.units.label import SERVICE

Options = Mapping[str, object]

#: Seconds between two looks at a log that is followed.
RHYTHM_SECONDS: Final = 0.25
#: A daemon that writes a file writes it at its start; its PID file is a moment older or younger.
SLACK_SECONDS: Final = 5.0

_CLOCK = SystemClock()


def logs(options: Options, *, follow: bool, lines: int) -> int:
    """Print the last *lines* of the log, with *follow* also what comes after, until interrupted.

    Under systemd the log is the journal's, and ``journalctl`` takes over.
    """
    if lines < 0:
        raise UsageError(f"--lines {lines} is less than nothing: give 0 or more")
    places = located(options)
    path = Path(places.log)
    _look_elsewhere(places.pid_file, path, follow=follow, lines=lines)
    if not path.exists():
        if not follow:
            raise ServiceError(f"there is no log yet ({path}): start the daemon with: bridge")
        print(f"bridge: there is no log yet ({path}): waiting for it", file=sys.stderr)
    try:
        with contextlib.closing(Tail(path)) as tail, contextlib.suppress(KeyboardInterrupt):
            _print(tail.last(lines))
            while follow and _is_read():
                _print(tail.more())
                _CLOCK.pause(RHYTHM_SECONDS)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ServiceError(f"{path} cannot be read ({error.strerror}): mend that") from None
    return 0


def _look_elsewhere(pid_file: str, path: Path, *, follow: bool, lines: int) -> None:
    """Hand over to ``journalctl``, or say where the log is, if the daemon does not write *path*."""
    kind, record = look(pid_file)
    if kind != HELD or record is None:
        return
    if record.keeper == SYSTEMD:
        _journal(follow=follow, lines=lines)
    if record.keeper == FOREGROUND:
        where = "on the terminal or wherever its stderr goes"
    elif not _is_stale(Path(pid_file), path):
        return
    else:
        where = f"if systemd keeps it: {' '.join(_asking(follow=follow, lines=lines))}"
    print(f"bridge: pid {record.pid} does not write {path}: see {where}", file=sys.stderr)


def _journal(*, follow: bool, lines: int) -> NoReturn:
    words = _asking(follow=follow, lines=lines)
    if (program := shutil.which(words[0])) is None:
        raise ServiceError(f"the log is the journal's: read it with: {' '.join(words)}")
    sys.stdout.flush()
    os.execv(program, words)  # noqa: S606 - it takes the terminal, the pager and the exit code along


def _asking(*, follow: bool, lines: int) -> list[str]:
    wanted = ["-f"] if follow else []
    return ["journalctl", "--user", "-u", SERVICE, *wanted, "-n", str(lines)]


def _is_stale(pid_file: Path, path: Path) -> bool:
    """Say whether the log was last written before the daemon came."""
    try:
        return path.stat().st_mtime < pid_file.stat().st_mtime - SLACK_SECONDS
    except OSError:
        return False


def _print(lines: Iterable[bytes]) -> None:
    for line in lines:
        sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


def _is_read() -> bool:
    """Say whether somebody still reads what is printed; a quiet log would never tell."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return not poll.poll(0)
