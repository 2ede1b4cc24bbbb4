"""Knows who keeps the daemon, and asks that one to stop or start it, so that it stays theirs.

A service manager is only asked about a daemon that it says is its own: units of the same name may
run another. One that cannot be asked (no bus, another login) is done without.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bridge.service.record import FOREGROUND, LAUNCHD, SYSTEMD, Record
from bridge.units.label import LABEL, SERVICE

#: Seconds in which a manager answers a question; a job that it is given runs on by itself.
SECONDS: Final = 10.0


def keeper(environment: Mapping[str, str]) -> str:
    """Return who keeps this process, which runs in the foreground, as a ``Record`` names it.

    What a terminal inherits from the desktop's own units does not count: ``NOTIFY_SOCKET`` and
    ``SYSTEMD_EXEC_PID`` are the process's own.
    """
    if environment.get("NOTIFY_SOCKET"):
        return SYSTEMD
    if environment.get("SYSTEMD_EXEC_PID") == str(os.getpid()):
        return SYSTEMD
    return LAUNCHD if environment.get("XPC_SERVICE_NAME") == LABEL else FOREGROUND


def stopped(record: Record) -> bool:
    """Return whether the manager of the daemon of *record* has taken on to stop it.

    ``False``: there is none, it cannot be asked, or it is stopping it already, and a signal of our
    own may add to that.
    """
    return _kept_by_systemd(record) and _systemctl("stop")


def restarted(record: Record) -> bool:
    """Return whether the manager of the daemon of *record* has taken on to restart it."""
    return _kept_by_systemd(record) and _systemctl("restart")


def started(record: Record) -> bool:
    """Return whether the manager that kept the daemon of *record* has taken on to start another.

    systemd is not asked here: it restarts what is its own in one go.
    """
    if record.keeper != LAUNCHD:
        return False
    return _asked("launchctl", "kickstart", f"gui/{os.getuid()}/{LABEL}") is not None


def comes_back(environment: Mapping[str, str]) -> str:
    """Say when a service manager starts a daemon by itself and what ends that; often nothing."""
    home = Path(environment.get("HOME", "/"))
    if sys.platform == "darwin":
        enabled = home / f"Library/LaunchAgents/{LABEL}.plist"
    else:
        units = Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "systemd/user"
        enabled = units / "default.target.wants" / SERVICE
    if not os.path.lexists(enabled):
        return ""
    manager = "launchd" if sys.platform == "darwin" else "systemd"
    return f"{manager} starts it at your next login; to end that: bridge service uninstall"


def _kept_by_systemd(record: Record) -> bool:
    """Return whether systemd runs that very process as its service, and is not ending it yet."""
    if record.keeper != SYSTEMD:
        return False
    asked = _asked("systemctl", "--user", "show", "--property=MainPID,ActiveState", SERVICE)
    facts = dict(line.partition("=")[::2] for line in (asked or "").splitlines())
    ours = facts.get("MainPID") == str(record.pid)
    return ours and facts.get("ActiveState") in {"active", "reloading"}


def _systemctl(verb: str) -> bool:
    return _asked("systemctl", "--user", "--no-block", verb, SERVICE) is not None


def _asked(*words: str) -> str | None:
    """Return what a manager's own program prints, ``None`` where it fails or is not there."""
    environment = dict(os.environ)
    runtime = f"/run/user/{os.getuid()}"
    if not environment.get("XDG_RUNTIME_DIR") and Path(runtime).is_dir():  # cron, su
        environment["XDG_RUNTIME_DIR"] = runtime
    try:
        done = subprocess.run(  # noqa: S603 - the words are this room's own
            words,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
