"""Reads small files that are somebody else's, and asks the system about files and disks.

Nothing here waits or follows what is no regular file: a FIFO in a file's place must not keep a
doctor waiting.
"""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path
from typing import Final

from bridge.doctor.judging.disk import Item, Room
from bridge.doctor.judging.document import File

#: Bytes; no settings file that a person wrote comes near this.
LIMIT: Final = 2 * 1024 * 1024


def settings_file(path: Path) -> File:
    """Return the settings file at *path*, or why it cannot be read."""
    shown = str(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return File(shown)
    except OSError as error:
        return File(shown, problem=error.strerror or "it cannot be opened")
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return File(shown, problem="it is no file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(LIMIT + 1)
    except OSError as error:
        return File(shown, problem=error.strerror or "it cannot be read")
    finally:
        os.close(descriptor)
    if len(content) > LIMIT:
        return File(shown, problem="it is too large")
    return File(shown, content.decode("utf-8-sig", "replace"))


def item(role: str, path: str, home: str, *, private: bool = False, steering: bool = False) -> Item:
    """Return how *path* stands, which is *role*; where there is none, how its folder stands.

    Whose it is counts for files, and for folders in *home*: above that they may be anybody's.
    """
    there = nearest(Path(path))
    status = there.stat()
    exists = there == Path(path)
    return Item(
        role=role,
        path=str(there),
        writable=os.access(there, os.W_OK),
        mode=stat.S_IMODE(status.st_mode),
        owner=user(status.st_uid) if _is_foreign(there, status, Path(home)) else "",
        private=private and exists,
        steering=steering and exists,
    )


def nearest(path: Path) -> Path:
    """Return *path*, or the nearest folder above it that exists."""
    return next(each for each in (path, *path.parents) if _exists(each))


def room(path: str) -> Room | None:
    """Return how much room is left where *path* is or will be, ``None`` where nobody can tell."""
    there = nearest(Path(path))
    try:
        status = os.statvfs(there)
    except OSError:
        return None
    return Room(str(there), status.f_bavail * status.f_frsize)


def newest(paths: list[Path]) -> float:
    """Return when the youngest of *paths* was written, 0 where none exists."""
    times = [path.stat().st_mtime for path in paths if _exists(path)]
    return max(times, default=0.0)


def user(uid: int) -> str:
    """Return the name of the user *uid*."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _is_foreign(path: Path, status: os.stat_result, home: Path) -> bool:
    if status.st_uid == os.geteuid():
        return False
    return not stat.S_ISDIR(status.st_mode) or path == home or home in path.parents
