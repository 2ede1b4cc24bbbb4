"""Words what a person should know before a service runs from here. Pure; no value is shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

#: Folders that are emptied, and parts of paths of programs that were fetched for one run.
_EMPTIED: Final = ("/tmp/", "/var/tmp/", "/run/", "/private/tmp/", "/private/var/folders/")  # noqa: S108 - told, not used
_ONE_RUN: Final = ("/.cache/", "/pipx/.cache/", "/Library/Caches/")
#: Environments that a tool keeps for its program.
_KEPT: Final = ("/pipx/venvs/", "/uv/tools/")


def vanishing(program: str, *, temporary: str, is_in_venv: bool) -> str:
    """Say if *program*, by its real path, may be gone one day; often nothing.

    *temporary* is the folder for what is.
    """
    emptied = (*_EMPTIED, f"{temporary.rstrip('/')}/")
    if program.startswith(emptied) or any(part in program for part in _ONE_RUN):
        return (
            f"{program} is in a place that is emptied, and the service is gone with it: install "
            "bridge for good, as with: pipx install"
        )
    if is_in_venv and not any(part in program for part in _KEPT):
        return f"the service runs from the virtual environment of {program}: it is gone with that"
    return ""


def unseen(names: Iterable[str]) -> str:
    """Say that the service does not see the shell's keys in *names*, variables; often nothing."""
    listed = ", ".join(names)
    if not listed:
        return ""
    return (
        f"the service does not see {listed} of this shell: put each key into a file, "
        "see: bridge providers"
    )


def withheld(names: Iterable[str]) -> str:
    """Say that the variables *names* hold a password and stay behind; often nothing."""
    listed = ", ".join(names)
    if not listed:
        return ""
    return (
        f"{listed} has a password in it, which is not written into a unit: for a proxy, set "
        "network.proxy in the configuration"
    )


def loosened(files: Iterable[str], calls: Iterable[str]) -> str:
    """Say which restrictions are left out, for the sake of programs that fetch keys."""
    if listed := ", ".join(calls):
        return f"the service is not confined, for {listed} would not work then"
    if listed := ", ".join(files):
        return f"the service may write everywhere you may, for {listed} may have to"
    return ""
