"""The verbs about the daemon: start, foreground, stop, restart, reload.

A daemon is found by its PID file, whoever keeps it; who that is decides who is asked.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from typing import Final

from bridge.clock import SystemClock
from bridge.commands.serving import background, foreground
from bridge.config import Paths
from bridge.config.schema import DRAIN
from bridge.errors import BridgeError, ConfigError, NotRunning, PortTaken, ServiceError
from bridge.service import activation, custody
from bridge.service.detach import run_detached
from bridge.service.idle import idle_socket, wake
from bridge.service.notify import Notifier
from bridge.service.pidfile import FOREIGN, HELD, UNREADABLE, look, signal_owner
from bridge.service.probe import SERVING, Answer, probe
from bridge.service.record import HAND, LAUNCHD, SYSTEMD, Record
from bridge.service.settings import Settings, load, locate

__all__ = ["foreground", "reload", "restart", "start", "stop"]

Options = Mapping[str, object]

#: Seconds for a start: a cold disk under a laptop that has just woken up needs some.
START_SECONDS: Final = 20.0
#: Seconds in which another start of ours, which has the port already, shows its PID file.
RIVAL_SECONDS: Final = 3.0
#: Seconds beyond the drain that a stop waits: a refresh under way is finished first.
STOP_SPARE_SECONDS: Final = 100.0
_NOT_STARTED: Final = (
    "the service manager could not start the daemon: see journalctl --user -u bridge.service, "
    "or start it by hand: bridge --foreground"
)
POLL_SECONDS: Final = 0.05
#: Seconds for which the process itself may outlive its service.
EXIT_SECONDS: Final = 1.0

_CLOCK = SystemClock()


def start(options: Options) -> int:
    """Start the daemon in the background; return when it answers, or with the reason why not.

    Where a socket unit waits for a first request, that is sent: the daemon is the manager's then.
    """
    _of_nobody()
    settings = load(options)
    answer = _probe(settings)
    if answer.code == SERVING:
        print(f"bridge: already running ({answer.line})")
        return 0
    if answer.idle or idle_socket(settings.config.server.port):  # or one that is just leaving
        return _awoken(settings)
    verdict = run_detached(
        lambda reporter: background(settings, reporter),
        START_SECONDS,
        log_path=settings.paths.log,
    )
    if verdict.exit_code == 0:
        too = "; the service starts it too: bridge service status"
        print(f"bridge: {_probe(settings).line}{too if custody.comes_back(os.environ) else ''}")
        return 0
    if _rival_serves(settings, verdict.exit_code):
        print(f"bridge: already running ({_probe(settings).line})")
        return 0
    raise _failure(verdict.exit_code, verdict.line, settings)


def stop(options: Options) -> int:
    """Stop the daemon: streams may end first; a second stop drops them. Not running is success."""
    paths = locate(options)  # a configuration gone wrong must not keep the daemon alive
    record = _running(paths)
    if record is None:
        print(f"bridge: {_nobody(paths)}{_returns(_port(options))}")
        return 0
    if not custody.stopped(record):
        _signalled(paths, record)
    _gone(paths, record, options)
    print(f"bridge: stopped{_returns(record.port)}")
    return 0


def restart(options: Options) -> int:
    """Stop the daemon if it runs, then start it; one that a service manager keeps stays its own."""
    settings = load(options)  # what cannot be started again is not stopped
    record = _running(settings.paths)
    if record is None:
        return start(options)
    by_manager = custody.restarted(record)
    if not by_manager:
        _signalled(settings.paths, record)
        _gone(settings.paths, record, options)
        by_manager = custody.started(record)
    if by_manager:
        return _followed(settings, record)
    code = start(options)
    after = _running(settings.paths)
    if record.keeper in {SYSTEMD, LAUNCHD} and after is not None and after.keeper == HAND:
        print(f"bridge: {record.keeper} does not answer here, so it is no longer its own")
    return code


def reload(options: Options) -> int:
    """Let the daemon re-read its configuration, once that is known to be good."""
    settings = load(options)
    record = _running(settings.paths)
    if record is None:
        raise NotRunning("the daemon is not running: start it with: bridge")
    signal_owner(settings.paths.pid_file, record, signal.SIGHUP)
    print("bridge: reloading")
    return 0


def _nobody(paths: Paths) -> str:
    """Say that no daemon runs here, and where one does that holds the PID file."""
    kind, record = look(paths.pid_file)
    if kind != FOREIGN or record is None:
        return "not running"
    return (
        f"not running here; bridge on {record.host} (pid {record.pid}) holds {paths.pid_file}: "
        "stop it there"
    )


def _of_nobody() -> None:
    """Forget what a manager told whoever started this command: none of it is meant for us."""
    Notifier.taken(os.environ, _CLOCK).close()
    for name in activation.VARIABLES:
        os.environ.pop(name, None)


def _awoken(settings: Settings) -> int:
    """Let the socket unit start the daemon, and say how that went."""
    wake(settings.config.server.port, START_SECONDS)
    # Where the unit has failed its socket is closed, and nobody is there any more.
    if _until(lambda: _probe(settings).code == SERVING, RIVAL_SECONDS):
        print(f"bridge: {_probe(settings).line}")
        return 0
    raise ServiceError(_NOT_STARTED)


def _followed(settings: Settings, before: Record) -> int:
    """Wait until the manager has another daemon serve in the place of *before*."""

    def replaced() -> bool:
        record = _running(settings.paths)
        other = record is not None and record.instance != before.instance
        return other and _probe(settings).code == SERVING

    patience = settings.config.server.drain_seconds + STOP_SPARE_SECONDS + START_SECONDS
    if not _until(replaced, patience):
        raise ServiceError(_NOT_STARTED)
    print(f"bridge: {_probe(settings).line}")
    return 0


def _signalled(paths: Paths, record: Record) -> None:
    with contextlib.suppress(NotRunning):  # it has ended by itself since we looked
        signal_owner(paths.pid_file, record, signal.SIGTERM)


def _gone(paths: Paths, record: Record, options: Options) -> None:
    """Wait until the daemon of *record* has left; raises ``ServiceError`` where it does not."""

    def gone() -> bool:
        running = _running(paths)
        return running is None or running.instance != record.instance

    patience = _drain_seconds(options) + STOP_SPARE_SECONDS
    if not _until(gone, patience):
        raise ServiceError(
            f"the daemon (pid {record.pid}) has not stopped within {patience:.0f} s: "
            f"look at {paths.log}, or end it with: kill -9 {record.pid}"
        )
    # Its last threads end after it has let go of port and file. Whoever waits for it may be late.
    _until(lambda: not record.alive(), EXIT_SECONDS)


def _returns(port: int) -> str:
    """Say, after a stop, whether and when somebody starts the daemon again."""
    if idle_socket(port):
        return (
            f"; systemd holds 127.0.0.1:{port} and starts it at the next request; "
            "to end that, too: systemctl --user stop bridge.socket"
        )
    coming = custody.comes_back(os.environ)
    return f"; {coming}" if coming else ""


def _rival_serves(settings: Settings, exit_code: int) -> bool:
    """Say whether another start of ours won: the PID file, or the port and then the file."""
    patience = RIVAL_SECONDS if exit_code == PortTaken.exit_code else 0
    claimed = _until(lambda: look(settings.paths.pid_file)[0] == HELD, patience)
    return claimed and _until(lambda: _probe(settings).code == 0, START_SECONDS)


def _running(paths: Paths) -> Record | None:
    """Return what the PID file says of a daemon that holds it, or ``None``.

    Raises ``ServiceError`` where that cannot be told.
    """
    kind, record = look(paths.pid_file)
    if kind == UNREADABLE:
        raise ServiceError(
            f"the PID file {paths.pid_file} cannot be read, or is no file of yours: "
            "remove it, or name another file with --pid-file"
        )
    return record if kind == HELD else None


def _drain_seconds(options: Options) -> float:
    try:
        return load(options).config.server.drain_seconds
    except ConfigError:
        return DRAIN.default


def _port(options: Options) -> int:
    try:
        return load(options).config.server.port
    except ConfigError:
        return 0


def _failure(exit_code: int, line: str, settings: Settings) -> BridgeError:
    error = ServiceError(line or f"the daemon did not start: see {settings.paths.log}")
    error.exit_code = exit_code or 1
    return error


def _probe(settings: Settings) -> Answer:
    return probe(settings.paths.pid_file, settings.config.server.port)


def _until(happened: Callable[[], bool], seconds: float) -> bool:
    deadline = _CLOCK.monotonic() + seconds
    while not happened():
        if _CLOCK.monotonic() >= deadline:
            return False
        _CLOCK.pause(POLL_SECONDS)
    return True
