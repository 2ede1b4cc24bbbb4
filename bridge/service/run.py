"""Keeps the daemon alive: open, serve, drain, leave; the stages of its life in that order.

Signals: SIGTERM and SIGINT drain, a second one drops the streams, SIGHUP re-reads the
configuration. A refresh under way is always finished first, whoever is in a hurry: between the
server's rotation and our file nobody may leave.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, Final

from bridge import __version__
from bridge.clock import Clock
from bridge.errors import BridgeError
from bridge.service import log as logs
from bridge.service.house import House
from bridge.service.limits import allow_descriptors
from bridge.service.memory import settle_allocator, settle_collector
from bridge.service.notify import Notifier
from bridge.service.reload import changes
from bridge.service.settings import Settings

log = logging.getLogger("bridge")

#: How many may wait at the door while the daemon is busy; who finds it full tries again after 1 s.
BACKLOG: Final = 1024
#: Seconds beyond the drain that leaving may take: a refresh under way is finished first.
LEAVING_SECONDS: Final = 100.0
#: Seconds that an empty configuration gets to be filled: who writes in place empties it first.
FILLING_SECONDS: Final = 2.0


def run(
    settings: Settings,
    sockets: Sequence[socket.socket],
    *,
    key: str,
    instance: str,
    clock: Clock,
    ready: Callable[[], None],
    leaving: Callable[[], None] = lambda: None,
    notifier: Notifier | None = None,
) -> None:
    """Serve on *sockets*, which listen already, until a signal says stop.

    *ready* is called once requests are answered, *leaving* when the door is closed; a service
    manager is told by *notifier*. Returns after the last stream has ended or was dropped; the
    caller frees the PID file.
    """
    settle_allocator()
    allow_descriptors()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        notifier = notifier or Notifier("", clock)
        daemon = Daemon(settings, key=key, instance=instance, clock=clock, notifier=notifier)
        runner.run(daemon.live(sockets, ready, leaving))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's loop where it is installed; ``BRIDGE_LOOP=asyncio`` does without it."""
    if os.environ.get("BRIDGE_LOOP") == "asyncio":
        return None
    try:
        import uvloop  # noqa: PLC0415 - a dependency of some platforms only
    except ImportError:
        return None
    return uvloop.new_event_loop


class Daemon:
    """One life of the daemon, from sockets that listen to connections that are closed."""

    def __init__(
        self, settings: Settings, *, key: str, instance: str, clock: Clock, notifier: Notifier
    ) -> None:
        self._settings = settings
        self._key = key
        self._instance = instance
        self._clock = clock
        self._notifier = notifier
        self._place = ""
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def live(
        self,
        sockets: Sequence[socket.socket],
        ready: Callable[[], None],
        leaving: Callable[[], None],
    ) -> None:
        """Open, serve, drain, leave."""
        address, port = sockets[0].getsockname()[:2]
        self._place = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        house = House(
            self._settings,
            port=port,
            key=self._key,
            instance=self._instance,
            clock=self._clock,
        )
        servers = await self._open(house, sockets)
        settle_collector()
        ready()
        self._notifier.ready(self._status(house))
        # Not one of the tasks: it goes on until the daemon has left.
        beat = self._notifier.beat(lambda: self._status(house))
        pulse = asyncio.create_task(self._outlive("notifier", beat))
        log.info("daemon started version=%s pid=%d port=%d", __version__, os.getpid(), port)
        self._warn(house)
        await self._stop.wait()
        for server in servers:
            server.close()
        leaving()
        await self._drain(house)
        await self._leave(house)
        pulse.cancel()

    async def _open(
        self, house: House, sockets: Sequence[socket.socket]
    ) -> Sequence[asyncio.AbstractServer]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop, signal.Signals(number).name)
        loop.add_signal_handler(signal.SIGHUP, self._reread, house)
        servers = [
            await loop.create_server(house.front_door, sock=listening, backlog=BACKLOG)
            for listening in sockets
        ]
        self._tend("keeper", house.keep())
        # Looked at before anybody hears that it serves: an edit right after that must count.
        places = [self._settings.paths.config, str(house.credential)]
        self._tend("watcher", self._watch(house, changes(places)))
        return servers

    def _warn(self, house: House) -> None:
        for warning in self._settings.config.warnings:
            log.warning("%s", warning)
        if house.clients == "any":
            log.warning(
                'server.clients = "any": every user and program of this machine can use the login'
            )

    async def _drain(self, house: House) -> None:
        seconds = self._settings.config.server.drain_seconds
        log.info("daemon draining streams=%d seconds=%.0f", house.front_door.live, seconds)
        self._notifier.stopping(
            f"stopping, {house.front_door.live} streams may end within {seconds:.0f} s",
            seconds + LEAVING_SECONDS,
        )
        draining = asyncio.create_task(house.front_door.drain(seconds))
        hurry = asyncio.create_task(self._hurry.wait())
        await asyncio.wait([draining, hurry], return_when=asyncio.FIRST_COMPLETED)
        if not draining.done():
            house.front_door.drop()
        hurry.cancel()
        if dropped := await draining:
            log.warning("streams dropped count=%d", dropped)

    async def _leave(self, house: House) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await house.close()
        log.info("daemon stopped pid=%d", os.getpid())

    def _asked_to_stop(self, name: str) -> None:
        log.info("signal received name=%s", name)
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    async def _watch(self, house: House, news: AsyncIterator[set[str]]) -> None:
        async for changed in news:
            if self._settings.paths.config in changed:
                if _is_empty(self._settings.paths.config):
                    await self._clock.sleep(FILLING_SECONDS)
                self._reread(house)
            if str(house.credential) in changed:
                await house.credential_changed()

    def _reread(self, house: House) -> None:
        self._notifier.reloading()
        self._adopt(house)
        self._notifier.ready(self._status(house))

    def _adopt(self, house: House) -> None:
        try:
            settings = self._settings.reread()
            house.adopt(settings)
        except BridgeError as error:
            log.error("configuration not reloaded, the old one stays reason=%s", error)
            return
        for key in self._settings.restart_needed(settings):
            log.warning("%s not changed: that needs a restart (bridge --restart)", key)
        self._settings = settings
        logs.set_level(settings.config.log_level)
        log.info("configuration reloaded file=%s", settings.paths.config)

    def _status(self, house: House) -> str:
        """Say in a line how the daemon is, for the service manager."""
        live = house.front_door.live
        line = f"serving on {self._place}, {live} stream{'' if live == 1 else 's'}"
        return line if house.health()["status"] == "ok" else f"{line}, degraded: see bridge status"

    def _tend(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._outlive(name, work), name=name)
        self._tasks.add(task)

    async def _outlive(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            # Keeper and watcher only make things faster: the daemon must survive their bugs.
            log.exception("task ended name=%s", name)


def _is_empty(path: str) -> bool:
    try:
        return os.stat(path).st_size == 0  # noqa: PTH116 - the path is a str
    except OSError:
        return False  # none at all is a configuration
