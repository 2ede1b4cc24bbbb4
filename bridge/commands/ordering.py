"""Works out what a service manager is to run here, and which manager that is."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from bridge import __version__
from bridge.clock import SystemClock
from bridge.commands.shell import executable
from bridge.providers import Auth, Provider
from bridge.service.catalogue import rows
from bridge.service.settings import Settings
from bridge.units import caution, launchctl, launchd, order, systemctl, systemd
from bridge.units.folder import Folder
from bridge.units.launchctl import Launchd
from bridge.units.order import Made, Order
from bridge.units.program import Programs
from bridge.units.systemctl import Systemd

Options = Mapping[str, object]

_SET_ID: Final = stat.S_ISUID | stat.S_ISGID
#: Programs that start others in namespaces of their own, or by a helper that is setuid.
_LAUNCHERS: Final = frozenset({"bwrap", "flatpak", "snap"})
_CLOCK: Final = SystemClock()


def ordered(settings: Settings, options: Options) -> Order:
    """Return what is to be run: this installation, with what *settings* and *options* say."""
    environment, paths = settings.environment, settings.paths
    programs = order.key_programs(_keyed(settings))
    carried = order.carried(environment, options, _account_home())
    if any("/" not in program for program in programs):  # a manager's own PATH is short
        carried["PATH"] = environment.get("PATH", os.defpath)
    return Order(
        program=executable(sys.argv[0]),
        version=__version__,
        port=settings.config.server.port,
        environment=carried,
        writes=order.written(paths.log, paths.key, paths.pid_file, paths.kimi_share),
        ipv6=_has_ipv6(),
        confines_files=not programs,
        confines_calls=not list(_privileged(programs)),
        logs=f"{environment['HOME'].rstrip('/')}/Library/Logs",
    )


def cautions(settings: Settings, wanted: Order) -> list[str]:
    """Return what the person should know before a service runs as *wanted*."""
    environment = settings.environment
    programs = order.key_programs(_keyed(settings))
    real = Path(wanted.program).resolve()
    worded = (
        caution.vanishing(
            str(real),
            temporary=tempfile.gettempdir(),
            is_in_venv=(real.parent.parent / "pyvenv.cfg").exists(),
        ),
        caution.unseen(order.key_variables(_keyed(settings), environment)),
        caution.withheld(order.withheld(environment)),
        caution.loosened(programs, _privileged(programs)),
    )
    return [each for each in worded if each]


def managed(environment: Mapping[str, str], *, is_dry: bool = False) -> Systemd | Launchd:
    """Return the service manager of this machine: launchd where its program is, else systemd.

    Each change it makes is told on standard output; with *is_dry* that is all.
    """

    def tell(what: str) -> None:
        print(f"bridge: {'would ' if is_dry else ''}{what}")

    if shutil.which("launchctl"):
        programs = Programs(environment, tell, launchctl.LOOK, is_dry=is_dry)
        agents = Folder(launchctl.folder(environment), launchd.made, tell, is_dry=is_dry)
        return Launchd(programs, agents, _CLOCK)
    programs = Programs(environment, tell, systemctl.LOOK, is_dry=is_dry)
    units = Folder(systemctl.folder(environment), _made, tell, is_dry=is_dry)
    return Systemd(programs, units)


def _made(content: bytes) -> Made | None:
    return systemd.made(content.decode("utf-8", "replace"))


def _keyed(settings: Settings) -> list[Provider]:
    """Return the rows in force whose key bridge looks for."""
    return [row for row in rows(settings, {}).values() if row.auth is Auth.KEY]


def _privileged(programs: Iterable[str]) -> Iterator[str]:
    """Yield those of *programs* that take another user, another group or namespaces to run."""
    for program in programs:
        path = Path(shutil.which(program) or program).resolve()
        with contextlib.suppress(OSError):
            if path.name in _LAUNCHERS or path.stat().st_mode & _SET_ID:
                yield program


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as trial:
            trial.bind(("::1", 0))
    except OSError:
        return False
    return True


def _account_home() -> str:
    """Return the home that service managers know: the account's."""
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return ""
