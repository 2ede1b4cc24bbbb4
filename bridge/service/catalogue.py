"""Makes the rows that are in force: those of the settings, with this device's own headers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from types import MappingProxyType

from bridge.errors import UsageError
from bridge.providers import Provider, with_headers
from bridge.service.settings import Settings


def rows(settings: Settings, device_headers: Mapping[str, str]) -> Mapping[str, Provider]:
    """Return all rows in force by name (no aliases), in the catalogue's order, then the user's.

    Requests to Kimi carry *device_headers*, as far as the settings do not change or remove them.
    """
    kimi = settings.config.providers["kimi"]
    device = replace(kimi, headers=MappingProxyType(dict(device_headers)))
    return MappingProxyType(
        {**settings.config.providers, "kimi": with_headers(device, kimi.headers)}
    )


def named(rows: Mapping[str, Provider], name: str) -> Provider:
    """Return the row of *rows* that *name*, which may be an alias, means.

    Raises ``UsageError`` with the nearest name where there is none.
    """
    known = {word: row for row in rows.values() for word in (row.name, *row.aliases)}
    if name not in known:
        near = get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(rows)}"
        raise UsageError(f"there is no provider {name}: {hint}")
    return known[name]
