"""Tells the service manager how the daemon is: sd_notify(3), datagrams to ``$NOTIFY_SOCKET``.

The manager's variables are taken out of the environment, so that no program that the daemon runs
speaks in its name. Whoever is told nothing (no manager) costs nothing. A datagram that the manager
does not take is lost and delays nobody.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, MutableMapping
from typing import Final, Self

from bridge.clock import Clock

VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
#: Seconds between two looks at the status, where the watchdog asks for no shorter ones.
BEAT_SECONDS: Final = 15.0
#: For so many beats a stop that takes its time asks for patience.
PATIENCE_BEATS: Final = 3


class Notifier:
    """The daemon's word to its manager, at *address*; an empty one is nobody.

    *watchdog* is the number of seconds after which the manager takes silence for a hang.
    """

    def __init__(self, address: str, clock: Clock, watchdog: float | None = None) -> None:
        self._clock = clock
        self._status = ""
        self._feeds = watchdog is not None
        self._seconds = min(BEAT_SECONDS, (watchdog or 2 * BEAT_SECONDS) / 2)
        self._leaving_until = 0.0
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket: socket.socket | None = None
        if address[:1] in {"/", "@"}:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)  # noqa: FBT003

    @classmethod
    def taken(cls, environment: MutableMapping[str, str], clock: Clock) -> Self:
        """Return the word to the manager that *environment* names, and remove it from there."""
        address, period, process = (environment.pop(name, "") for name in VARIABLES)
        ours = process in {"", str(os.getpid())}
        watched = ours and period.isdecimal() and int(period) > 0
        return cls(address, clock, int(period) / 1e6 if watched else None)

    def __bool__(self) -> bool:
        """Whether there is a manager."""
        return self._socket is not None

    def ready(self, status: str) -> None:
        """Say that requests are answered: after the start, and after each reload."""
        self._status = status
        self._send("READY=1", f"MAINPID={os.getpid()}", _status(status))

    def reloading(self) -> None:
        """Say that the configuration is being read again; :meth:`ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={int(self._clock.monotonic() * 1e6)}")

    def stopping(self, status: str, seconds: float) -> None:
        """Say that the daemon is leaving, which may take *seconds*; beats ask for them."""
        self._leaving_until = self._clock.monotonic() + seconds
        self._status = status
        self._send("STOPPING=1", _status(status), *self._patience())

    def status(self, status: str) -> None:
        """Say in words how the daemon is, if that has changed."""
        if status != self._status:
            self._status = status
            self._send(_status(status))

    async def beat(self, status: Callable[[], str]) -> None:
        """Feed the watchdog and tell *status* at a steady pace, until cancelled.

        It is the event loop that feeds: one that hangs falls silent. Without a manager there is
        nothing to do.
        """
        while self:
            if not self._leaving_until:
                self.status(status())
            self._send(*(["WATCHDOG=1"] if self._feeds else []), *self._patience())
            await self._clock.sleep(self._seconds)

    def close(self) -> None:
        """Say no more."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _patience(self) -> list[str]:
        """Ask for time to leave, as long as leaving is not overdue: the manager then ends it."""
        if self._clock.monotonic() >= self._leaving_until:
            return []
        return [f"EXTEND_TIMEOUT_USEC={int(PATIENCE_BEATS * self._seconds * 1e6)}"]

    def _send(self, *words: str) -> None:
        if self._socket is not None and words:
            # Gone, full or forbidden: the daemon serves agents, and a manager only by the way.
            with contextlib.suppress(OSError):
                self._socket.sendto("\n".join(words).encode(), self._address)


def _status(text: str) -> str:
    return f"STATUS={' '.join(text.split())}"
