"""The verbs that put the service in place: install, uninstall, print; ``standing`` has status."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bridge import __version__
from bridge.clock import SystemClock
from bridge.commands import daemon
from bridge.commands.ordering import cautions, managed, ordered
from bridge.commands.standing import status
from bridge.credentials.ownership import make_folder
from bridge.errors import ServiceError
from bridge.service.idle import wake
from bridge.service.listen import bind
from bridge.service.pidfile import HELD, look
from bridge.service.probe import SERVING, probe
from bridge.service.record import Record
from bridge.service.settings import Settings, load, locate
from bridge.units.launchctl import Launchd
from bridge.units.systemctl import Systemd

__all__ = ["install", "show", "status", "uninstall"]

Options = Mapping[str, object]

POLL_SECONDS: Final = 0.05

_CLOCK = SystemClock()


def install(options: Options, *, socket: bool, dry_run: bool) -> int:
    """Write the units, enable and start them; return when the daemon answers.

    A daemon that was started by hand is stopped first: its streams end. With *dry_run* nothing is
    changed, and it is said what would be.
    """
    _refuse_sudo(os.environ)
    settings = load(options)
    order = ordered(settings, options)
    manager = managed(settings.environment, is_dry=dry_run)
    manager.units(order, socket=socket)  # what cannot be written is told before anything is done
    _check_port(settings)
    if not dry_run:
        manager.require()
    for caution in (*cautions(settings, order), *manager.cautions()):
        print(f"bridge: mind: {caution}", file=sys.stderr)
    is_changed = manager.write(order, socket=socket)
    if not dry_run:
        for folder in order.writes:  # systemd lets the daemon write to what is there
            make_folder(Path(folder))
    _take_over(manager, settings, options, dry_run=dry_run)
    manager.start(socket=socket, afresh=is_changed or _is_old(settings))
    if not dry_run:
        print(f"bridge: {_verified(manager, settings, socket=socket)}")
    return 0


def uninstall(options: Options, *, dry_run: bool) -> int:
    """Stop the service and remove its units; login, configuration and log stay as they are."""
    _refuse_sudo(os.environ)
    paths = locate(options)
    manager = managed(dict(os.environ), is_dry=dry_run)
    if not manager.uninstall():
        print("bridge: the service is not installed")
    elif not dry_run:
        print("bridge: the service is gone; login, configuration and log are as they were")
        kind, record = look(paths.pid_file)
        if kind == HELD and record is not None:
            print(f"bridge: a daemon still runs (pid {record.pid}): to stop it, run: bridge --stop")
    return 0


def show(options: Options, *, socket: bool) -> int:
    """Print the units as install would write them."""
    settings = load(options)
    manager = managed(settings.environment, is_dry=True)
    texts = manager.units(ordered(settings, options), socket=socket)
    print("\n".join(text.decode() for text in texts.values()), end="")
    return 0


def _refuse_sudo(environment: Mapping[str, str]) -> None:
    """Raise ``ServiceError`` under sudo: the service would be root's, and not the person's."""
    if os.geteuid() == 0 and environment.get("SUDO_UID", "0") != "0":
        raise ServiceError("this is sudo: run it without, as the user whose agents it serves")


def _check_port(settings: Settings) -> None:
    """Raise ``PortTaken``, naming the owner, if a stranger has the port."""
    path, port = settings.paths.pid_file, settings.config.server.port
    if _running(settings) is None and not probe(path, port).idle:
        for opened in bind(port):
            opened.close()


def _take_over(
    manager: Systemd | Launchd, settings: Settings, options: Options, *, dry_run: bool
) -> None:
    """Stop a daemon that the manager does not keep; its streams may end first."""
    record = _running(settings)
    if record is None or record.pid == manager.state().pid:
        return
    print(
        f"bridge: {'would stop' if dry_run else 'stopping'} the running daemon (pid {record.pid})"
    )
    if not dry_run:
        daemon.stop(options)


def _is_old(settings: Settings) -> bool:
    """Return whether the daemon that runs is of another version than this."""
    record = _running(settings)
    return record is not None and record.version != __version__


def _running(settings: Settings) -> Record | None:
    kind, record = look(settings.paths.pid_file)
    return record if kind == HELD else None


def _verified(manager: Systemd | Launchd, settings: Settings, *, socket: bool) -> str:
    """Return what ``--check`` says once it is good; raises ``ServiceError`` if it is not soon."""
    port = settings.config.server.port
    if socket:
        wake(port, daemon.START_SECONDS)
    deadline = _CLOCK.monotonic() + daemon.START_SECONDS
    while (answer := probe(settings.paths.pid_file, port)).code != SERVING:
        if _CLOCK.monotonic() >= deadline:
            raise ServiceError(
                f"{manager.name} has the service, but it does not serve ({answer.line}): "
                f"see: {manager.programs.look}"
            )
        _CLOCK.pause(POLL_SECONDS)
    return answer.line
