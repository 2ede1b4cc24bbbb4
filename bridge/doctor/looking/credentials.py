"""Looks at logins and keys where they are kept; what it hands on holds no secret.

Nothing is made, refreshed or run for it: a command that prints a key may ask the person something.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bridge import location
from bridge.clock import Clock
from bridge.credentials.journal import Journal
from bridge.credentials.keyplace import File, Key, Place, Variable
from bridge.credentials.restraint import Restraint
from bridge.credentials.store import Store
from bridge.credentials.telling import Telling
from bridge.doctor.finding import told
from bridge.doctor.judging.key import Places
from bridge.doctor.judging.login import Device, Lock, Login, life
from bridge.errors import BridgeError
from bridge.oauth.token import Token
from bridge.providers import KeyPlace, Provider
from bridge.service.account import credential_file

#: A refresh holds the lock for one exchange; who holds it longer hangs, or the server does.
LOCK_SECONDS: Final = 1.0
LOCK_POLL_SECONDS: Final = 0.1


def login(provider: str, share: Path, clock: Clock, *, journal: Path) -> tuple[Login, Token | None]:
    """Return how the login in the folder *share* stands, and the token itself if there is one.

    *journal* is the file in which its refreshes are noted.
    """
    store = Store(credential_file(share), clock)
    token, problem = None, None
    try:
        credential = store.read()
        token = credential.token if credential else None
    except BridgeError as error:
        problem = told(error, f"bridge login {provider}")
    lock, lock_problem = _lock(store.lock_path, clock)
    remembered = Journal(journal, clock)
    remembered.look()
    telling = Telling(clock, remembered, Restraint(clock))
    found = Login(
        provider=provider,
        path=str(store.path),
        now=clock.now(),
        mode=_mode(store.path),
        problem=problem,
        life=life(token, clock.now(), telling.forecast(token)) if token else None,
        lock=lock,
        lock_problem=lock_problem,
        cut_short=store.interrupted() and lock is Lock.FREE,
        note=(telling.note(token) if token and lock is Lock.FREE else None) or "",
        device=_device(share / "device_id"),
        device_path=str(share / "device_id"),
    )
    return found, token


def places(row: Provider, environment: Mapping[str, str], clock: Clock, *, wanted: bool) -> Places:
    """Return where the key of *row* comes from; *wanted* says that somebody counts on it."""
    wrong: list[tuple[str, str]] = []
    odd: tuple[tuple[str, str], ...] = ()
    found = None
    for place in row.keys:
        try:
            found, oddities = _look(place, row, environment, clock)
        except BridgeError as error:
            wrong.append(told(error, "write the key alone there"))
            continue
        if found:
            odd = tuple((*_split(text),) for text in oddities)
            break
    return Places(
        provider=row.name,
        found=found or None,
        wrong=tuple(wrong),
        odd=odd,
        names=tuple(place.file or place.env for place in row.keys if not place.command),
        wanted=wanted,
    )


def _look(
    place: KeyPlace, row: Provider, environment: Mapping[str, str], clock: Clock
) -> tuple[str, tuple[str, ...]]:
    """Return the name of *place* if it yields a key, and what is odd about that."""
    if place.command:
        program = place.command[0]
        if shutil.which(program, path=environment.get("PATH", os.defpath)) is None:
            raise BridgeError(f"the command {program} cannot be run: write its absolute path")
        return f"the command {program} (not run for this)", ()
    key = _place(place, row, environment, clock).at_once()
    return (place.env or place.file, key.oddities) if isinstance(key, Key) else ("", ())


def _place(place: KeyPlace, row: Provider, environment: Mapping[str, str], clock: Clock) -> Place:
    if place.env:
        return Variable(place.env, environment, row)
    return File(place.file, location.expanded(place.file, environment), row, clock)


def _split(text: str) -> tuple[str, str]:
    what, _, mend = text.partition(": ")
    return what, mend or "see that it is the right one"


def _mode(path: Path) -> int | None:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None


def _lock(path: Path, clock: Clock) -> tuple[Lock, str]:
    """Take the lock for an instant, where there is a file of that name already."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return Lock.FREE, ""
    except OSError as error:
        return Lock.UNUSABLE, error.strerror or "it cannot be opened"
    try:
        free = _taken_in_time(descriptor, clock)
    except OSError as error:
        return Lock.UNUSABLE, error.strerror or "it cannot be locked"
    finally:
        os.close(descriptor)  # and with it the lock
    return (Lock.FREE if free else Lock.BUSY), ""


def _taken_in_time(descriptor: int, clock: Clock) -> bool:
    deadline = clock.monotonic() + LOCK_SECONDS
    while not _taken(descriptor):
        if clock.monotonic() >= deadline:
            return False
        clock.pause(LOCK_POLL_SECONDS)
    return True


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _device(path: Path) -> Device:
    try:
        written = path.read_bytes()[:4096].decode("ascii", "ignore").strip()
    except (FileNotFoundError, NotADirectoryError):
        return Device.ABSENT
    except OSError:
        return Device.UNREADABLE
    return Device.WRITTEN if written else Device.EMPTY
