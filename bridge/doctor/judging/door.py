"""Judges the port: who listens there, whether it is the daemon of the PID file, and how it is.

Pure. The port is ours or somebody else's, never both: a stranger on one of the two addresses gets
the requests of clients that try it first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from shlex import quote
from typing import Any, Final

from bridge.doctor.finding import Finding, fail, ok, warn
from bridge.doctor.judging.document import table
from bridge.service import pidfile, probe
from bridge.service.listen import PREDECESSOR
from bridge.service.record import Record

SUBJECT: Final = "port"
PID_FILE: Final = "PID file"
DAEMON: Final = "daemon"
RESTART: Final = "bridge --restart"


@dataclass(frozen=True, slots=True)
class Listener:
    """What stands at one *address*: whether anybody *listens*, and who, as far as it can be told.

    *process* is number and name, *user* a name; *old* says that it is the program which bridge
    replaces.
    """

    address: str
    listens: bool
    process: tuple[int, str] | None = None
    user: str = ""
    old: bool = False


@dataclass(frozen=True, slots=True)
class Door:
    """The *port* with its *listeners*, the PID file, and what the daemon answers.

    *kind* and *record* are what ``service.pidfile`` says of *pid_file*, *code*, *line* and *health*
    what ``service.probe`` learnt; *version* is this command's own. *idle* says that systemd holds
    the port for a daemon that it starts at the first request.
    """

    port: int
    listeners: tuple[Listener, ...]
    pid_file: str
    kind: str
    record: Record | None
    code: int
    line: str
    health: Mapping[str, Any]
    version: str
    idle: bool = False

    @property
    def serving(self) -> bool:
        """Whether the daemon of the PID file answers and has proved itself."""
        return self.kind == pidfile.HELD and self.code in {probe.SERVING, probe.LOGIN_NEEDED}

    def ours(self, listener: Listener) -> bool:
        """Say whether *listener* is the daemon of the PID file.

        At its own address it has proved that itself, whoever opened the socket for it (a service
        manager may have). Elsewhere the process has to be the same.
        """
        record = self.record
        if record is None or self.kind != pidfile.HELD or record.port != self.port:
            return False
        if self.serving and listener.address == record.address:
            return True
        if listener.process is None:
            return self.serving and not listener.user
        proven = [each.process for each in self.listeners if each.address == record.address]
        return listener.process[0] == record.pid or (self.serving and listener.process in proven)


def judge(door: Door) -> Iterator[Finding]:
    """Yield what is to be said of *door*."""
    if door.idle:
        yield ok(DAEMON, f"systemd holds port {door.port} and starts bridge at the first request")
        yield from _pid_file(door)
        return
    strangers = [each for each in door.listeners if each.listens and not door.ours(each)]
    for stranger in strangers:
        yield _stranger(stranger, door)
    yield from _pid_file(door)
    if door.kind == pidfile.HELD and door.record is not None:
        yield from _daemon(door, door.record)
    elif not strangers:
        text = f"nobody listens on port {door.port}; bridge is not running"
        yield warn(DAEMON, text, "start it: bridge (the generated functions do so themselves)")


def _stranger(listener: Listener, door: Door) -> Finding:
    shown = f"[{listener.address}]" if ":" in listener.address else listener.address
    place = f"{shown}:{door.port} is taken by"
    choose = "or choose another port (server.port)"
    if listener.old:
        number = f" (pid {listener.process[0]})" if listener.process else ""
        text = f"{place} the old {PREDECESSOR}{number}"
        return fail(SUBJECT, text, f"stop it: {PREDECESSOR} --stop")
    if listener.process is not None:
        pid, name = listener.process
        text = f"{place} {name} (pid {pid}, user {listener.user or '?'})"
        return fail(SUBJECT, text, f"stop it: kill {pid}; {choose}")
    if listener.user:
        text = f"{place} a program of user {listener.user}"
        return fail(SUBJECT, text, f"have it stopped there, {choose}")
    text = f"{place} another program, which the system does not name"
    return fail(SUBJECT, text, f"stop it, {choose}")


def _pid_file(door: Door) -> Iterator[Finding]:
    path, record = door.pid_file, door.record
    if door.kind == pidfile.STALE:
        text = f"{path} was left behind by a daemon that is gone"
        yield warn(PID_FILE, text, "nothing by hand: the next start replaces it")
    elif door.kind == pidfile.FOREIGN:
        where = f"bridge on {record.host} (pid {record.pid})" if record else "another machine"
        text = f"{path} is held by {where}, on another machine or in another container"
        mend = "stop it there: bridge --stop; or give each a file of its own with --pid-file"
        yield warn(PID_FILE, text, mend)
    elif door.kind == pidfile.UNREADABLE:
        text = f"{path} is no file of yours, or cannot be read: no daemon can be found or started"
        yield fail(
            PID_FILE, text, f"remove it: rm -r {quote(path)}; or name another with --pid-file"
        )
    elif door.kind == pidfile.HELD and record is None:
        text = f"{path} is being written: a start is under way"
        yield warn(PID_FILE, text, "wait a moment, then: bridge doctor")


def _daemon(door: Door, record: Record) -> Iterator[Finding]:
    if not door.serving:
        text, _, _ = door.line.partition(": ")
        yield fail(DAEMON, text, RESTART)
        return
    yield ok(DAEMON, f"serving on {record.place()}, pid {record.pid}, version {record.version}")
    if record.port != door.port:
        text = f"the daemon listens on port {record.port}, and port {door.port} is configured"
        yield warn(DAEMON, text, RESTART)
    elif any(not each.listens for each in door.listeners):
        silent = next(each.address for each in door.listeners if not each.listens)
        text = f"the daemon does not listen on [{silent}], where clients may try localhost first"
        yield warn(DAEMON, text, RESTART)
    if record.version != door.version:
        text = f"the daemon is version {record.version or '?'}, this command is {door.version}"
        yield warn(DAEMON, text, RESTART)
    yield from _providers(door.health)


def _providers(health: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what the daemon alone knows of logins: that a renewal failed, or was refused.

    A login that is not there at all is found where the file is looked at, and so are keys.
    """
    for name, value in table(health.get("providers")).items():
        row = table(value)
        problem = row.get("problem")
        if not problem or "expires_in_seconds" not in row:
            continue
        text, _, mend = str(problem).partition(": ")
        mend = mend or f"wait a minute and look again; else: bridge login {name}"
        report = warn if row.get("ready") is True else fail
        yield report(DAEMON, f"it says of {name}: {text}", mend)
