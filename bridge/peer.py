"""Asks the kernel who owns a loopback TCP socket (Linux, netlink ``SOCK_DIAG``, sock_diag(7)).

The guard asks it once per connection, ``--check`` before it trusts a listener, a failed start to
name the stranger on the port. The room knows nothing of HTTP, providers or policy: it tells what
the kernel says, and ``None`` where the kernel cannot say.

``--check`` runs through here before every launch of an agent, so the room imports only what costs
next to nothing: ``_socket`` instead of ``socket`` (which draws in ``enum`` and ``selectors``: 7 ms
where a bare interpreter takes 10, measured 2026-11-20).
"""

# pathlib is more than --check can afford.
# ruff: noqa: PTH115, PTH123, PTH208

from __future__ import annotations

import _socket
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    Address = tuple[str, int] | tuple[str, int, int, int]

SOCK_DIAG: Final = 4  # NETLINK_SOCK_DIAG, the protocol
SOCK_DIAG_BY_FAMILY: Final = 20  # the message type
NLM_F_REQUEST: Final = 1
TCP_LISTEN: Final = 10
ALL_STATES: Final = 0xFFFFFFFF
NO_COOKIE: Final = b"\xff" * 8
MAPPED: Final = bytes(10) + b"\xff\xff"  # ::ffff:0:0/96, IPv4 in IPv6

# nlmsghdr, inet_diag_req_v2; then nlmsghdr, inet_diag_msg (linux/inet_diag.h)
REQUEST: Final = struct.Struct("=IHHII BBBBI 4s16s16sI8s")
REPLY: Final = struct.Struct("=4xH10x xB62xII")  # message type; state, uid, inode


class Owner:
    """Who owns a socket: the user's *uid*, and the socket's *inode* by which a process is found."""

    __slots__ = ("inode", "uid")

    def __init__(self, uid: int, inode: int) -> None:
        self.uid = uid
        self.inode = inode

    def __repr__(self) -> str:
        return f"Owner(uid={self.uid}, inode={self.inode})"


def owner(local: Address, remote: Address) -> Owner | None:
    """Return who owns the other end of the connection from *local* (ours) to *remote* (theirs).

    ``None`` is "unknown" and must be refused: no such socket on this machine, a socket that its
    process has already closed (the kernel shows it as uid 0), or a kernel that does not answer.
    Takes about 5 µs, whatever the number of connections. Not for several threads at once.
    """
    return _find(remote, local, listening=False)


def listener(host: str, port: int) -> Owner | None:
    """Return who owns the socket that takes new connections to *host* and *port*.

    A socket that listens on all addresses counts; ``None``: nobody listens, or nobody can tell.
    """
    anywhere = "::" if ":" in host else "0.0.0.0"
    return _find((host, port), (anywhere, 0), listening=True)


def can_tell() -> bool:
    """Return whether the kernel names the owner of a connection, by trying with one of our own.

    It does not on macOS, in gVisor, or where a sandbox forbids ``AF_NETLINK``.
    """
    try:
        found = _trial()
    except OSError:
        return False
    return found is not None and found.uid == os.geteuid()


def process_of(inode: int) -> tuple[int, str] | None:
    """Return number and name of a process that holds the socket *inode*, the oldest number first.

    Only root sees the processes of other users. Takes milliseconds: for error messages.
    """
    wanted = f"socket:[{inode}]"
    try:
        numbers = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
    except OSError:
        return None
    for pid in numbers:
        if _holds(pid, wanted):
            return pid, _name(pid)
    return None


class _Kernel:
    """One netlink socket for the life of the process, opened when first needed."""

    __slots__ = ("_pid", "_sequence", "_socket")

    def __init__(self) -> None:
        self._socket: _socket.socket | None = None
        self._pid = 0
        self._sequence = 0

    def ask(self, family: int, ports: bytes, source: bytes, destination: bytes) -> bytes:
        """Return the kernel's answer about one socket; raises ``OSError`` if there is none."""
        self._sequence = sequence = (self._sequence + 1) & 0xFFFFFFFF
        request = REQUEST.pack(
            *(REQUEST.size, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, sequence, 0),
            *(family, _socket.IPPROTO_TCP, 0, 0, ALL_STATES),
            *(ports, source, destination, 0, NO_COOKIE),
        )
        try:
            kernel = self._open()
            kernel.send(request)
            # The kernel has queued its answer before send() returns, so this never has to wait.
            while int.from_bytes((reply := kernel.recv(8192))[8:12], _ORDER) != sequence:
                continue
        except OSError:
            self._close()
            raise
        return reply

    def _open(self) -> _socket.socket:
        if self._socket is not None and self._pid == os.getpid():
            return self._socket
        if self._socket is not None:
            # After a fork, parent and child would read each other's answers. Not closed: a daemon
            # has closed all that it inherited, and the number may be another file's by now.
            self._socket.detach()
            self._socket = None
        opened = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW, SOCK_DIAG)
        opened.settimeout(0)
        # Connected to the kernel (port 0), the socket takes no message from another process.
        opened.connect((0, 0))
        self._socket, self._pid = opened, os.getpid()
        return opened

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None


_ORDER: Final = "little" if struct.pack("=H", 1) == b"\x01\x00" else "big"
_kernel: Final = _Kernel()


def _trial() -> Owner | None:
    """Return who opened a connection that we open to ourselves."""
    door = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    caller = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    try:
        door.bind(("127.0.0.1", 0))
        door.listen(1)
        caller.connect(door.getsockname())
        return owner(caller.getpeername(), caller.getsockname())
    finally:
        caller.close()
        door.close()


def _find(source: Address, destination: Address, *, listening: bool) -> Owner | None:
    if not hasattr(_socket, "AF_NETLINK"):
        return None
    family, near = _binary(source[0])
    _, far = _binary(destination[0])
    ports = source[1].to_bytes(2, "big") + destination[1].to_bytes(2, "big")
    try:
        reply = _kernel.ask(family, ports, near, far)
    except OSError:
        return None
    if len(reply) < REPLY.size:  # an error message: the kernel knows no such socket
        return None
    kind, state, uid, inode = REPLY.unpack_from(reply)
    # Asked for a connection that is gone, the kernel names whoever listens at its source instead.
    if kind != SOCK_DIAG_BY_FAMILY or inode == 0 or listening != (state == TCP_LISTEN):
        return None
    return Owner(uid, inode)


def _binary(host: str) -> tuple[int, bytes]:
    """Return family and the 16 bytes in which the kernel's message carries the address *host*."""
    if ":" not in host:
        return _socket.AF_INET, _socket.inet_pton(_socket.AF_INET, host) + bytes(12)
    packed = _socket.inet_pton(_socket.AF_INET6, host.partition("%")[0])
    if packed.startswith(MAPPED):
        return _socket.AF_INET, packed[12:] + bytes(12)
    return _socket.AF_INET6, packed


def _holds(pid: int, wanted: str) -> bool:
    folder = f"/proc/{pid}/fd"
    try:
        return any(_link(f"{folder}/{number}") == wanted for number in os.listdir(folder))
    except OSError:  # gone, or another user's
        return False


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:  # closed since it was listed
        return ""


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as comm:
            return comm.read().strip()
    except OSError:
        return "?"
