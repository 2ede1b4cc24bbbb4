"""Is the daemon: in this terminal, under a service manager, or in the background."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from socket import socket
from typing import Final

from bridge import __version__
from bridge.clock import SystemClock
from bridge.errors import BridgeError
from bridge.service import activation, custody
from bridge.service.detach import Reporter, no_core
from bridge.service.listen import bind
from bridge.service.notify import Notifier
from bridge.service.pidfile import PidFile
from bridge.service.record import HAND, LAUNCHD
from bridge.service.settings import Settings, load

Options = Mapping[str, object]

_CLOCK: Final = SystemClock()
_log = logging.getLogger("bridge")


def foreground(options: Options) -> int:
    """Run the daemon in this process until a signal stops it; the log goes to stderr.

    A service manager is told how it goes, and the sockets that it passes are taken. launchd keeps
    what is on stderr for ever, so under it the log is the rotated file.
    """
    keeper = custody.keeper(os.environ)
    notifier = Notifier.taken(os.environ, _CLOCK)
    try:
        sockets = activation.taken(os.environ)
        passed = bool(sockets)
        settings = load(options)
        no_core()
        sockets = sockets or bind(settings.config.server.port)
        from bridge.service import log

        if keeper == LAUNCHD:
            log.to_file(Path(settings.paths.log), settings.config.log_level)
        else:
            log.to_stderr(settings.config.log_level)
        _serve(settings, sockets, lambda: None, keeper=keeper, passed=passed, notifier=notifier)
    except BridgeError as error:
        notifier.status(str(error))
        raise
    finally:
        notifier.close()
    return 0


def background(settings: Settings, reporter: Reporter) -> int:
    """Be the daemon: bind, detach, claim, serve. Runs in the launcher's process."""
    try:
        sockets = bind(settings.config.server.port)
        reporter.detach([listening.fileno() for listening in sockets])
        from bridge.service import log

        log.to_file(Path(settings.paths.log), settings.config.log_level)
        _serve(settings, sockets, reporter.ready)
    except BridgeError as error:
        reporter.failed(error.exit_code, str(error))
        return error.exit_code
    return 0


def _serve(
    settings: Settings,
    sockets: Sequence[socket],
    ready: Callable[[], None],
    *,
    keeper: str = HAND,
    passed: bool = False,
    notifier: Notifier | None = None,
) -> None:
    address, port = sockets[0].getsockname()[:2]
    pid_file = PidFile.claim(
        settings.paths.pid_file,
        address=address,
        port=port,
        instance=secrets.token_hex(16),
        version=__version__,
        pause=_CLOCK.pause,
        keeper=keeper,
        sockets="passed" if passed else "own",
    )
    if passed and port != settings.config.server.port:
        _log.warning(
            "server.port is %d, but the service manager listens on %d, and that counts: "
            "bridge service install --socket makes them agree",
            settings.config.server.port,
            port,
        )
    try:
        from bridge.service.key import caller_key
        from bridge.service.run import run

        key = caller_key(Path(settings.paths.key))
        instance = pid_file.record.instance
        run(
            settings,
            sockets,
            key=key,
            instance=instance,
            clock=_CLOCK,
            ready=ready,
            leaving=pid_file.stopping,
            notifier=notifier,
        )
    finally:
        pid_file.release()
