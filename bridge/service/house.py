"""Composes the rooms from one configuration and swaps what a reload changes.

The rooms stay for the life of the process; a reload exchanges values (the routes and limits that
requests take as one snapshot, the row of the provider, the outbound settings) and never touches a
request under way.
"""

from __future__ import annotations

import asyncio
import copy
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, cast

from bridge import __version__, peer
from bridge.clock import Clock
from bridge.credentials.device import Device
from bridge.credentials.invitation import Desk
from bridge.credentials.login import Login
from bridge.errors import ConfigError
from bridge.network import Client, Outbound, outbound
from bridge.providers import Provider
from bridge.proxy.guard import Clients, Policy
from bridge.proxy.rewrite import Routes
from bridge.proxy.server import FrontDoor, Limits, Passage
from bridge.proxy.tally import Spread, Tally
from bridge.service import log as logs
from bridge.service.account import credential_file
from bridge.service.catalogue import rows
from bridge.service.settings import Settings
from bridge.service.sources import Sources, passed, told

#: Letters of an error's text that are told: more would fill the screen it is read on.
ERROR_LENGTH: Final = 200


class House:
    """Every room of the daemon, composed; made inside the running event loop."""

    def __init__(
        self, settings: Settings, *, port: int, key: str, instance: str, clock: Clock
    ) -> None:
        self._settings = settings
        self._port = port
        self._key = key
        self._clock = clock
        self._began = clock.monotonic()
        self._started_at = clock.now()
        self._can_tell = peer.can_tell()
        self._device = Device(Path(settings.paths.kimi_share) / "device_id")
        known = self._rows(settings)
        self._client = Client(_outbound(settings, known.values()), clock)
        self._sources = Sources(self._client, clock)
        self._passage = replace(
            self._compose(settings, known), sources=self._sources.adopt(known, settings)
        )
        self.desk = Desk(self._login, clock)
        self.front_door = FrontDoor(
            passage=lambda: self._passage,
            client=self._client,
            clock=clock,
            instance=instance,
            health=self.health,
            ready=self.ready,
            metrics=self.metrics,
            invite=self._invite,
            peer_uid=peer_uid,
            tell=logs.info,
        )

    def adopt(self, settings: Settings) -> None:
        """Let *settings* count from the next request on.

        Raises ``ConfigError`` and keeps the old ones where they cannot be used.
        """
        known = self._rows(settings)
        way_out = _outbound(settings, known.values())
        passage = self._compose(settings, known)
        self._client.retune(way_out)
        # From here on nothing is refused.
        self._settings = settings
        self._passage = replace(passage, sources=self._sources.adopt(known, settings))

    async def keep(self) -> None:
        """Keep the login fresh ahead of time, while there is one in force; run until cancelled."""
        await self._sources.keep(lambda: self.front_door.last_request)

    async def credential_changed(self) -> None:
        """Take note that the credential file is another: the device may have got its id by now."""
        self.adopt(self._settings)
        account = self._sources.account
        if account is not None and account.source.condition().ready:
            await self.desk.close()

    def health(self) -> Mapping[str, object]:
        """Return the health document: how every provider is doing, and no secret.

        The whole is "ok" when the default provider is ready and nothing is odd about it. Nothing
        is asked and no command is run for it.
        """
        passage, tally = self._passage, self.front_door.tally
        providers = {
            row.name: {
                **told(row, passage.sources.get(row.name)),
                **passed(tally.providers.get(row.name)),
            }
            for row in passage.routes.providers.values()  # under each of its names
        }
        default = providers[passage.routes.default.name]
        healthy = default["ready"] and "problem" not in default
        return {
            "status": "ok" if healthy else "degraded",
            "version": __version__,
            "pid": os.getpid(),
            "port": self._port,
            "started_at": int(self._started_at),  # never ahead of now
            "uptime_seconds": round(self._clock.monotonic() - self._began),
            "streams": tally.live,
            "requests": tally.requests,
            "sent_bytes": tally.sent,
            "added_ms": _added(tally.added),
            "last_error": _last_error(tally),
            "providers": providers,
        }

    async def metrics(self, accept: str) -> tuple[str, bytes]:
        """Return content type and text for Prometheus; see ``service.metrics``.

        The words are found in a thread, where the library is loaded at the first time: the event
        loop would stand still for both.
        """
        tally = copy.deepcopy(self.front_door.tally)
        providers = cast("Mapping[str, Mapping[str, object]]", self.health()["providers"])
        return await asyncio.to_thread(_worded, tally, providers, accept)

    def ready(self, provider: str) -> bool | None:
        """Say whether the credential of *provider*, by any of its names, is usable.

        ``None`` for a provider nobody knows.
        """
        row = self._passage.routes.providers.get(provider)
        if row is None:
            return None
        return bool(told(row, self._passage.sources.get(row.name))["ready"])

    async def close(self) -> None:
        """Finish what must not be cut short, then close every connection."""
        await self.desk.close()
        await self._sources.settle()
        await self._client.close()

    @property
    def credential(self) -> Path:
        """The file of the login, whether or not there is one in force."""
        return credential_file(Path(self._settings.paths.kimi_share))

    @property
    def clients(self) -> Clients:
        """How callers prove themselves: as configured, or as well as the kernel lets them."""
        return self._clients(self._settings)

    def _clients(self, settings: Settings) -> Clients:
        chosen = cast("Clients | None", settings.config.server.clients)
        if chosen == "same-user" and not self._can_tell:
            raise ConfigError(
                'server.clients: this system does not tell whose socket it is: write "key"'
            )
        return chosen or ("same-user" if self._can_tell else "key")

    async def _invite(self, provider: str) -> str:
        del provider  # one login so far
        return await self.desk.sentence()

    def _login(self) -> Login:
        return self._sources.in_force().login()

    def _rows(self, settings: Settings) -> Mapping[str, Provider]:
        return rows(settings, self._device.headers())

    def _compose(self, settings: Settings, known: Mapping[str, Provider]) -> Passage:
        """Return what is to be in force, but for the sources."""
        server = settings.config.server
        routes = Routes.of(known.values(), default=server.default_provider)
        policy = Policy(
            port=self._port,
            hosts=frozenset(server.hosts),
            clients=self._clients(settings),
            key=self._key,
            uid=os.getuid(),
        )
        limits = Limits(
            max_body=server.max_body,
            body_budget=server.body_budget,
            idle_seconds=server.idle_seconds,
        )
        return Passage(routes, {}, policy, limits)


def peer_uid(local: tuple[str, int], remote: tuple[str, int]) -> int | None:
    """Return who owns the other end of a connection, or ``None`` where the kernel cannot say."""
    owner = peer.owner(local, remote)
    return owner.uid if owner is not None and owner.inode else None


def _worded(
    tally: Tally, providers: Mapping[str, Mapping[str, object]], accept: str
) -> tuple[str, bytes]:
    from bridge.service import metrics  # noqa: PLC0415 - only who is scraped pays for the library

    return metrics.worded(metrics.Picture(__version__, tally, providers), accept)


def _added(added: Spread) -> Mapping[str, float | None]:
    """Return in milliseconds what bridge itself took of half and of nearly all requests."""
    quantiles = {"p50": added.quantile(0.5), "p99": added.quantile(0.99)}
    return {name: seconds and round(seconds * 1000, 3) for name, seconds in quantiles.items()}


def _last_error(tally: Tally) -> Mapping[str, object] | None:
    if not tally.last_error:
        return None
    return {"at": round(tally.last_error_at), "text": tally.last_error[:ERROR_LENGTH]}


def _outbound(settings: Settings, providers: Iterable[Provider]) -> Outbound:
    network = settings.config.network
    return outbound(settings.environment, network.proxy, network.ca_file, providers)
