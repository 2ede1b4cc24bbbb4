"""Installs the daemon with the user's systemd: its files, and the calls of ``systemctl``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bridge.errors import ServiceError
from bridge.units import systemd
from bridge.units.folder import Folder
from bridge.units.label import SERVICE, SOCKET
from bridge.units.order import Order
from bridge.units.program import Programs
from bridge.units.shipped import template
from bridge.units.state import State

#: Where a person looks when the service does not start.
LOOK: Final = f"journalctl --user -u {SERVICE} -n 20"
#: Where ``systemctl enable`` puts its links.
LINKS: Final = (f"default.target.wants/{SERVICE}", f"sockets.target.wants/{SOCKET}")
_ASKED: Final = "Id,LoadState,UnitFileState,ActiveState,MainPID,Result,FragmentPath"


class Systemd:
    """The user's systemd, with its unit *folder* and the *programs* that speak to it."""

    name: Final = "systemd"

    def __init__(self, programs: Programs, folder: Folder) -> None:
        self.programs = programs
        self._folder = folder

    def answers(self) -> bool:
        """Return whether there is a user manager to speak to."""
        return self.programs.ask("systemctl", "--user", "show", "--property=Version").code == 0

    def require(self) -> None:
        """Raise ``ServiceError`` where no user manager answers."""
        if self.answers():
            return
        runtime = self.programs.environment.get("XDG_RUNTIME_DIR")
        where = f"XDG_RUNTIME_DIR is {runtime}" if runtime else "XDG_RUNTIME_DIR is not set"
        raise ServiceError(
            f"no systemd user manager answers ({where}): log in as this user without su or sudo, "
            "or run: loginctl enable-linger; by hand the daemon starts with: bridge"
        )

    def cautions(self) -> list[str]:
        """Return what the person should know of this manager."""
        asked = self.programs.ask("loginctl", "show-user", str(os.getuid()), "--property=Linger")
        if asked.output.strip() != "Linger=no":
            return []
        return ["the service ends when you log out: to keep it, run: loginctl enable-linger"]

    def units(self, order: Order, *, socket: bool) -> dict[str, bytes]:
        """Return the unit files for *order*, by name."""
        texts = {SERVICE: systemd.service(template(SERVICE), order)}
        if socket:
            texts[SOCKET] = systemd.socket(template(SOCKET), order)
        return {name: text.encode() for name, text in texts.items()}

    def write(self, order: Order, *, socket: bool) -> bool:
        """Write the units for *order* and remove a socket unit of ours that is not wanted.

        Return whether anything changed. Raises ``ServiceError`` and writes nothing where a file of
        somebody else's is in the way.
        """
        self._claim()
        is_changed = False
        if not socket and self._folder.content(SOCKET) is not None:
            self.programs.do("systemctl", "--user", "disable", "--now", SOCKET)
            is_changed = self._folder.remove(SOCKET)
        for name, content in self.units(order, socket=socket).items():
            is_changed |= self._folder.write(name, content)
        return is_changed

    def start(self, *, socket: bool, afresh: bool) -> None:
        """Enable and start what was written; *afresh* ends first what runs by older units.

        Raises ``ServiceError`` if it does not start.
        """
        facts = self._facts()
        self._systemctl("daemon-reload")
        if not self.programs.is_dry:
            self._check_place()
        self.programs.attempt("systemctl", "--user", "reset-failed", SERVICE)
        runs = facts.get(SERVICE, {}).get("ActiveState") in {"active", "activating", "reloading"}
        if socket:
            self._start_socket(facts, afresh=afresh, runs=runs)
        else:
            self._systemctl("enable", SERVICE)
            self._systemctl("restart" if afresh and runs else "start", SERVICE)

    def uninstall(self) -> bool:
        """Stop, disable and remove what is there; return whether there was anything.

        Raises ``ServiceError`` where a file is somebody else's.
        """
        self._claim()
        names = [name for name in (SOCKET, SERVICE) if self._folder.content(name) is not None]
        answers = self.answers()
        if names and answers:
            self._systemctl("disable", "--now", *names)
        links = self._folder.remove(*LINKS)
        removed = self._folder.remove(*names)
        if removed and answers:
            self._systemctl("daemon-reload")
            self.programs.attempt("systemctl", "--user", "reset-failed", *names)
        return removed or links

    def state(self) -> State:
        """Return how the service stands."""
        names = [name for name in (SERVICE, SOCKET) if self._folder.content(name) is not None]
        facts = self._facts()
        service, socket = facts.get(SERVICE, {}), facts.get(SOCKET, {})
        enabled = [each.get("UnitFileState") == "enabled" for each in (service, socket)]
        failed = service.get("ActiveState") == "failed"
        return State(
            files=tuple(str(self._folder.path / name) for name in names),
            made=self._folder.made(SERVICE),
            is_enabled=any(enabled),
            active=service.get("ActiveState", "unknown"),
            pid=int(service.get("MainPID") or 0),
            reason=service.get("Result", "") if failed else "",
            socket=socket.get("ActiveState", "unknown") if SOCKET in names else "",
        )

    def _start_socket(self, facts: dict[str, dict[str, str]], *, afresh: bool, runs: bool) -> None:
        listens = facts.get(SOCKET, {}).get("ActiveState") == "active"
        if facts.get(SERVICE, {}).get("UnitFileState") == "enabled":
            self._systemctl("disable", SERVICE)
        self._systemctl("enable", SOCKET)
        if runs and (afresh or not listens):  # it would keep the port from the socket unit
            self._systemctl("stop", SERVICE)
        self._systemctl("restart" if afresh and listens else "start", SOCKET)

    def _check_place(self) -> None:
        """Raise ``ServiceError`` if systemd does not read what was written."""
        found = self._facts().get(SERVICE, {}).get("FragmentPath", "")
        written = self._folder.path / SERVICE
        if os.path.realpath(found or "/") != os.path.realpath(written):
            raise ServiceError(
                f"systemd does not read {written} (but {found or 'nothing'}): set XDG_CONFIG_HOME "
                "to what it is at login, then try again"
            )

    def _claim(self) -> None:
        for name in (SERVICE, SOCKET):
            self._folder.claim(name)

    def _systemctl(self, *words: str) -> None:
        self.programs.do("systemctl", "--user", *words)

    def _facts(self) -> dict[str, dict[str, str]]:
        """Return what systemd says of both units, by name; nothing where it does not answer."""
        words = ("systemctl", "--user", "show", f"--property={_ASKED}", SERVICE, SOCKET)
        blocks = self.programs.ask(*words).output.split("\n\n")
        facts = [
            dict(line.partition("=")[::2] for line in block.splitlines() if line)
            for block in blocks
        ]
        return {each["Id"]: each for each in facts if "Id" in each}


def folder(environment: Mapping[str, str]) -> Path:
    """Return where the user's systemd looks for units of the user's own."""
    base = environment.get("XDG_CONFIG_HOME", "")
    config = Path(base) if base.startswith("/") else Path(environment["HOME"]) / ".config"
    return config / "systemd/user"
