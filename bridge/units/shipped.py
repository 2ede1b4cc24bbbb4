"""Finds the unit files that bridge ships: in the package, or in the checkout it runs from."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Final

from bridge.errors import ServiceError
from bridge.units.label import LABEL, SERVICE, SOCKET

#: Where each stands in the checkout; a wheel has all of them in one folder of this package.
TEMPLATES: Final = {
    SERVICE: f"systemd/{SERVICE}",
    SOCKET: f"systemd/{SOCKET}",
    f"{LABEL}.plist": f"launchd/{LABEL}.plist",
}


def template(name: str) -> str:
    """Return the text of the unit file *name*. Raises ``ServiceError`` where it is missing."""
    checkout = Path(__file__).parents[2] / TEMPLATES[name]
    for place in (files("bridge.units").joinpath("templates", name), checkout):
        if place.is_file():
            return place.read_text(encoding="utf-8")
    raise ServiceError(f"{name} is missing from this installation: install bridge again")
