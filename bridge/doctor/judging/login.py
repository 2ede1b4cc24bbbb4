"""Judges a login that is kept in a file shared with the official CLI: file, lock, end, device.

Pure. A token is never among the facts, only what was derived from it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from shlex import quote

from bridge.credentials.forecast import DAY, REFRESH_LIFETIME, Forecast
from bridge.doctor.finding import Finding, fail, ok, warn
from bridge.oauth.token import Token


class Lock(enum.Enum):
    """How the lock beside the file is: free (or not there yet), held for long, or not to be had."""

    FREE = enum.auto()
    BUSY = enum.auto()
    UNUSABLE = enum.auto()


class Device(enum.Enum):
    """How the file with the device id is."""

    WRITTEN = enum.auto()
    ABSENT = enum.auto()
    EMPTY = enum.auto()
    UNREADABLE = enum.auto()


@dataclass(frozen=True, slots=True)
class Life:
    """How long a token lives, in seconds, whether it can be renewed, and when its login ends."""

    remaining: float
    renewable: bool
    forecast: Forecast


@dataclass(frozen=True, slots=True)
class Login:
    """The login of *provider* in the file *path* of *mode*, as it is *now*.

    *problem* says why the file cannot be used and how to mend that; *life* is ``None`` for "not
    logged in". *cut_short* says that a renewal left something half done, *note* what the journal
    knows of the refresh token.
    """

    provider: str
    path: str
    now: float
    mode: int | None = None
    problem: tuple[str, str] | None = None
    life: Life | None = None
    lock: Lock = Lock.FREE
    lock_problem: str = ""
    cut_short: bool = False
    note: str = ""
    device: Device = Device.ABSENT
    device_path: str = ""


def life(token: Token, now: float, forecast: Forecast) -> Life:
    """Return how *token* stands at *now*, and its login by the *forecast*."""
    return Life(token.remaining(now), bool(token.refresh), forecast)


def judge(login: Login) -> Iterator[Finding]:
    """Yield what is to be said of *login*."""
    subject, again = f"{login.provider} login", f"bridge login {login.provider}"
    if login.problem is not None:
        yield fail(subject, *login.problem)
    elif login.life is None:
        yield warn(subject, f"there is none in {login.path}", again)
    else:
        yield from _life(login, login.life, subject, again)
    if login.mode is not None and login.mode & 0o077:
        text = f"{login.path} has mode {login.mode:04o}: other users may read it"
        yield warn(subject, text, f"chmod 600 {quote(login.path)}")
    if login.lock is Lock.UNUSABLE:
        text = (
            f"the lock beside {login.path} cannot be had ({login.lock_problem}): no renewal works"
        )
        yield fail(subject, text, f"make it yours: ls -l {quote(login.path.rpartition('/')[0])}")
    elif login.lock is Lock.BUSY:
        text = f"another process holds the lock beside {login.path}, and does not let go"
        yield warn(
            subject, text, "see which kimi process hangs: fuser -v " + _lock_file(login.path)
        )
    if login.note:
        what, _, mend = login.note.partition("; ")
        yield warn(subject, what, mend or f"if it goes on: {again}")
    elif login.cut_short:
        text = "a renewal was cut short, and what it left has not been looked at yet"
        yield warn(subject, text, "start the daemon, which finishes it: bridge")
    yield from _device(login, subject, again)


def _life(login: Login, life: Life, subject: str, again: str) -> Iterator[Finding]:
    if not life.renewable:
        text = "it cannot be renewed: the file holds no refresh token"
        yield (fail if life.remaining <= 0 else warn)(subject, text, again)
        return
    ends_at = life.forecast.ends_at
    if ends_at is None:
        yield ok(subject, f"{login.path} holds one that can be renewed")
        return
    days = (ends_at - login.now) / DAY
    if days <= 0 and life.forecast.certain:
        yield fail(subject, "it has ended", again)
    elif days <= 0:
        age = REFRESH_LIFETIME / DAY - days
        text = f"it was not renewed for {age:.0f} days and has ended, most likely"
        yield warn(subject, text, f"see whether it still works: bridge token; else: {again}")
    elif life.forecast.soon(login.now):
        left = f"{days:.0f} days" if days >= 2 else f"{days * 24:.0f} hours"
        text = f"it ends in {left}, unless it is used before"
        yield warn(subject, text, f"let the daemon run, or log in again: {again}")
    else:
        yield ok(subject, f"{login.path} holds one that is good for {days:.0f} days")


def _device(login: Login, subject: str, again: str) -> Iterator[Finding]:
    path = login.device_path
    if login.device is Device.UNREADABLE:
        text = f"{path} cannot be read: Kimi sees another device at each start"
        yield warn(subject, text, f"make it readable for its owner: chmod 600 {quote(path)}")
    elif login.device is Device.EMPTY:
        yield warn(subject, f"{path} holds no device id", f"remove it, then: {again}")
    elif login.device is Device.ABSENT and login.life is not None:
        text = f"{path} is missing: Kimi sees another device at each start"
        yield warn(subject, text, f"log in once more, which writes it: {again}")


def _lock_file(path: str) -> str:
    return quote(path.removesuffix(".json") + ".lock")
