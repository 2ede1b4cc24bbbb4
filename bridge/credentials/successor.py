"""Brings the successor of a token to disk so that a crash or a full disk loses as little as can be.

Room is made before the refresh token is spent: the temporary file exists, has its size and is on
disk by then, so a full or read-only disk is found out in time. Its name carries a digest of the
refresh token it succeeds. What a crash leaves therefore speaks: written, it is the one true
successor, and :func:`recover` finishes the job; empty, it says that the token may be spent.
Everything here blocks on the disk and is done under the credential lock.
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
            # White space is no JSON by itself and harmless behind it, wherever a crash cuts.
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

    def install(self) -> os.stat_result:
        """Take the target's place, atomically and durably, and return its status from now on."""
        _install(self._path, self._target)
        return os.fstat(self._descriptor)

    def close(self) -> None:
        """Let go of the file and leave it where it is, for :func:`recover`; harmless twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def discard(self) -> None:
        """Give the room back, as nothing was spent or nobody needs it; harmless when closed."""
        if self._descriptor >= 0:
            self.close()
            # A disk that refuses even this has nothing to say that the caller does not know.
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)


def successor_path(target: Path, predecessor: Token) -> Path:
    """Return where the successor of *predecessor* is written before it replaces *target*."""
    digest = hashlib.sha256(predecessor.refresh.encode(errors="surrogatepass")).hexdigest()[:16]
    return target.with_name(f".{target.name}.{digest}.tmp")


def leftovers(target: Path) -> Iterator[Path]:
    """Yield what is being written beside *target*, or was when a process died."""
    return target.parent.glob(f".{target.name}.{'?' * 16}.tmp")


def recover(target: Path, current: Token | None) -> bool:
    """Clear away what crashes left beside *target*, which holds *current*; install its successor.

    Returns whether *current*'s refresh token may have been spent without a successor being
    written; what says so stays until room is made anew. Leftovers of any other token are of the
    past and removed. Raises ``OSError``.
    """
    suspect = False
    for path in leftovers(target):
        if current is None or path != successor_path(target, current):
            path.unlink(missing_ok=True)
        elif (written := _written(path)) is None:
            suspect = True
        elif written.refresh != current.refresh or written.expires_at > current.expires_at:
            _install(path, target)
        else:
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


def _written(path: Path) -> Token | None:
    """Return what a leftover holds, if all of it was written before the crash."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return stored(document) if isinstance(document, dict) else None


def _encoded(token: Token) -> bytes:
    return json.dumps(token.document()).encode()


def _fill(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
