"""Tells who is running: the file that one daemon holds locked for as long as it lives.

The lock (``flock``) says *that* a daemon runs, and the kernel frees it however the daemon ends; the
text says *which*: a number alone may be recycled, belong to another container, or to another
machine on a shared home, so start time, boot and PID namespace stand beside it. The room knows
nothing of HTTP and of what the daemon does.

It is on the path of ``--check``, so it imports only what costs next to nothing.
"""

# pathlib is more than --check can afford.
# ruff: noqa: PTH103, PTH108, PTH115, PTH116, PTH120, PTH123

from __future__ import annotations

import errno
import fcntl
import os
import stat

from bridge.errors import NotRunning, ServiceError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Final

#: The states of a PID file: nothing there; its daemon lives; a file that nobody holds; one that
#: cannot be judged; one that is held on another machine or in another container.
FREE: Final = "free"
HELD: Final = "held"
STALE: Final = "stale"
UNREADABLE: Final = "unreadable"
FOREIGN: Final = "foreign"

#: A probe holds the lock for microseconds, and 13 claims of 2,000 were seen to meet one.
CLAIM_ATTEMPTS: Final = 25
CLAIM_PAUSE_SECONDS: Final = 0.01
MAX_BYTES: Final = 4096

READ_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
CLAIM_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class Record:
    """What a PID file says about the daemon that wrote it.

    *start*, *boot* and *pidns* are the kernel's words for when and where the process began (empty
    where there is no ``/proc``); *instance* is a random name that only this daemon and the readers
    of the file know, so that a listener can prove itself.
    """

    __slots__ = (
        *("pid", "start", "boot", "pidns", "host"),
        *("address", "port", "instance", "version"),
    )

    def __init__(
        self,
        *,
        pid: int,
        port: int,
        start: str = "",
        boot: str = "",
        pidns: str = "",
        host: str = "",
        address: str = "127.0.0.1",
        instance: str = "",
        version: str = "",
    ) -> None:
        self.pid = pid
        self.port = port
        self.start = start
        self.boot = boot
        self.pidns = pidns
        self.host = host
        self.address = address
        self.instance = instance
        self.version = version

    def text(self) -> str:
        """Return the content of the PID file: the number alone, then ``key=value`` lines."""
        lines = [f"{name}={getattr(self, name)}" for name in self.__slots__[1:]]
        return "\n".join([str(self.pid), *lines, ""])

    def elsewhere(self) -> bool:
        """Return whether the daemon belongs to another boot, machine or PID namespace."""
        return (self.boot, self.pidns) != (_boot(), _pid_namespace())

    def alive(self) -> bool:
        """Return whether the process with this number is still the one that wrote the file."""
        if self.elsewhere():
            return False
        if self.start:
            return _start_time(self.pid) == self.start
        try:
            os.kill(self.pid, 0)
        except OSError:
            return False
        return True


class State:
    """What a PID file looks like from outside: its *kind* and what it says, where that is whole.

    A held file without a *record* is being written at this very moment.
    """

    __slots__ = ("kind", "record")

    def __init__(self, kind: str, record: Record | None = None) -> None:
        self.kind = kind
        self.record = record


class AlreadyClaimed(ServiceError):
    """Another process holds the PID file; *record* says which, where that can be read."""

    def __init__(self, path: str, found: State) -> None:
        self.record = record = found.record
        if record is None:
            text = f"{path} is held by another process: see who with: fuser {path}"
        elif found.kind == FOREIGN:
            text = (
                f"{path} is held by bridge on {record.host} (pid {record.pid}): stop it there with "
                "bridge --stop, or give this one its own file with --pid-file"
            )
        else:
            text = (
                f"bridge is already running (pid {record.pid}, port {record.port}): "
                "stop it with: bridge --stop"
            )
        super().__init__(text)


class PidFile:
    """A claimed PID file, held until :meth:`release` or the end of the process.

    Children started by exec do not inherit the lock; a bare fork would, so claim after forking.
    """

    __slots__ = ("_descriptor", "path", "record")

    def __init__(self, path: str, descriptor: int, record: Record) -> None:
        self.path = path
        self.record = record
        self._descriptor = descriptor

    @classmethod
    def claim(
        cls,
        path: str,
        *,
        port: int,
        version: str,
        pause: Callable[[float], None],
        address: str = "127.0.0.1",
    ) -> PidFile:
        """Make the file at *path* ours and write into it who we are and where we listen.

        Raises ``AlreadyClaimed`` if another process holds it, after waiting (with *pause*) for a
        quarter of a second at most, and ``ServiceError`` if the file cannot be ours.
        """
        record = _ourselves(address, port, version)
        for _ in range(CLAIM_ATTEMPTS):
            descriptor = _open_for_claim(path)
            try:
                # Whoever left may have unlinked the file while we opened it.
                if _locked(descriptor, fcntl.LOCK_EX) and _is_at(path, descriptor):
                    _write(path, descriptor, record)
                    return cls(path, descriptor, record)
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
            pause(CLAIM_PAUSE_SECONDS)
        raise AlreadyClaimed(path, state(path))

    def release(self) -> None:
        """Remove the file, if it is still ours, and let go of the lock; twice is once."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        try:
            if _is_at(self.path, descriptor):
                os.unlink(self.path)
        finally:
            os.close(descriptor)


def default_path(environment: Mapping[str, str]) -> str:
    """Return where the PID file is: the same for a login shell, a service and cron.

    Raises ``ServiceError`` if *environment* has no ``HOME`` and the system knows none either.
    """
    home = environment.get("HOME")
    if not home:
        import pwd  # noqa: PLC0415 - rarely needed on the path of --check

        try:
            home = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            raise ServiceError("HOME is not set: set it, or name a file with --pid-file") from None
    return f"{home}/.local/run/bridge.pid"


def read(path: str) -> Record | None:
    """Return what the file at *path* says, held or not; ``None`` if it says nothing whole."""
    return state(path).record


def state(path: str) -> State:
    """Return how things stand with the PID file at *path*, without waiting and without a trace.

    A file of another user counts as unreadable: its content would decide where we connect.
    """
    try:
        descriptor = os.open(path, READ_FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        return State(FREE)
    except OSError:
        return State(UNREADABLE)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            return State(UNREADABLE)
        if not _locked(descriptor, fcntl.LOCK_SH):
            record = _parse(os.read(descriptor, MAX_BYTES))
            return State(FOREIGN if record is not None and record.elsewhere() else HELD, record)
        if os.fstat(descriptor).st_nlink == 0:
            return State(FREE)  # its owner has just left
        return State(STALE, _parse(os.read(descriptor, MAX_BYTES)))
    except OSError:
        return State(UNREADABLE)
    finally:
        os.close(descriptor)  # and with it the shared lock


def signal_owner(path: str, record: Record, signum: int) -> None:
    """Send *signum* to the daemon that *record* describes, and to no other process whatever.

    Raises ``NotRunning`` if that very daemon no longer holds the file at *path*, and
    ``ServiceError`` if it lives where no signal of ours can reach it.
    """
    found = state(path)
    if found.kind == FOREIGN:
        raise ServiceError(
            f"bridge runs on {record.host or 'another machine'} or in another container (pid "
            f"{record.pid}): stop it there with: bridge --stop"
        )
    held = found.record if found.kind == HELD else None
    if held is None or held.instance != record.instance:
        raise NotRunning("bridge is not running: start it with: bridge")
    try:
        _send(held, signum)
    except ProcessLookupError:
        raise NotRunning("bridge has just ended: start it with: bridge") from None
    except PermissionError:
        raise ServiceError(
            f"bridge (pid {held.pid}) may not be signalled from here: run this as its own user"
        ) from None


def _send(record: Record, signum: int) -> None:
    import signal  # noqa: PLC0415 - draws in enum, and --check sends no signal

    try:
        descriptor = os.pidfd_open(record.pid)
    except (AttributeError, NotImplementedError):  # macOS
        descriptor = -1
    except OSError as error:
        if error.errno not in {errno.ENOSYS, errno.EPERM}:  # an old kernel, a sandbox
            raise
        descriptor = -1
    try:
        # Looked at once the descriptor is open: from now on the number cannot change hands.
        if not record.alive():
            raise ProcessLookupError
        if descriptor < 0:
            os.kill(record.pid, signum)
        else:
            signal.pidfd_send_signal(descriptor, signum)
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _ourselves(address: str, port: int, version: str) -> Record:
    return Record(
        pid=os.getpid(),
        start=_start_time(os.getpid()),
        boot=_boot(),
        pidns=_pid_namespace(),
        host=os.uname().nodename,
        address=address,
        port=port,
        instance=os.urandom(16).hex(),
        version=version,
    )


def _parse(content: bytes) -> Record | None:
    first, _, rest = content.decode("ascii", "replace").partition("\n")
    fields = dict(line.partition("=")[::2] for line in rest.splitlines())
    port = fields.pop("port", "")
    if not (first.isdecimal() and port.isdecimal() and fields.get("instance")):
        return None
    known = {name: value for name, value in fields.items() if name in Record.__slots__[1:]}
    return Record(pid=int(first), port=int(port), **known)


def _open_for_claim(path: str) -> int:
    folder = os.path.dirname(path) or "."
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        # Left by root, the file would lock the user out of his own home.
        if os.geteuid() == 0 and os.stat(folder).st_uid != 0:
            raise ServiceError(f"{folder} belongs to another user: run bridge as that user")
        descriptor = os.open(path, CLAIM_FLAGS, 0o600)
    except OSError as error:
        raise _unusable(path, error) from None
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
        return descriptor
    os.close(descriptor)
    raise ServiceError(f"{path} is not a file of ours: remove it, or name another with --pid-file")


def _write(path: str, descriptor: int, record: Record) -> None:
    try:
        os.fchmod(descriptor, 0o600)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, record.text().encode("ascii", "replace"))
    except OSError as error:
        raise _unusable(path, error) from None


def _unusable(path: str, error: OSError) -> ServiceError:
    return ServiceError(
        f"the PID file {path} cannot be written ({error.strerror}): make its folder writable "
        "for this user, or name another with --pid-file"
    )


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(path: str, descriptor: int) -> bool:
    try:
        there = os.stat(path, follow_symlinks=False)
    except OSError:
        return False
    here = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


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
