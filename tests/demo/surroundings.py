"""Where the demo is run: surroundings that would lead it astray, and what it leaves in them."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def leading_astray(place: Path) -> dict[str, str]:
    """Return an environment that would lead the play astray if it were not isolated."""
    astray = {
        "HOME": str(place / "home"),
        "TMPDIR": str(place),
        "HTTP_PROXY": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
        "BRIDGE_PORT": "1",
        "BRIDGE_CONFIG": "/nonexistent",
        "KIMI_SHARE_DIR": str(place / "kimi"),
        "XDG_STATE_HOME": str(place / "state"),
    }
    return {**os.environ, **astray, "COLUMNS": "80"}


def left_behind(place: Path) -> list[str]:
    """Return what is in *place* that was not there before."""
    return sorted(path.name for path in place.iterdir())


def daemons(place: Path) -> list[str]:
    """Return the processes whose home is below *place*."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
        except OSError:
            continue
        if f"HOME={place}/bridge-demo-".encode() in environment:
            found.append(process.name)
    return found
