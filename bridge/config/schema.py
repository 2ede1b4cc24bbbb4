"""Lists the keys of the configuration: what each accepts, in words and in code, and its default.

Pure. A *kind* reads a value as TOML gives it. The room knows neither where a value came from nor
how a mistake is worded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Generic, TypeVar
from urllib.parse import urlsplit

from bridge.config.toml import KeyPath
from bridge.providers import kimi

T_co = TypeVar("T_co", covariant=True)

MIB: Final = 1024 * 1024
#: Providers that the configuration may speak of.
PROVIDERS: Final = ("kimi",)

_LARGEST: Final = 1024**5
_UNITS: Final = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3} | {
    "kib": 1024,
    "mib": MIB,
    "gib": 1024 * MIB,
}
_SIZE: Final = re.compile(r"(\d{1,15}) ?([A-Za-z]*)", re.ASCII)
_HOST: Final = re.compile(
    r"(?:\[[0-9a-f:.]+\]|[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?)(?::(\d{1,5}))?", re.ASCII
)
#: RFC 9110 sections 5.6.2 (token) and 5.5 (field value, without obs-text).
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_HEADER_VALUE: Final = re.compile(r"[\t -~]*", re.ASCII)


class Mismatch(ValueError):
    """A value is not of its kind; *hint* may say more than what was expected."""

    def __init__(self, hint: str = "") -> None:
        super().__init__(hint)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Kind(Generic[T_co]):
    """What a key accepts: *expected* in words, *read* in code, and for a choice its *words*.

    *read* returns a value as the program uses it, or raises ``Mismatch``.
    """

    expected: str
    read: Callable[[object], T_co]
    words: tuple[str, ...] = ()


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


def _size(value: object) -> int:
    size = value
    if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
        size = int(match[1]) * _UNITS.get(match[2].lower(), 0)
    if isinstance(size, bool) or not isinstance(size, int) or not 0 < size <= _LARGEST:
        raise Mismatch
    return size


def _name(value: object) -> str:
    if value == "":
        raise Mismatch("leave the key out to get the default")
    if not isinstance(value, str) or not value.isprintable() or value.strip() != value:
        raise Mismatch
    return value


def _file(value: object) -> str:
    if not isinstance(value, str) or not value.startswith(("/", "~/")) or not value.isprintable():
        raise Mismatch
    return value


def _proxy(value: object) -> str:
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        usable = parts.scheme == "http" and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise Mismatch
    return str(value)


def _hosts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise Mismatch
    for host in value:
        match = _HOST.fullmatch(host.lower()) if isinstance(host, str) else None
        if match is None or not 0 < int(match[1] or 1) < 65536:
            raise Mismatch(f"{host!r} is no host name" if isinstance(host, str) else "")
    return tuple(host.lower() for host in value)


def _headers(value: object) -> Mapping[str, str]:
    """Read a table of header fields; what one holds may be a secret and is in no message."""
    if not isinstance(value, dict):
        raise Mismatch
    for name, text in value.items():
        if not _HEADER_NAME.fullmatch(name):
            raise Mismatch("a header name has only letters, digits and dashes")
        if not isinstance(text, str) or not _HEADER_VALUE.fullmatch(text):
            raise Mismatch(f"the value of {name} is no single line of ASCII text")
    return MappingProxyType(dict(value))


@dataclass(frozen=True, slots=True)
class Key(Generic[T_co]):
    """One key: where it stands, what it accepts, and what holds where nobody sets it.

    *option* is its name on the command line and, in capitals with ``BRIDGE_`` before it, in the
    environment. A *private* value shows in no message.
    """

    path: KeyPath
    kind: Kind[T_co]
    default: T_co
    option: str = ""
    private: bool = False

    @property
    def name(self) -> str:
        """The key with its tables, as one writes it: ``server.port``."""
        return ".".join(self.path)

    @property
    def variable(self) -> str:
        """The environment variable that overrides the key, or an empty string."""
        return f"BRIDGE_{self.option.upper()}" if self.option else ""


_SIZES: Final = Kind('a number of bytes, or a text such as "64 MiB"', _size)
_MODEL: Final = Kind("a model name", _name)
_ROW: Final = kimi({}, {})

PORT: Final = Key(("server", "port"), whole(1, 65535), 18462, "port")
CLIENTS: Final[Key[str | None]] = Key(
    ("server", "clients"), choice("same-user", "key", "any"), None, "clients"
)
DEFAULT_PROVIDER: Final = Key(
    ("server", "default_provider"), choice(*PROVIDERS), "kimi", "default_provider"
)
DRAIN: Final = Key(("server", "drain_seconds"), seconds(0, 86_400), 30.0, "drain_seconds")
IDLE: Final = Key(("server", "idle_seconds"), seconds(0.1, 604_800), 1800.0, "idle_seconds")
MAX_BODY: Final = Key(("server", "max_body"), _SIZES, 64 * MIB, "max_body")
BODY_BUDGET: Final = Key(("server", "body_budget"), _SIZES, 256 * MIB, "body_budget")
HOSTS: Final = Key(
    ("server", "hosts"),
    Kind('a list of host names such as ["box.lan", "box.lan:8080"]', _hosts),
    (),
)
LOG_LEVEL: Final = Key(
    ("log", "level"), choice("debug", "info", "warning", "error"), "info", "log_level"
)
PROXY: Final[Key[str | None]] = Key(
    ("network", "proxy"), Kind('a URL such as "http://HOST:PORT"', _proxy), None, private=True
)
CA_FILE: Final[Key[str | None]] = Key(
    ("network", "ca_file"), Kind("an absolute path, or one that begins with ~/", _file), None
)
KIMI_REGION: Final = Key(("providers", "kimi", "region"), choice("cn", "global"), "cn")
KIMI_PRIMARY: Final = Key(("providers", "kimi", "models", "primary"), _MODEL, _ROW.models.primary)
KIMI_FAST: Final = Key(("providers", "kimi", "models", "fast"), _MODEL, _ROW.models.fast)
KIMI_HEADERS: Final[Key[Mapping[str, str]]] = Key(
    ("providers", "kimi", "headers"),
    Kind('a table of header names and texts, such as { X-Name = "value" }', _headers),
    MappingProxyType({}),
    private=True,
)

KEYS: Final[tuple[Key[object], ...]] = (
    PORT,
    CLIENTS,
    DEFAULT_PROVIDER,
    DRAIN,
    IDLE,
    MAX_BODY,
    BODY_BUDGET,
    HOSTS,
    LOG_LEVEL,
    PROXY,
    CA_FILE,
    KIMI_REGION,
    KIMI_PRIMARY,
    KIMI_FAST,
    KIMI_HEADERS,
)
