"""Keeps the caller key: what a client shows where the kernel cannot say whose socket it is.

The key is made once, at the first start, readable by its owner alone, and stays the same after
that, because the settings of agents may hold it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from pathlib import Path

from bridge.errors import ServiceError

PREFIX = "bridge-"


def caller_key(path: Path) -> str:
    """Return the key in *path*, making file and folder where there are none.

    Raises ``ServiceError`` where the file is foreign, readable by others, or cannot be made.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make(path)
        return _read(path)
    except OSError as error:
        raise ServiceError(
            f"the caller key {path} cannot be used ({error.strerror}): mend that, then try again"
        ) from None


def _make(path: Path) -> None:
    # Of starts at once, each must end up with the key that is in the file: one after another. The
    # key is written beside and moved into place, so that nobody ever reads half of one.
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if path.exists() and path.stat().st_size:
            return
        draft = path.with_name(f".{path.name}.draft")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(PREFIX + secrets.token_urlsafe(32) + "\n")
        draft.replace(path)
    finally:
        os.close(folder)


def _read(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "r", encoding="ascii", errors="replace") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise ServiceError(
                f"the caller key {path} is not a file of yours: remove it, and the next start "
                "makes a new one"
            )
        if status.st_mode & 0o077:
            raise ServiceError(
                f"the caller key {path} can be read by others: chmod 600 it, or remove it, and "
                "the next start makes a new one"
            )
        key = file.read(4096).strip()
    if len(key) < 16 or not key.isascii() or not key.isprintable():
        raise ServiceError(
            f"the caller key {path} is too short or no text: remove it, and the next start makes "
            "a new one"
        )
    return key
