"""Lists what a person can type after ``bridge``, for the completion of shells.

Pure data: the parser stands above this room. A test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

#: What stands for the names of the providers in force, for a file, and for a command of the system.
PROVIDER: Final = "PROVIDER"
FILE: Final = "FILE"
COMMAND: Final = "COMMAND"

CLIENTS: Final = ("claude", "codex", "opencode")
LEVELS: Final = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb: its *help*, the words it *takes* one after the other, and its own *options*."""

    help: str
    takes: tuple[tuple[str, ...], ...] = ()
    options: tuple[str, ...] = ()


VERBS: Final[Mapping[str, Verb]] = MappingProxyType(
    {
        "login": Verb("log in to a provider in the browser", (("kimi",),), ("--no-browser",)),
        "logout": Verb("forget the login", (("kimi",),)),
        "token": Verb("print a fresh access token", (("kimi",),)),
        "up": Verb("start the daemon and log in, as far as needed", ((PROVIDER,),)),
        "env": Verb(
            "print what points a client at the bridge", ((PROVIDER,),), ("--client", "--shell")
        ),
        "run": Verb(
            "run a command with that in its environment",
            ((PROVIDER,), (COMMAND, "--client", "--")),
        ),
        "shell-init": Verb(
            "print shell functions: claude-kimi and more", (("bash", "zsh", "fish"),)
        ),
        "providers": Verb("list the providers and where keys are found", (), ("--json",)),
        "config": Verb(
            "where it is, what is in force, what is wrong",
            (("path", "show", "check"), ("--json",)),
        ),
        "doctor": Verb("find what would go wrong, and how to mend it", (), ("--json",)),
        "bench": Verb("measure what the bridge costs on this machine", (), ("--json", "--seconds")),
        "demo": Verb("see the main job done, without an account"),
        "status": Verb("how the daemon and its logins are doing", (), ("--json", "--watch")),
        "logs": Verb("print the daemon's log", (), ("--follow", "--lines")),
        "service": Verb(
            "install it as a service of your system",
            (
                ("install", "uninstall", "status", "print"),
                ("--socket", "--dry-run", "--json"),
            ),
        ),
    }
)

#: What can stand before a verb, or without one.
OPTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "--help": "show this help message and exit",
        "--version": "show program's version number and exit",
        "--foreground": "run it in the foreground",
        "--check": "is it serving? with a provider: is its credential usable too?",
        "--stop": "stop it; streams may end first",
        "--restart": "stop it, then start it",
        "--reload": "let it re-read its configuration",
        "--config": "another configuration file",
        "--pid-file": "another PID file",
        "--port": "another port than 18462",
        "--log-level": "debug, info, warning or error",
        "--verbose": "with --check: say it",
        "--json": "with --check: print /health",
    }
)

#: Options with a value, and what it can be; nothing is known of some.
VALUES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "--check": (PROVIDER,),
        "--config": (FILE,),
        "--pid-file": (FILE,),
        "--port": (),
        "--log-level": LEVELS,
        "--client": CLIENTS,
        "--shell": ("sh", "fish", "config"),
        "--lines": (),
        "--seconds": (),
    }
)
