"""The providers of the catalogue as rows, at their real places or each at a place on loopback."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from bridge.config import parse
from bridge.providers import KeyHeader, Provider
from bridge.service.settings import catalogue

CATALOGUE: Final[Mapping[str, Provider]] = parse(
    "", file="config.toml", environment={}, options={}, catalogue=catalogue()
).providers
#: The names, in the catalogue's order.
NAMES: Final = tuple(CATALOGUE)


def row(name: str, url: str = "", **changes: object) -> Provider:
    """Return the row called *name*; with *url*, its surfaces are below ``url/name`` there.

    One of them wants its key as ``x-api-key``, which nobody in the catalogue does with our own.
    """
    provider = CATALOGUE[name]
    if url:
        moved = {k: f"{url}/{name}{urlsplit(at).path}" for k, at in provider.surfaces.items()}
        provider = replace(provider, surfaces=MappingProxyType(moved))
    if name == "deepseek":
        provider = replace(provider, key_header=KeyHeader.API_KEY)
    return replace(provider, **changes)  # type: ignore[arg-type]


def rows(url: str = "") -> list[Provider]:
    """Return every row, see :func:`row`."""
    return [row(name, url) for name in NAMES]
