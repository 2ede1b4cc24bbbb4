"""Says how a service stands with its manager."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.units.order import Made


@dataclass(frozen=True, slots=True)
class State:
    """How the service stands: *files* are the units that are there, *made* what ours says.

    *active* is the manager's own word for it, *pid* the process that it runs as the daemon (0:
    none), *reason* why it has failed. *socket* is the word for the socket unit, empty where there
    is none.
    """

    files: tuple[str, ...] = ()
    made: Made | None = None
    is_enabled: bool = False
    active: str = ""
    pid: int = 0
    reason: str = ""
    socket: str = ""
