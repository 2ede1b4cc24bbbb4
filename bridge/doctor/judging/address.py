"""Says where a URL in somebody's settings leads: to the bridge, past it, or nowhere.

Pure. A URL may hold a password, so all that is ever shown of one is its host and port.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_HOST: Final = re.compile(r"[0-9a-z]([0-9a-z.-]{0,251}[0-9a-z])?|[0-9a-f:.]{2,45}", re.ASCII)


class Leads(enum.Enum):
    """Where a URL leads: to our port, to another port of this machine, away, or nowhere."""

    HERE = enum.auto()
    NEXT_DOOR = enum.auto()
    AWAY = enum.auto()
    NOWHERE = enum.auto()


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads, the first segment of its path, and what may be *shown* of it."""

    leads: Leads
    segment: str = ""
    shown: str = "something that is no URL"


def target(url: object, port: int) -> Target:
    """Return where *url* leads, if the bridge listens on *port*."""
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        host, number = (parts.hostname or "").lower(), parts.port
    except ValueError:
        return Target(Leads.NOWHERE)
    if parts.scheme not in {"http", "https"} or not _HOST.fullmatch(host):
        return Target(Leads.NOWHERE)
    shown = f"[{host}]" if ":" in host else host
    shown += f":{number}" if number is not None else ""
    if host not in _LOOPBACK:
        return Target(Leads.AWAY, "", shown)
    number = number or (443 if parts.scheme == "https" else 80)
    leads = Leads.HERE if (number, parts.scheme) == (port, "http") else Leads.NEXT_DOOR
    return Target(leads, parts.path.strip("/").partition("/")[0], shown)
