"""Tells who is running: the file that one daemon holds locked for as long as it lives.

The lock (``flock``) says *that* a daemon runs, and the kernel frees it however the daemon ends; the
text (``record``) says *which*. So the file cannot lie: without the lock it is a leftover. The room
knows nothing of HTTP and of what the daemon does.

It is on the path of ``--check``, so it imports only what costs next to nothing.
"""

# pathlib is more than --check can afford.
# ruff: noqa: PTH103, PTH108, PTH116, PTH120

from __future__ import annotations

import fcntl
import os
import stat

from bridge.errors import NotRunning, ServiceError
from bridge.service.record import HAND, MAX_BYTES, Record, ourselves, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

#: Nothing is there.
FREE: Final = "free"
#: A daemon of ours lives and holds the file.
HELD: Final = "held"
#: A file was left behind, and nobody holds it.
STALE: Final = "stale"
#: A daemon on another machine or in another container holds it.
FOREIGN: Final = "foreign"
#: What is there is not a file of ours, or cannot be opened.
UNREADABLE: Final = "unreadable"

#: A probe holds the lock for microseconds, and 13 claims of 2,000 were seen to meet one.
CLAIM_ATTEMPTS: Final = 25
CLAIM_PAUSE_SECONDS: Final = 0.01

# A FIFO put in the file's place must not keep anybody waiting.
READ_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
CLAIM_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class AlreadyClaimed(ServiceError):
    """Another process holds the PID file; *record* says which, where that can be read."""

    def __init__(self, path: str, record: Record | None) -> None:
        self.record = record
        if record is None:
            text = f"{path} is held by another process: find it with: fuser {path}"
        elif record.elsewhere():
            text = (
                f"{path} is held by bridge on {record.host} (pid {record.pid}): stop it there "
                "with: bridge --stop, or name another file with --pid-file"
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
        instance: str,
        version: str,
        pause: Callable[[float], None],
        address: str = "127.0.0.1",
        keeper: str = HAND,
        sockets: str = "own",
    ) -> PidFile:
        """Make the file at *path* ours, and write into it who we are and where we listen.

        *instance* is the random name that our answers to ``/health`` will carry; for *keeper* and
        *sockets* see ``Record``. Raises ``AlreadyClaimed`` if another process holds the file,
        after waiting (with *pause*) for a quarter of a second, and ``ServiceError`` if the file
        cannot be ours.
        """
        record = ourselves(
            address=address,
            port=port,
            instance=instance,
            version=version,
            keeper=keeper,
            sockets=sockets,
        )
        for _ in range(CLAIM_ATTEMPTS):
            descriptor = _open_for_claim(path)
            if _take(path, descriptor, record):
                return cls(path, descriptor, record)
            pause(CLAIM_PAUSE_SECONDS)
        raise AlreadyClaimed(path, read(path))

    def stopping(self) -> None:
        """Write down that we are about to leave: whoever looks need not ask us any more."""
        try:
            # One line more, the last of its name: nobody can read half a record meanwhile.
            os.write(self._descriptor, b"stage=stopping\n")
        except OSError:
            return  # a full disk must not hinder a stop

    def release(self) -> None:
        """Remove the file, if it is still ours, and let go of the lock; twice is once."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        try:
            if _is_at(self.path, descriptor):
                os.unlink(self.path)
        except OSError:
            pass  # its folder has become read-only: what is left is stale, and says so
        finally:
            os.close(descriptor)


def look(path: str) -> tuple[str, Record | None]:
    """Return how things stand with the PID file at *path*, and what it says, if that is whole.

    Neither waits nor leaves a trace. A held file without a record is being written at this very
    moment. A file of another user is unreadable, for its text would decide where we connect.
    """
    try:
        descriptor = os.open(path, READ_FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        return FREE, None
    except OSError:
        return UNREADABLE, None
    try:
        return _examine(descriptor)
    except OSError:
        return UNREADABLE, None
    finally:
        os.close(descriptor)  # and with it the shared lock


def state(path: str) -> str:
    """Return ``FREE``, ``HELD``, ``STALE``, ``FOREIGN`` or ``UNREADABLE``, as :func:`look` does."""
    return look(path)[0]


def read(path: str) -> Record | None:
    """Return what the file at *path* says, held or not; ``None`` if it says nothing whole."""
    return look(path)[1]


def signal_owner(path: str, record: Record, signum: int) -> None:
    """Send *signum* to the daemon that *record* describes, and to no other process whatever.

    Raises ``NotRunning`` if that very daemon no longer holds the file at *path*, and
    ``ServiceError`` if no signal of ours can reach it.
    """
    kind, held = look(path)
    if held is None or held.instance != record.instance or kind not in {HELD, FOREIGN}:
        raise NotRunning("bridge is not running: start it with: bridge")
    if kind == FOREIGN:
        raise ServiceError(
            f"bridge (pid {held.pid}) runs on {held.host}, on another machine or in another "
            "container: stop it there with: bridge --stop"
        )
    try:
        held.signal(signum)
    except ProcessLookupError:
        raise NotRunning("bridge has just ended: start it with: bridge") from None
    except PermissionError:
        raise ServiceError(
            f"bridge (pid {held.pid}) may not be signalled from here: use its own user's shell"
        ) from None


def _examine(descriptor: int) -> tuple[str, Record | None]:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        return UNREADABLE, None
    free = _locked(descriptor, fcntl.LOCK_SH)
    record = parse(os.read(descriptor, MAX_BYTES))
    if not free:
        return (FOREIGN if record is not None and record.elsewhere() else HELD), record
    if os.fstat(descriptor).st_nlink == 0:
        return FREE, None  # its owner has just left
    return STALE, record


def _open_for_claim(path: str) -> int:
    try:
        os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
        descriptor = os.open(path, CLAIM_FLAGS, 0o600)
    except OSError as error:
        raise _unusable(path, error) from None
    status = os.fstat(descriptor)
    # A second name says that it is another file, too, whose content would be lost.
    if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and status.st_nlink <= 1:
        return descriptor
    os.close(descriptor)
    raise ServiceError(f"{path} is not a file of ours: remove it, or name another with --pid-file")


def _take(path: str, descriptor: int, record: Record) -> bool:
    """Lock the open file and write into it, or close it and return ``False``."""
    try:
        # Whoever held it may have unlinked it while we opened it.
        if _locked(descriptor, fcntl.LOCK_EX) and _is_at(path, descriptor):
            os.fchmod(descriptor, 0o600)
            os.ftruncate(descriptor, 0)
            os.write(descriptor, record.text().encode("ascii", "replace"))
            return True
    except OSError as error:
        os.close(descriptor)
        raise _unusable(path, error) from None
    os.close(descriptor)
    return False


def _unusable(path: str, error: OSError) -> ServiceError:
    return ServiceError(
        f"the PID file {path} cannot be written ({error.strerror}): mend that, "
        "or name another file with --pid-file"
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
