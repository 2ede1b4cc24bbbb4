"""Opens the front door: listening sockets on loopback, or a line that says who stands in it.

The port is ours or we say so: never a second choice, for clients have the number in their
settings. The room knows nothing of HTTP, nor who may call.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from bridge import peer
from bridge.errors import PortTaken, ServiceError
from bridge.service.idle import idle_socket

LOOPBACK: Final = ("127.0.0.1", "::1")
#: Clients that connect during a start wait here; the kernel cuts it to net.core.somaxconn.
BACKLOG: Final = 4096
#: The program that bridge replaces; it uses the same port.
PREDECESSOR: Final = "kimi-proxy"

NO_SUCH_ADDRESS: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


def bind(port: int, addresses: Iterable[str] = LOOPBACK) -> list[socket.socket]:
    """Return sockets that listen on *port* of all *addresses*, non-blocking; all of them or none.

    Port 0 takes any free port, the same for all. An IPv6 address is left out where the machine has
    no such address. Raises ``PortTaken``, naming the owner where the system tells, and
    ``ServiceError`` where the port may not be had.
    """
    if not 0 <= port <= 65535:
        raise ServiceError(f"port {port} does not exist: choose one from 1024 to 65535")
    with contextlib.ExitStack() as opened:
        sockets: list[socket.socket] = []
        for address in addresses:
            listening = _listen(address, port or (_port(sockets[0]) if sockets else 0))
            if listening is not None:
                sockets.append(opened.enter_context(listening))
        opened.pop_all()
    return sockets


def _listen(address: str, port: int) -> socket.socket | None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            _open(listening, address, port)
        except BaseException:  # whatever it was, the socket must not stay open unowned
            listening.close()
            raise
    except OSError as error:
        if family == socket.AF_INET6 and error.errno in NO_SUCH_ADDRESS:
            return None
        raise _refusal(address, port, error) from None
    return listening


def _open(listening: socket.socket, address: str, port: int) -> None:
    listening.settimeout(0)
    # Connections of the last daemon in TIME_WAIT must not keep the next one out.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if listening.family == socket.AF_INET6:
        listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listening.bind((address, port))
    # At once: with SO_REUSEADDR two can bind the same port as long as neither listens.
    listening.listen(BACKLOG)


def _refusal(address: str, port: int, error: OSError) -> ServiceError:
    place = f"port {port} on {address}"
    if error.errno == errno.EADDRINUSE:
        return PortTaken(f"{place} is taken by {_owner(address, port)}")
    if error.errno == errno.EACCES:
        return ServiceError(f"{place} is for root only: choose one above 1023 (server.port)")
    return ServiceError(
        f"{place} cannot be opened ({error.strerror}): choose another (server.port)"
    )


def _owner(address: str, port: int) -> str:
    """Say whose the port is, as far as the system tells, and what to do about it."""
    choose = "or choose another port (server.port)"
    owner = peer.listener(address, port)
    process = peer.process_of(owner.inode) if owner else None
    if owner is not None and process is None:
        # The kernel names the user, but shows the user's processes to nobody else.
        return f"a program of user {_user(owner.uid)}: have it stopped there, {choose}"
    if old := _predecessor(process[0] if process else None):
        return f"the old {PREDECESSOR} (pid {old}): stop it with: {PREDECESSOR} --stop"
    if owner is None or process is None:
        return f"another program: stop it, {choose}"
    pid, name = process
    if idle_socket(port):
        return (
            "systemd, whose socket unit starts bridge at the first request: let it, or stop it "
            f"with: systemctl --user stop bridge.socket, {choose}"
        )
    return f"{name} (pid {pid}, user {_user(owner.uid)}): stop it with: kill {pid}, {choose}"


def _predecessor(pid: int | None) -> int | None:
    """Return the number of the old proxy if process *pid* is it; ``None`` is any that lives.

    It is a script: its process is called python, so its command line and its PID file count.
    """
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:3]
        if any(word.rpartition(b"/")[2] == PREDECESSOR.encode() for word in words):
            return pid
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        recorded = int((Path.home() / f".local/run/{PREDECESSOR}.pid").read_text())
        os.kill(recorded, 0)
        return recorded if pid in {None, recorded} else None
    return None


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _port(listening: socket.socket) -> int:
    port: int = listening.getsockname()[1]
    return port
