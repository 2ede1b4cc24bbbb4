"""Reads small files whole: neither a pipe nor a device nor a giant keeps anybody waiting."""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

#: Bytes; nobody writes a configuration of that size by hand.
LARGEST: Final = 1024 * 1024


def read(path: str | os.PathLike[str], limit: int = LARGEST) -> bytes:
    """Return what the file at *path* holds; links are followed.

    Raises ``OSError``, also for what is no regular file and for one of more than *limit* bytes.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", os.fspath(path))
        if status.st_size > limit:
            raise OSError(errno.EFBIG, "it is too large", os.fspath(path))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(limit)
    finally:
        os.close(descriptor)
