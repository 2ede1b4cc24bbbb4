"""Writes down, durably, what happens to refresh tokens, so that after a crash nobody has to guess.

The file holds digests and times and never a token, and is written only under the credential's
lock. It serves words and restraint; where it cannot be written the refresh goes on all the same,
for a login is worth more than the memory of it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from pathlib import Path
from typing import Final

from bridge.clock import Clock
from bridge.credentials.chronicle import NEVER, Chronicle, Outcome, decoded, digest
from bridge.credentials.forecast import refreshed_at
from bridge.credentials.ownership import make_folder
from bridge.errors import CredentialUnreadable
from bridge.oauth.token import Token

log = logging.getLogger("bridge")

#: Bytes; twenty entries are five thousand.
LIMIT: Final = 65536


class Journal:
    """The journal in the file *path*; every method but :meth:`suspects` blocks on the disk.

    *chronicle* is what it says, as of the last look. *complete* is false once something could not
    be read or written, so that what it does not say may have happened all the same.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self.chronicle = Chronicle()
        self.complete = True
        self._path = path
        self._clock = clock
        self._unwritten = False
        self._complaint = ""

    def look(self) -> None:
        """Read what is there and change nothing; for who does not hold the lock."""
        found = self._read()
        if found is not None and not self._unwritten:
            self.chronicle, _ = decoded(found)

    def resume(self, token: Token | None) -> None:
        """Take stock with the lock held: what is under way there was cut short.

        A *token* that nobody here has seen was got by somebody else, or by a login.
        """
        self._take_in()
        now = self._now()
        chronicle = self.chronicle.settled(now)
        if token is not None and token.refresh and not chronicle.knows(digest(token.refresh)):
            chronicle = chronicle.adopted(digest(token.refresh), refreshed_at(token) or now)
        if chronicle != self.chronicle:
            self._write(chronicle)

    def begun(self, token: Token) -> None:
        """Note that *token*'s refresh token is about to be spent."""
        self._write(self.chronicle.begun(digest(token.refresh), self._now()))

    def ended(self, token: Token, outcome: Outcome, successor: Token | None = None) -> None:
        """Note what became of the refresh of *token*."""
        new = digest(successor.refresh) if successor else ""
        chronicle = self.chronicle.ended(digest(token.refresh), outcome, self._now(), new)
        self._write(chronicle)

    def cut_short(self, token: Token, left: Path) -> None:
        """Note a refresh of *token* that nobody noted and that *left* a file."""
        begun_at = self._now()
        with contextlib.suppress(OSError):
            begun_at = left.stat().st_mtime
        token_digest = digest(token.refresh)
        self._write(self.chronicle.begun(token_digest, begun_at).settled(self._now()))

    def suspects(self, token: Token) -> bool:
        """Say whether *token*'s refresh token may have been spent here."""
        return self.chronicle.suspicion(digest(token.refresh)) is not None

    def _now(self) -> float:
        """Return the time, as far as it can be written: clocks were seen before the epoch."""
        return min(max(self._clock.now(), 1.0), NEVER - 1)

    def _take_in(self) -> None:
        found = self._read()
        chronicle, whole = decoded(found or b"")
        if found is None or not whole:
            self._set_aside()
        if not self._unwritten:
            self.chronicle = chronicle

    def _read(self) -> bytes | None:
        """Return the content, empty where there is none; ``None`` for what cannot be a journal."""
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
        try:
            descriptor = os.open(self._path, flags)
        except (FileNotFoundError, NotADirectoryError):
            return b""
        except OSError:
            return None
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
                return None
            return os.read(descriptor, LIMIT) if status.st_size < LIMIT else None
        except OSError:
            return None
        finally:
            os.close(descriptor)

    def _set_aside(self) -> None:
        """Move what is no journal out of the way, and keep it for whoever wants to know."""
        self.complete = False
        aside = self._path.with_name(f"{self._path.name}.damaged")
        with contextlib.suppress(OSError):
            self._path.replace(aside)
            log.warning("refresh journal set aside provider=kimi file=%s", aside)

    def _write(self, chronicle: Chronicle) -> None:
        """Make *chronicle* durable; where the disk refuses, it lives on in memory."""
        self.chronicle = chronicle
        try:
            make_folder(self._path.parent)
            self._replace(chronicle.encoded())
        except (OSError, CredentialUnreadable) as error:
            self.complete, self._unwritten = False, True
            reason = getattr(error, "strerror", None) or str(error)
            if reason != self._complaint:
                log.error("refresh journal not written provider=kimi reason=%s", reason)
            self._complaint = reason
        else:
            self._unwritten, self._complaint = False, ""

    def _replace(self, data: bytes) -> None:
        draft = self._path.with_name(f".{self._path.name}.draft")
        draft.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            with os.fdopen(os.open(draft, flags, 0o600), "wb") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise
        self._sync_folder()

    def _sync_folder(self) -> None:
        # A rename is on disk only once its folder is; some file systems cannot sync a folder.
        with contextlib.suppress(OSError):
            descriptor = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
