"""Installs the daemon with launchd: its agent, and the calls of ``launchctl``."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bridge.clock import Clock
from bridge.errors import ServiceError, UsageError
from bridge.units import launchd
from bridge.units.folder import Folder
from bridge.units.label import LABEL
from bridge.units.order import Order
from bridge.units.program import JOB_SECONDS, Programs
from bridge.units.shipped import template
from bridge.units.state import State

AGENT: Final = f"{LABEL}.plist"
#: Where a person looks when the service does not start.
LOOK: Final = f"launchctl print gui/$UID/{LABEL}"
#: Seconds between two looks whether an agent is gone: launchd says so before its process has ended.
LOOK_SECONDS: Final = 0.2
_FACT: Final = re.compile(r"^\s*(state|pid|last exit code) = (.+)$", re.MULTILINE)


class Launchd:
    """The user's launchd, with its *folder* of agents and the *programs* that speak to it."""

    name: Final = "launchd"

    def __init__(self, programs: Programs, folder: Folder, clock: Clock) -> None:
        self.programs = programs
        self._folder = folder
        self._clock = clock
        self._domain = f"gui/{os.getuid()}"
        self._target = f"{self._domain}/{LABEL}"

    def answers(self) -> bool:
        """Return whether there is a session to speak to."""
        return self.programs.ask("launchctl", "print", self._domain).code == 0

    def require(self) -> None:
        """Raise ``ServiceError`` where this user has no session at the screen."""
        if not self.answers():
            raise ServiceError(
                f"launchd has no session {self._domain}: log in at the screen and try again there, "
                "or start the daemon by hand with: bridge"
            )

    def cautions(self) -> list[str]:
        """Return what the person should know of this manager."""
        return []

    def units(self, order: Order, *, socket: bool) -> dict[str, bytes]:
        """Return the agent for *order*, by name. Raises ``UsageError`` for a *socket*."""
        if socket:
            raise UsageError(
                "launchd starts the agent at login, not at the first request: leave out --socket"
            )
        return {AGENT: launchd.agent(template(AGENT), order)}

    def write(self, order: Order, *, socket: bool) -> bool:
        """Write the agent for *order*; return whether that was a change.

        Raises ``ServiceError`` where a file of somebody else's is in the way.
        """
        units = self.units(order, socket=socket)
        self._folder.claim(AGENT)
        return any(self._folder.write(name, content) for name, content in units.items())

    def start(self, *, socket: bool, afresh: bool) -> None:
        """Load and start what was written; *afresh* ends first what runs by an older agent.

        Raises ``ServiceError`` if it does not start.
        """
        del socket
        loaded = self._loaded()
        self.programs.do("launchctl", "enable", self._target)
        if loaded and afresh:
            self._boot_out()
            loaded = False
        if loaded:
            self.programs.do("launchctl", "kickstart", self._target)
        else:
            path = str(self._folder.path / AGENT)
            self.programs.do("launchctl", "bootstrap", self._domain, path)

    def uninstall(self) -> bool:
        """Stop, unload and remove what is there; return whether there was anything.

        Raises ``ServiceError`` where a file is somebody else's.
        """
        self._folder.claim(AGENT)
        loaded = self._loaded()
        if loaded:
            self._boot_out()
        return self._folder.remove(AGENT) or loaded

    def state(self) -> State:
        """Return how the service stands."""
        asked = self.programs.ask("launchctl", "print", self._target)
        facts = dict(_FACT.findall(asked.output)) if asked.code == 0 else {}
        there = self._folder.content(AGENT) is not None
        pid = facts.get("pid", "")
        return State(
            files=(str(self._folder.path / AGENT),) if there else (),
            made=self._folder.made(AGENT),
            is_enabled=asked.code == 0,
            active=facts.get("state", "not loaded"),
            pid=int(pid) if pid.isdecimal() else 0,
            reason="" if pid else facts.get("last exit code", ""),
        )

    def _loaded(self) -> bool:
        return self.programs.ask("launchctl", "print", self._target).code == 0

    def _boot_out(self) -> None:
        self.programs.do("launchctl", "bootout", self._target)
        deadline = self._clock.monotonic() + JOB_SECONDS
        while self._loaded() and not self.programs.is_dry and self._clock.monotonic() < deadline:
            self._clock.pause(LOOK_SECONDS)


def folder(environment: Mapping[str, str]) -> Path:
    """Return where launchd looks for agents of the user's own."""
    return Path(environment["HOME"]) / "Library/LaunchAgents"
