"""The verbs about the daemon: start, foreground, stop, restart, reload."""

from __future__ import annotations

import contextlib
import secrets
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from socket import socket
from typing import Final

from bridge import __version__
from bridge.clock import SystemClock
from bridge.config import Paths
from bridge.config.schema import DRAIN
from bridge.errors import BridgeError, ConfigError, NotRunning, PortTaken, ServiceError
from bridge.service.detach import Reporter, no_core, run_detached
from bridge.service.listen import bind
from bridge.service.pidfile import HELD, PidFile, look, signal_owner
from bridge.service.probe import Answer, probe
from bridge.service.record import Record
from bridge.service.settings import Settings, load, locate

Options = Mapping[str, object]

#: Seconds for a start: a cold disk under a laptop that has just woken up needs some.
START_SECONDS: Final = 20.0
#: Seconds in which another start of ours, which has the port already, shows its PID file.
RIVAL_SECONDS: Final = 3.0
#: Seconds beyond the drain that a stop waits: a refresh under way is finished first.
STOP_SPARE_SECONDS: Final = 100.0
POLL_SECONDS: Final = 0.05

_CLOCK = SystemClock()


def start(options: Options) -> int:
    """Start the daemon in the background; return when it answers, or with the reason why not."""
    settings = load(options)
    answer = _probe(settings)
    if answer.code == 0:
        print(f"bridge: already running ({answer.line})")
        return 0
    verdict = run_detached(
        lambda reporter: _background(settings, reporter),
        START_SECONDS,
        log_path=settings.paths.log,
    )
    if verdict.exit_code == 0:
        print(f"bridge: {_probe(settings).line}")
        return 0
    if _rival_serves(settings, verdict.exit_code):
        print(f"bridge: already running ({_probe(settings).line})")
        return 0
    raise _failure(verdict.exit_code, verdict.line, settings)


def foreground(options: Options) -> int:
    """Run the daemon in this process until a signal stops it; the log goes to stderr."""
    settings = load(options)
    no_core()
    sockets = bind(settings.config.server.port)
    from bridge.service import log

    log.to_stderr(settings.config.log_level)
    _serve(settings, sockets, ready=lambda: None)
    return 0


def stop(options: Options) -> int:
    """Stop the daemon: streams may end first; a second stop drops them. Not running is success."""
    paths = locate(options)  # a configuration gone wrong must not keep the daemon alive
    record = _running(paths)
    if record is None:
        print("bridge: not running")
        return 0
    with contextlib.suppress(NotRunning):  # it has ended by itself since we looked
        signal_owner(paths.pid_file, record, signal.SIGTERM)
    patience = _drain_seconds(options) + STOP_SPARE_SECONDS
    if not _until(lambda: _running(paths) is None, patience):
        raise ServiceError(
            f"the daemon (pid {record.pid}) has not stopped within {patience:.0f} s: "
            f"look at {paths.log}, or end it with: kill -9 {record.pid}"
        )
    print("bridge: stopped")
    return 0


def restart(options: Options) -> int:
    """Stop the daemon if it runs, then start it."""
    stop(options)
    return start(options)


def reload(options: Options) -> int:
    """Let the daemon re-read its configuration, once that is known to be good."""
    settings = load(options)
    record = _running(settings.paths)
    if record is None:
        raise NotRunning("the daemon is not running: start it with: bridge")
    signal_owner(settings.paths.pid_file, record, signal.SIGHUP)
    print("bridge: reloading")
    return 0


def _background(settings: Settings, reporter: Reporter) -> int:
    """Be the daemon: bind, detach, claim, serve. Runs in the launcher's process."""
    try:
        sockets = bind(settings.config.server.port)
        reporter.detach([listening.fileno() for listening in sockets])
        from bridge.service import log

        log.to_file(Path(settings.paths.log), settings.config.log_level)
        _serve(settings, sockets, ready=reporter.ready)
    except BridgeError as error:
        reporter.failed(error.exit_code, str(error))
        return error.exit_code
    return 0


def _serve(settings: Settings, sockets: Sequence[socket], ready: Callable[[], None]) -> None:
    pid_file = PidFile.claim(
        settings.paths.pid_file,
        port=sockets[0].getsockname()[1],
        instance=secrets.token_hex(16),
        version=__version__,
        pause=_CLOCK.pause,
    )
    try:
        from bridge.service.key import caller_key
        from bridge.service.run import run

        key = caller_key(Path(settings.paths.key))
        instance = pid_file.record.instance
        run(settings, sockets, key=key, instance=instance, clock=_CLOCK, ready=ready)
    finally:
        pid_file.release()


def _rival_serves(settings: Settings, exit_code: int) -> bool:
    """Say whether another start of ours won: the PID file, or the port and then the file."""
    patience = RIVAL_SECONDS if exit_code == PortTaken.exit_code else 0
    claimed = _until(lambda: _running(settings.paths) is not None, patience)
    return claimed and _until(lambda: _probe(settings).code == 0, START_SECONDS)


def _running(paths: Paths) -> Record | None:
    """Return what the PID file says of a daemon that holds it, or ``None``."""
    kind, record = look(paths.pid_file)
    return record if kind == HELD else None


def _drain_seconds(options: Options) -> float:
    try:
        return load(options).config.server.drain_seconds
    except ConfigError:
        return DRAIN.default


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
