"""Looks for a key in one place: a variable of the daemon's environment, or a file.

Which of several places counts is ``key``'s business, and what a key looks like is ``keyform``'s.
No key is in any message.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from bridge.clock import Clock
from bridge.credentials.keyform import LONGEST, is_foreign, mistake
from bridge.errors import BridgeError, CredentialUnreadable, KeyRequired
from bridge.providers import Provider

#: Seconds for which a file that has just been written may still be changing: within them a second
#: change may leave every number of ``stat`` as it was, and an empty file may be about to be filled.
SETTLING_SECONDS: Final = 2.0

#: Bytes; white space around a key is allowed, a file of something else is not read.
_LIMIT: Final = 4 * LONGEST


@dataclass(frozen=True, slots=True)
class Key:
    """A key at hand: *access* goes out, *place* says where it was, *oddities* what looks wrong."""

    access: str = field(repr=False)
    place: str
    oddities: tuple[str, ...] = ()


class Place(Protocol):
    """Where a key may be.

    *name* is how people are told of it, *advice* how a key gets there; *waits* says that whether
    there is one can only be learnt by waiting.
    """

    name: str
    advice: str

    @property
    def waits(self) -> bool:
        """Whether :meth:`current` has to be asked; :meth:`at_once` returns ``None`` then."""

    def at_once(self) -> Key | None:
        """Return the key that is there now, ``None`` for none.

        Raises ``KeyRequired`` or ``CredentialUnreadable`` where what is there is no key.
        """

    async def current(self) -> Key | None:
        """Return what :meth:`at_once` does, after waiting where that is needed."""

    async def renew(self, access: str) -> None:
        """Look for another key where the one that was refused, *access*, came from here."""


class Visible:
    """A place that can be looked into at any time; the base of those."""

    waits = False

    def at_once(self) -> Key | None:
        """Return the key that is there now; see :class:`Place`."""
        raise NotImplementedError

    async def current(self) -> Key | None:
        """Return the key that is there now; see :class:`Place`."""
        return self.at_once()

    async def renew(self, access: str) -> None:
        """Do nothing: what stands there is looked at for each request anyway."""


class Variable(Visible):
    """The variable *name* of *environment*, which is the daemon's and does not change."""

    def __init__(self, name: str, environment: Mapping[str, str], provider: Provider) -> None:
        self.name = name
        self.advice = f"set {name} for the daemon"
        self._key: Key | BridgeError | None = None
        if text := environment.get(name, "").strip():
            try:
                self._key = judged(text, name, "set it to the key alone", provider)
            except BridgeError as error:
                self._key = error

    def at_once(self) -> Key | None:
        """Return the key; an empty variable is none. See :class:`Place`."""
        if isinstance(self._key, BridgeError):
            raise self._key.with_traceback(None)  # or that would grow with each request
        return self._key


class File(Visible):
    """The file at *path*, called *name*: read again whenever it looks different.

    Links are followed, as keepers of dotfiles use them; what counts is the file at their end.
    Each look costs one ``stat``.
    """

    def __init__(self, name: str, path: str, provider: Provider, clock: Clock) -> None:
        self.name = name
        self.advice = f"put it into {name} (mode 0600)"
        self._path = path
        self._provider = provider
        self._clock = clock
        self._key: Key | None = None
        self._seen: tuple[int, ...] | None = None

    def at_once(self) -> Key | None:
        """Return the key in the file as it is now; see :class:`Place`.

        A file that was emptied a moment ago is being written: its key holds until it is there.
        """
        try:
            status = os.stat(self._path)  # noqa: PTH116 - once a request: pathlib is slow
        except (FileNotFoundError, NotADirectoryError):
            self._key = self._seen = None
            return None
        except OSError as error:
            raise self._unreadable(error) from None
        if self._key is None or self._seen != _identity(status):
            self._key = self._read(status, self._key)
        return self._key

    def _read(self, status: os.stat_result, before: Key | None) -> Key:
        """Return the key that the file of *status* holds; *before* it held another, or this one."""
        self._key = self._seen = None
        text, status = self._text(status)
        settling = 0 <= self._clock.now() - status.st_ctime < SETTLING_SECONDS
        if settling and not text and before is not None:
            return before
        key = judged(text, self.name, "write the key alone into it", self._provider)
        if status.st_mode & (stat.S_IRGRP | stat.S_IROTH):
            shared = f"{self.name} can be read by other users: run: chmod 600 {self.name}"
            key = replace(key, oddities=(*key.oddities, shared))
        if not settling:
            self._seen = _identity(status)
        return before if key == before else key

    def _text(self, status: os.stat_result) -> tuple[str, os.stat_result]:
        """Return what is in the file, and what it looked like after it was read."""
        if not stat.S_ISREG(status.st_mode):
            what = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
            raise CredentialUnreadable(
                f"{self.name} is {what}: put a file with the key alone in its place"
            )
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                content = file.read(_LIMIT + 1)
                status = os.fstat(descriptor)
        except OSError as error:
            raise self._unreadable(error) from None
        if len(content) > _LIMIT:
            raise KeyRequired(f"{self.name} is too large for a key: write the key alone into it")
        return stripped(content), status

    def _unreadable(self, error: OSError) -> CredentialUnreadable:
        return CredentialUnreadable(
            f"{self.name} cannot be read ({error.strerror}): make it readable for the daemon's user"
        )


def judged(text: str, place: str, advice: str, provider: Provider) -> Key:
    """Return the key that *text*, found in *place*, is for *provider*.

    Raises ``KeyRequired`` for what is none, with *advice*.
    """
    if wrong := mistake(text, (provider.name, *provider.aliases)):
        raise KeyRequired(f"{place} {wrong}: {advice}")
    if not is_foreign(text, provider.key_prefixes):
        return Key(text, place)
    usual = " or ".join(provider.key_prefixes)
    foreign = (
        f"the key in {place} does not begin with {usual}, as those of {provider.name} do: "
        "see that it is not another service's"
    )
    return Key(text, place, (foreign,))


def stripped(content: bytes) -> str:
    """Return *content* as text, without white space or a byte order mark around it.

    What is no UTF-8 becomes a character that no key has.
    """
    return content.decode("utf-8-sig", "replace").strip()


def _identity(status: os.stat_result) -> tuple[int, ...]:
    """Return what tells one state of a file from the next; a change of its mode counts as well."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
