"""Reads single values: what each kind accepts, in words and in code, and how it is shown.

Pure. A *kind* reads a value as TOML gives it. The room knows neither keys nor places; what it says
of a value that may hold a secret never repeats it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar
from urllib.parse import urlsplit

T_co = TypeVar("T_co", covariant=True)

MIB: Final = 1024 * 1024
HIDDEN: Final = "***"

_LARGEST: Final = 1024**5
_UNITS: Final = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3} | {
    "kib": 1024,
    "mib": MIB,
    "gib": 1024 * MIB,
}
_SIZE: Final = re.compile(r"(\d{1,15}) ?([A-Za-z]*)", re.ASCII)
#: A line break is dropped by ``urlsplit`` and would go unseen.
_VISIBLE: Final = re.compile(r"[!-~]+")
_HOST: Final = re.compile(
    r"(?:\[[0-9a-f:.]+\]|[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?)(?::(\d{1,5}))?", re.ASCII
)


class Mismatch(ValueError):
    """A value is not of its kind.

    *hint* may say more than what was expected; *said* is said instead of that.
    """

    def __init__(self, hint: str = "", *, said: str = "") -> None:
        super().__init__(hint or said)
        self.hint = hint
        self.said = said


@dataclass(frozen=True, slots=True)
class Kind(Generic[T_co]):
    """What a key accepts: *expected* in words, *read* in code, and for a choice its *words*.

    *read* returns a value as the program uses it, or raises ``Mismatch``; *show* makes of it what
    a person may see, in TOML's types; *remark* says, of a raw value that was accepted, what may not
    be meant. A *private* kind has values that no complaint repeats.
    """

    expected: str
    read: Callable[[object], T_co]
    words: tuple[str, ...] = ()
    private: bool = False
    show: Callable[[Any], object] = lambda value: value
    remark: Callable[[Any], str] = lambda _: ""


def whole(low: int, high: int) -> Kind[int]:
    """Return the kind of whole numbers from *low* to *high*."""

    def read(value: object) -> int:
        if isinstance(value, str) and value.isdecimal():
            raise Mismatch("write it without quotes")
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Mismatch
        return value

    return Kind(f"a whole number from {low} to {high}", read)


def seconds(low: float, high: float) -> Kind[float]:
    """Return the kind of durations from *low* to *high*, in seconds."""

    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise Mismatch
        if not low <= value <= high:  # which no NaN is
            raise Mismatch
        return float(value)

    return Kind(f"a number of seconds from {low:g} to {high:g}", read)


def choice(*words: str) -> Kind[str]:
    """Return the kind of a text that is one of *words*."""

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise Mismatch
        return value

    quoted = ", ".join(f'"{word}"' for word in words)
    return Kind(f"one of {quoted}" if len(words) > 1 else quoted, read, words)


def text(expected: str) -> Kind[str]:
    """Return the kind of a line of text that is called *expected*."""

    def read(value: object) -> str:
        if value == "":
            raise Mismatch("leave the key out to get the default")
        if not isinstance(value, str) or not value.isprintable() or value.strip() != value:
            raise Mismatch
        return value

    return Kind(expected, read)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise Mismatch("write it without quotes" if value in ("true", "false") else "")
    return value


def _size(value: object) -> int:
    size = value
    if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
        size = int(match[1]) * _UNITS.get(match[2].lower(), 0)
    if isinstance(size, bool) or not isinstance(size, int) or not 0 < size <= _LARGEST:
        raise Mismatch
    return size


def _in_units(size: int) -> object:
    for name, unit in (("GiB", 1024 * MIB), ("MiB", MIB), ("KiB", 1024)):
        if size % unit == 0:
            return f"{size // unit} {name}"
    return size


def _file(value: object) -> str:
    if not isinstance(value, str) or not value.startswith(("/", "~/")) or not value.isprintable():
        raise Mismatch
    return value


def _proxy(value: object) -> str:
    text = value if isinstance(value, str) and _VISIBLE.fullmatch(value) else ""
    try:
        parts = urlsplit(text)
        usable = parts.scheme == "http" and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise Mismatch
    return str(value)


def _without_user(proxy: str | None) -> str | None:
    """Return *proxy* as it may be shown: who we are there is nobody's business."""
    if not proxy or "@" not in proxy:
        return proxy
    return f"http://{HIDDEN}@{urlsplit(proxy).netloc.rpartition('@')[2]}"


def _hosts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise Mismatch
    for host in value:
        match = _HOST.fullmatch(host.lower()) if isinstance(host, str) else None
        if match is None or not 0 < int(match[1] or 1) < 65536:
            raise Mismatch(f"{host!r} is no host name" if isinstance(host, str) else "")
    return tuple(host.lower() for host in value)


def _own_proxy(value: object) -> str:
    return "" if value == "" else _proxy(value)


FLAG: Final = Kind("true or false", _flag)
SIZE: Final = Kind('a number of bytes, or a text such as "64 MiB"', _size, show=_in_units)
FILE: Final = Kind("an absolute path, or one that begins with ~/", _file)
PROXY: Final = Kind('a URL such as "http://HOST:PORT"', _proxy, private=True, show=_without_user)
HOSTS: Final = Kind('a list of host names such as ["box.lan", "box.lan:8080"]', _hosts, show=list)
OWN_PROXY: Final = Kind(
    f'{PROXY.expected}, or "" for none', _own_proxy, private=True, show=_without_user
)
