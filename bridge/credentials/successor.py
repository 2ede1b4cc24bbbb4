"""Brings the successor of a token to disk so that a crash or a full disk loses as little as can be.

Room is made before the refresh token is spent: the temporary file exists, has its size and is on
disk by then, so a full or read-only disk is found out in time. Its name carries a digest of the
refresh token it succeeds; after a crash between writing and renaming, :func:`recover` recognises
it as the one true successor and finishes the job. Everything here blocks on the disk and is done
under the credential lock.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bridge.oauth.token import Token, stored

#: How much longer than its predecessor a token may be, in bytes, and still find its room made.
SPARE: Final = 8192


class Successor:
    """A temporary file beside *target* that will replace it."""

    def __init__(self, target: Path, predecessor: Token, descriptor: int, path: Path) -> None:
        self.predecessor = predecessor
        self._target = target
        self._descriptor = descriptor
        self._path = path

    @classmethod
    def reserve(cls, target: Path, predecessor: Token) -> Successor:
        """Make room for the successor of *predecessor*; raises ``OSError`` where there is none."""
        path = successor_path(target, predecessor)
        path.unlink(missing_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        successor = cls(target, predecessor, os.open(path, flags, 0o600), path)
        try:
            _fill(successor._descriptor, b" " * (len(_encoded(predecessor)) + SPARE))
            os.fsync(successor._descriptor)
        except OSError:
            successor.discard()
            raise
        return successor

    def write(self, token: Token) -> None:
        """Write *token* and wait until it is on disk."""
        data = _encoded(token)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        _fill(self._descriptor, data)
        os.ftruncate(self._descriptor, len(data))
        os.fchmod(self._descriptor, 0o600)
        os.fsync(self._descriptor)

    def install(self) -> None:
        """Take the target's place, atomically and durably."""
        _install(self._path, self._target)

    def discard(self) -> None:
        """Give the room back; harmless after :meth:`install`."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            self._path.unlink(missing_ok=True)


def successor_path(target: Path, predecessor: Token) -> Path:
    """Return where the successor of *predecessor* is written before it replaces *target*."""
    digest = hashlib.sha256(predecessor.refresh.encode()).hexdigest()[:16]
    return target.with_name(f".{target.name}.{digest}.tmp")


def recover(target: Path, current: Token | None) -> bool:
    """Clear away what crashes left beside *target*, which holds *current*; install its successor.

    Returns whether *current*'s refresh token may have been spent without a successor being
    written. Leftovers of any other token are of the past and removed. Raises ``OSError``.
    """
    suspect = False
    for path in _leftovers(target):
        if current is None or path != successor_path(target, current):
            path.unlink(missing_ok=True)
        elif _whole(path):
            _install(path, target)
        else:
            suspect = True
            path.unlink(missing_ok=True)
    return suspect


def _install(path: Path, target: Path) -> None:
    path.replace(target)
    # A rename is on disk only once its folder is; some file systems cannot sync a folder at all.
    with contextlib.suppress(OSError):
        descriptor = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _leftovers(target: Path) -> Iterator[Path]:
    return target.parent.glob(f".{target.name}.{'?' * 16}.tmp")


def _whole(path: Path) -> bool:
    """Say whether all of a leftover was written before the crash."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and stored(document) is not None


def _encoded(token: Token) -> bytes:
    return json.dumps(token.document()).encode()


def _fill(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
