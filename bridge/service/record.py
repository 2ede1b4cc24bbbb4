"""Says which process a daemon is, in words that no other process can ever wear.

A number alone may be recycled, belong to another container, or to another machine on a shared
home; start time, boot and PID namespace beside it make it one process in the world (proc(5)). The
room knows nothing of the file that the words are kept in.

It is on the path of ``--check``, so it imports only what a bare interpreter has already loaded.
"""

# pathlib is more than --check can afford.
# ruff: noqa: PTH115, PTH123

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

#: Who keeps a daemon: ``bridge`` itself, a terminal, or a service manager.
HAND: Final = "hand"
FOREGROUND: Final = "foreground"
SYSTEMD: Final = "systemd"
LAUNCHD: Final = "launchd"

#: No record and no file of the kernel's that is read here comes near this.
MAX_BYTES: Final = 4096


class Record:
    """What a daemon says about itself for others to find it.

    *start*, *boot* and *pidns* are the kernel's words for when and where the process began (empty
    where there is no ``/proc``); *instance* is a random name that only this daemon and the readers
    of its file know, so that a listener can prove itself. *keeper* says who keeps the daemon
    (empty: a version that did not say), *sockets* whether it opened its door itself ("own") or
    was "passed" it; *stage* is "stopping" from then on.
    """

    __slots__ = (
        *("pid", "start", "boot", "pidns", "host"),
        *("address", "port", "instance", "version", "keeper", "sockets", "stage"),
    )

    def __init__(
        self,
        *,
        pid: int,
        port: int,
        instance: str,
        start: str = "",
        boot: str = "",
        pidns: str = "",
        host: str = "",
        address: str = "127.0.0.1",
        version: str = "",
        keeper: str = "",
        sockets: str = "own",
        stage: str = "",
    ) -> None:
        self.pid = pid
        self.start = start
        self.boot = boot
        self.pidns = pidns
        self.host = host
        self.address = address
        self.port = port
        self.instance = instance
        self.version = version
        self.keeper = keeper
        self.sockets = sockets
        self.stage = stage

    def text(self) -> str:
        """Return the number alone on a line, then ``key=value`` lines."""
        lines = [f"{name}={getattr(self, name)}" for name in self.__slots__[1:]]
        return "\n".join([str(self.pid), *lines, ""])

    def place(self) -> str:
        """Return where it listens, as a URL and a ``Host`` header have it."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"

    def elsewhere(self) -> bool:
        """Return whether the process belongs to another machine, boot or PID namespace."""
        return (self.boot, self.pidns) != (_boot(), _pid_namespace())

    def alive(self) -> bool:
        """Return whether the process with this number is still the one that is meant."""
        if self.elsewhere():
            return False
        if self.start:
            return _start_time(self.pid) == self.start
        try:
            os.kill(self.pid, 0)
        except OSError:
            return False
        return True

    def signal(self, signum: int) -> None:
        """Send *signum* to the process that is meant, and to no other whatever.

        Raises ``ProcessLookupError`` if it is gone, ``PermissionError`` if it is another user's.
        """
        import signal  # noqa: PLC0415 - draws in enum, and --check sends no signal

        descriptor = _process(self.pid)
        try:
            # Looked at with the descriptor open: from now on the number cannot change hands.
            if not self.alive():
                raise ProcessLookupError
            if descriptor is None:
                os.kill(self.pid, signum)
            else:
                signal.pidfd_send_signal(descriptor, signum)
        finally:
            if descriptor is not None:
                os.close(descriptor)


def ourselves(
    *,
    address: str,
    port: int,
    instance: str,
    version: str,
    keeper: str = HAND,
    sockets: str = "own",
) -> Record:
    """Return the record of this process."""
    return Record(
        pid=os.getpid(),
        start=_start_time(os.getpid()),
        boot=_boot(),
        pidns=_pid_namespace(),
        host=os.uname().nodename,
        address=address,
        port=port,
        instance=instance,
        version=version,
        keeper=keeper,
        sockets=sockets,
    )


def parse(content: bytes) -> Record | None:
    """Return the record that *content* holds, or ``None`` if it does not hold a whole one.

    Keys of later versions are passed over.
    """
    first, _, rest = content.decode("ascii", "replace").partition("\n")
    fields = dict(line.partition("=")[::2] for line in rest.splitlines())
    pid, port = _number(first), _number(fields.pop("port", ""))
    if not pid or not port or not fields.get("instance"):
        return None
    known = {name: value for name, value in fields.items() if name in Record.__slots__[1:]}
    return Record(pid=pid, port=port, **known)


def _process(pid: int) -> int | None:
    """Return a descriptor of the process, or ``None`` where there is no such thing."""
    if not hasattr(os, "pidfd_open"):  # macOS
        return None
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        if error.errno in {errno.ENOSYS, errno.EPERM}:  # an old kernel, a sandbox
            return None
        raise


def _number(text: str) -> int:
    """Return *text* as a process or port number can be; 0 is neither."""
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def _boot() -> str:
    return _contents("/proc/sys/kernel/random/boot_id").strip()


def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _start_time(pid: int) -> str:
    """Return field 22 of ``/proc/PID/stat``; the name in field 2 may hold blanks and brackets."""
    fields = _contents(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else ""


def _contents(path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(MAX_BYTES).decode("ascii", "replace")
    except OSError:
        return ""
