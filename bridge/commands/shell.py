"""The verb that prints shell functions."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from bridge import peer
from bridge.clients.shell import PROGRAMS, Bridge, Shell, functions
from bridge.service.catalogue import rows
from bridge.service.settings import Settings, load

Options = Mapping[str, object]


def shell_init(shell: Shell, options: Options) -> int:
    """Print the functions for *shell*, to be evaluated in its start-up file."""
    settings = load(options)
    print(functions(shell, called(settings, options), list(rows(settings, {}).values())))
    return 0


def called(settings: Settings, options: Options) -> Bridge:
    """Return the program as it can be called from anywhere, for the daemon that *options* mean."""
    return Bridge(
        program=[executable(sys.argv[0]), *_places(options)],
        key_file=settings.paths.key,
        address=f"http://127.0.0.1:{settings.config.server.port}",
        key_needed=key_needed(settings),
    )


def key_needed(settings: Settings) -> bool:
    """Say whether callers have to show the caller key: as configured, or as the kernel can tell."""
    chosen = settings.config.server.clients
    return chosen == "key" or (chosen is None and not peer.can_tell())


def executable(program: str) -> str:
    """Return this program by absolute path: iproute2 has a ``bridge`` of its own.

    *program* is what it was called as. Run as ``python -m bridge``, it is the script that was
    installed beside the interpreter.
    """
    if Path(program).name in PROGRAMS and (found := shutil.which(program)):
        return str(Path(found).absolute())
    return str(Path(sys.executable).with_name("kimi-bridge").absolute())


def _places(options: Options) -> list[str]:
    """Return the options that say which daemon is meant, as words."""
    words = []
    for name in ("config", "pid_file"):
        if options.get(name):
            words += [f"--{name.replace('_', '-')}", str(Path(str(options[name])).absolute())]
    if options.get("port"):
        words += ["--port", str(options["port"])]
    return words
