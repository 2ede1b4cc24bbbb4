"""Whom a machine has running, by the kernel's word."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tests.world import World


def kin(machine: World) -> dict[int, str]:
    """Return every process whose home is the machine's, with its command line; no zombies."""
    mark = f"HOME={machine.home}".encode()
    found: dict[int, str] = {}
    for folder in Path("/proc").iterdir():
        # Who ends meanwhile, or belongs to another user, is none of ours.
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and mark in (folder / "environ").read_bytes().split(b"\0"):
                words = (folder / "cmdline").read_bytes()
                found[int(folder.name)] = words.replace(b"\0", b" ").decode(errors="replace")
    return found
