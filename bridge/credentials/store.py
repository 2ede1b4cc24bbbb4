"""Reads, locks and atomically replaces the credential file shared with the official CLI.

The file belongs to several processes: it is read often, locked briefly (``flock`` on the file
beside it, the very lock that the official CLI takes), replaced atomically, never written in place,
and never removed but by a logout. The room knows nothing of servers or freshness.

How a new token gets to disk, and what a crash in between leaves, is ``credentials.successor``.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from filelock import FileLock, Timeout

from bridge.clock import Clock
from bridge.credentials.ownership import LIMIT, check_file, make_folder
from bridge.credentials.successor import Successor, leftovers, recover
from bridge.errors import CredentialBusy, CredentialUnreadable
from bridge.oauth.token import Token, stored

#: Seconds between two tries for the lock; the official CLI tries each one to two seconds, so we
#: must not starve it, and we hold the lock for one exchange only.
LOCK_POLL_SECONDS: Final = 0.1
#: The official CLI may hold the lock for three tries of two minutes each.
LOCK_PATIENCE_SECONDS: Final = 400.0


class Identity(NamedTuple):
    """What tells one version of the file from the next, without reading it."""

    device: int
    inode: int
    mtime_ns: int
    size: int


@dataclass(frozen=True, slots=True)
class Credential:
    """A token and the version of the file that holds it."""

    token: Token
    identity: Identity | None


class Store:
    """The credential file at *path*, its lock beside it.

    One instance serves one event loop; other processes are kept out by the lock, other tasks by
    holding it for one refresh at a time (the token source sees to that).
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self._name = str(path)
        self.lock_path = path.with_suffix(".lock")
        self._clock = clock

    def identity(self) -> Identity | None:
        """Return the version of the file now, or ``None`` where there is no file: one ``stat``."""
        try:
            return _identity(os.stat(self._name))  # noqa: PTH116 - once a request: pathlib is slow
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._unreadable(error) from None

    def read(self) -> Credential | None:
        """Return what the file holds, or ``None`` for "not logged in" (no file, or a tombstone).

        Raises ``CredentialUnreadable`` where it is corrupt, foreign or not a file.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._unreadable(error) from None
        try:
            status = os.fstat(descriptor)
            check_file(self.path, status)
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                document = json.loads(file.read(LIMIT))
        except (ValueError, RecursionError):
            document = None
        except OSError as error:
            raise self._unreadable(error) from None
        finally:
            os.close(descriptor)
        if not isinstance(document, dict):
            raise CredentialUnreadable(
                f"{self.path} is corrupt (no JSON object): restore it, or run: bridge login"
            )
        token = stored(document)
        return Credential(token, _identity(status)) if token else None

    @contextlib.asynccontextmanager
    async def lock(
        self,
        patience: float = LOCK_PATIENCE_SECONDS,
        enough: Callable[[], bool] = lambda: False,
    ) -> AsyncIterator[bool]:
        """Hold the lock that the official CLI takes, for the length of the block.

        Waits up to *patience* seconds, then raises ``CredentialBusy``. Before each try it asks
        *enough*, and yields ``False`` without the lock when that says waiting is pointless (the
        neighbour has just done what we wanted the lock for). Cancelling while waiting is safe.
        """
        self._make_folder()
        deadline = self._clock.monotonic() + patience
        while not enough():
            if (held := self._try_lock()) is not None:
                try:
                    yield True
                finally:
                    held.release()
                return
            if self._clock.monotonic() >= deadline:
                raise CredentialBusy(
                    f"another process has held {self.lock_path} for {patience:.0f} s: "
                    "see which kimi process hangs, then try again"
                )
            await self._clock.sleep(LOCK_POLL_SECONDS)
        yield False

    def reserve(self, predecessor: Token) -> Successor:
        """Make room on disk for the successor of *predecessor*; call it under the lock.

        Blocks on the disk. Raises ``CredentialUnreadable`` when there is no room or no right to
        write: nothing has been spent then.
        """
        try:
            return Successor.reserve(self.path, predecessor)
        except OSError as error:
            raise self._unwritable(error) from None

    def commit(self, successor: Successor, token: Token) -> Credential | None:
        """Put *token* in the place of its predecessor and return what the file holds now.

        The file is looked at once more right before the replace: where it is gone (somebody
        logged out) nothing is written and the answer is ``None``; where it holds another login,
        that one stays and is returned. Blocks on the disk. Raises ``OSError`` when the disk
        refuses and ``CredentialUnreadable`` when the file has been spoilt meanwhile; what could be
        written of *token* then stays beside the file, for :meth:`recover`.
        """
        try:
            successor.write(token)
            current = self.read()
            if current is None or current.token.refresh != successor.predecessor.refresh:
                successor.discard()
                return current
            status = successor.install()
        finally:
            successor.close()
        return Credential(token, _identity(status))

    def recover(self) -> bool:
        """Finish a replace that a crash cut short; call it under the lock before a refresh.

        Returns whether the refresh token now in the file may have been spent without a successor
        being written. Raises ``CredentialUnreadable``.
        """
        current = self.read()
        try:
            return recover(self.path, current.token if current else None)
        except OSError as error:
            raise self._unwritable(error) from None

    def interrupted(self) -> bool:
        """Say whether a replace was cut short, so that :meth:`recover` has something to do."""
        return any(leftovers(self.path))

    def replace(self, token: Token) -> Credential:
        """Write *token* whatever the file holds: a new login. Call it under the lock.

        Raises ``CredentialUnreadable`` when the disk refuses.
        """
        successor = self.reserve(token)
        try:
            successor.write(token)
            status = successor.install()
        except OSError as error:
            raise self._unwritable(error) from None
        finally:
            successor.discard()
        return Credential(token, _identity(status))

    def remove(self) -> bool:
        """Forget the login; call it under the lock. Returns whether there was one."""
        try:
            recover(self.path, None)
            self.path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._unwritable(error) from None
        return True

    def check_writable(self) -> None:
        """Raise ``CredentialUnreadable`` where a login could not be stored afterwards.

        Blocks on the disk: only making room tells a disk that is full from one that is not.
        """
        self._make_folder()
        if (held := self._try_lock()) is not None:
            held.release()
        self.reserve(Token("", uuid.uuid4().hex, 0, 0)).discard()

    def _try_lock(self) -> FileLock | None:
        # A new object for each acquisition: a shared one is re-entrant and would let two tasks in.
        # The soft fallback would silently be another lock than the neighbour's.
        lock = FileLock(self.lock_path, timeout=0, mode=0o600, fallback_to_soft=False)
        try:
            lock.acquire()
        except Timeout:
            return None
        except (OSError, NotImplementedError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise CredentialUnreadable(
                f"{self.lock_path} cannot be locked ({reason}): mend that, then try again"
            ) from None
        return lock

    def _make_folder(self) -> None:
        try:
            make_folder(self.path.parent)
        except OSError as error:
            raise self._unwritable(error) from None

    def _unreadable(self, error: OSError) -> CredentialUnreadable:
        return CredentialUnreadable(
            f"{self.path} cannot be read ({error.strerror}): make it readable, or run: bridge login"
        )

    def _unwritable(self, error: OSError) -> CredentialUnreadable:
        return CredentialUnreadable(
            f"{self.path} cannot be written ({error.strerror}): "
            "make room or make it writable, then try again"
        )


def _identity(status: os.stat_result) -> Identity:
    return Identity(status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
