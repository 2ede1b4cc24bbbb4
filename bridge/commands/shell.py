"""The verb that prints shell functions."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from bridge.clients.shell import functions
from bridge.service.settings import load


def shell_init(shell: str, options: Mapping[str, object]) -> int:
    """Print the functions for *shell*, to be evaluated in its start-up file."""
    settings = load(options)
    raise NotImplementedError(functions, executable(), settings, shell)


def executable() -> str:
    """Return this program by absolute path: iproute2 has a ``bridge`` of its own."""
    program = Path(sys.argv[0])
    if program.name in {"bridge", "kimi-bridge"}:
        found = shutil.which(sys.argv[0]) or sys.argv[0]
        return str(Path(found).absolute())
    return str(Path(sys.executable).with_name("kimi-bridge"))
