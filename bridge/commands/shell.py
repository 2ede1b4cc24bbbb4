"""The verb that prints shell functions."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from bridge.clients.shell import PROGRAMS, Shell, functions
from bridge.service.catalogue import kimi_row
from bridge.service.settings import load


def shell_init(shell: Shell, options: Mapping[str, object]) -> int:
    """Print the functions for *shell*, to be evaluated in its start-up file."""
    settings = load(options)
    text = functions(
        shell,
        executable=executable(sys.argv[0]),
        key_file=settings.paths.key,
        address=f"http://127.0.0.1:{settings.config.server.port}",
        providers=[kimi_row(settings, {})],
    )
    print(text)
    return 0


def executable(program: str) -> str:
    """Return this program by absolute path: iproute2 has a ``bridge`` of its own.

    *program* is what it was called as. Run as ``python -m bridge``, it is the script that was
    installed beside the interpreter.
    """
    if Path(program).name in PROGRAMS and (found := shutil.which(program)):
        return str(Path(found).absolute())
    return str(Path(sys.executable).with_name("kimi-bridge").absolute())
