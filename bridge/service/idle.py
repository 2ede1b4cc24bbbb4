"""Knows a socket unit that waits for its first request, without being that request.

systemd holds the port of an idle unit. Who holds a port the kernel tells without a connection; a
connection would start the daemon. Only ``--check`` without a daemon comes through here, so that
it costs a daemon that serves nothing; only what costs next to nothing is imported all the same.
"""

# pathlib is more than --check can afford.
# ruff: noqa: PTH115, PTH123, PTH208

from __future__ import annotations

import _socket
import os

from bridge import peer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

#: What holds the port of an idle unit, as the kernel shortens its name (proc(5)).
MANAGERS: Final = frozenset({"systemd", "systemd-socket-"})


def idle_socket(port: int) -> bool:
    """Return whether a socket unit of our own user holds *port* and would start the daemon.

    ``False`` where the system does not tell which process listens. The daemon may hold the port
    besides: one that is starting, or leaving.
    """
    try:
        owner = peer.listener("127.0.0.1", port)
    except OverflowError:  # no port number at all
        return False
    if owner is None or owner.uid != os.geteuid():
        return False
    wanted = f"socket:[{owner.inode}]"
    return any(_is_manager(pid) and _holds(pid, wanted) for pid in _listed("/proc"))


def wake(port: int, patience: float) -> None:
    """Let the socket unit on *port* start the daemon, and wait for its first word.

    Whoever answers has not proved anything by that: ``service.probe`` tells. Never raises for what
    it finds.
    """
    request = f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
    connection = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    connection.settimeout(patience)
    try:
        connection.connect(("127.0.0.1", port))
        connection.sendall(request.encode())
        connection.recv(1)
    except OSError:
        pass
    finally:
        connection.close()


def _is_manager(pid: str) -> bool:
    if not pid.isdigit():
        return False
    try:
        with open(f"/proc/{pid}/comm", "rb", buffering=0) as comm:
            return comm.read(64).decode("utf-8", "replace").strip() in MANAGERS
    except OSError:  # it has ended
        return False


def _holds(pid: str, wanted: str) -> bool:
    folder = f"/proc/{pid}/fd"
    return any(_link(f"{folder}/{number}") == wanted for number in _listed(folder))


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:  # gone, or another user's
        return []


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:  # closed since it was listed
        return ""
