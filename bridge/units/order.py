"""Says what a service manager is to run, and which of the shell's variables go along.

Pure. Keys never go along: a unit file is readable by everybody, and what is in it ends up in the
environment of every program that the daemon starts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from posixpath import dirname
from typing import Final

from bridge.config.schema import KEYS
from bridge.providers import Provider

#: Ours: the places, and what wins over the configuration.
OURS: Final = frozenset(
    {"BRIDGE_CONFIG", "BRIDGE_LOOP", "BRIDGE_PID_FILE", *(key.variable for key in KEYS)} - {""}
)
#: What changes where the daemon finds its files and whom it asks.
PLACES: Final = (
    *("KIMI_SHARE_DIR", "KIMI_CODE_OAUTH_HOST", "KIMI_OAUTH_HOST", "KIMI_CODE_BASE_URL"),
    "SSL_CERT_FILE",
)
#: Base folders, with what they are below the home where nothing is said.
BASES: Final = {"XDG_CONFIG_HOME": ".config", "XDG_STATE_HOME": ".local/state"}
#: How the network is left, in the spellings that count.
PROXIES: Final = tuple(
    spelling
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
    for spelling in (name, name.lower())
)
_CARRIED: Final = (*sorted(OURS), *PLACES, *PROXIES)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be run, and with what.

    *program* is the executable's absolute path and *version* what it says of itself, *environment*
    what goes along, *writes* the folders that the daemon writes to. *port* is the one that a socket
    unit holds, on [::1] too where there is *ipv6*. *confines_files* and *confines_calls* say which
    of the unit's restrictions the programs that fetch keys can live with. *logs* is launchd's
    folder for logs.
    """

    program: str
    version: str
    port: int
    environment: Mapping[str, str]
    writes: tuple[str, ...] = ()
    ipv6: bool = True
    confines_files: bool = True
    confines_calls: bool = True
    logs: str = ""


@dataclass(frozen=True, slots=True)
class Made:
    """What a unit of ours says of itself: which *program* it runs, and the *version* that wrote it.

    Both are empty where somebody has edited that.
    """

    program: str
    version: str


def carried(
    environment: Mapping[str, str], options: Mapping[str, object], account_home: str
) -> dict[str, str]:
    """Return what of *environment* the daemon needs as it is at the install, *options* included.

    *account_home* is the home that a service manager knows; another one goes along.
    """
    home = environment.get("HOME", "").rstrip("/")
    found = {name: environment[name] for name in _CARRIED if environment.get(name)}
    if home and home != account_home.rstrip("/"):
        found["HOME"] = home
    for name, folder in BASES.items():
        value = environment.get(name, "").rstrip("/")
        if value.startswith("/") and value != f"{home}/{folder}":
            found[name] = value
    for option, said in options.items():
        if said is not None and option not in {"config", "pid_file"}:
            found[f"BRIDGE_{option.upper()}"] = str(said)
    return {name: found[name] for name in sorted(found) if not _has_password(name, found[name])}


def withheld(environment: Mapping[str, str]) -> list[str]:
    """Return the names of the variables that hold a password, and so do not go along."""
    return [name for name in _CARRIED if _has_password(name, environment.get(name, ""))]


def key_programs(rows: Iterable[Provider]) -> list[str]:
    """Return the programs by which *rows* fetch their keys, each once."""
    named = (place.command[0] for row in rows for place in row.keys if place.command)
    return list(dict.fromkeys(named))


def key_variables(rows: Iterable[Provider], environment: Mapping[str, str]) -> list[str]:
    """Return the names of the variables in *environment* that hold a key of one of *rows*."""
    named = (place.env for row in rows for place in row.keys if place.env)
    return [name for name in dict.fromkeys(named) if environment.get(name)]


def written(log: str, key: str, pid_file: str, kimi_share: str) -> tuple[str, ...]:
    """Return the folders that a daemon with these files writes to, each once."""
    return tuple(dict.fromkeys((kimi_share, dirname(log), dirname(key), dirname(pid_file))))


def _has_password(name: str, value: str) -> bool:
    return "@" in (value if name in PROXIES else value.partition("://")[2])
