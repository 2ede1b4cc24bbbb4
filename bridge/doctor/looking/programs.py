"""Looks which programs ``PATH`` finds under our names."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bridge.doctor.judging.program import Found, Kind, Programs

#: What the script of any installation of bridge has in its first lines.
_MARK: Final = b"bridge.cli"


def programs(environment: Mapping[str, str], named: str) -> Programs:
    """Return what is found; *named* is the path by which generated functions call this program."""
    folders = {Path(named).parent, Path(named).resolve().parent, Path(sys.executable).parent}
    ours = {(folder / name).resolve() for folder in folders for name in ("bridge", "kimi-bridge")}
    return Programs(
        named=named,
        runs=os.access(named, os.X_OK) and Path(named).is_file(),
        bridge=_first("bridge", environment, ours),
        kimi_bridge=_first("kimi-bridge", environment, ours),
    )


def _first(name: str, environment: Mapping[str, str], ours: set[Path]) -> Found | None:
    path = shutil.which(name, path=environment.get("PATH", os.defpath))
    if path is None:
        return None
    if Path(path).resolve() in ours:
        return Found(path, Kind.OURS)
    return Found(path, Kind.SIBLING if _is_sibling(path) else Kind.STRANGER)


def _is_sibling(path: str) -> bool:
    try:
        with Path(path).open("rb") as file:
            return _MARK in file.read(1024)
    except OSError:
        return False
