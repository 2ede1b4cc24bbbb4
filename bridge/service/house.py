"""Composes the rooms from one configuration and swaps what a reload changes.

The rooms stay for the life of the process; a reload exchanges values (the routes and limits that
requests take as one snapshot, the row of the provider, the outbound settings) and never touches a
request under way.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from bridge import __version__, peer
from bridge.clock import Clock
from bridge.credentials.device import Device
from bridge.credentials.invitation import Desk
from bridge.credentials.keeper import Keeper
from bridge.credentials.login import Login
from bridge.credentials.refresh import Refresh
from bridge.credentials.rotating import OAuthSource
from bridge.credentials.store import Store
from bridge.errors import ConfigError
from bridge.network import Client, Outbound, outbound
from bridge.oauth.endpoint import HttpEndpoint
from bridge.providers import OAuth, Provider
from bridge.proxy.guard import Clients, Policy
from bridge.proxy.rewrite import Routes
from bridge.proxy.server import FrontDoor, Limits, Passage
from bridge.service.catalogue import kimi_row
from bridge.service.settings import Settings


class Account:
    """The Kimi account of this user: its row, its file, and what is done with both.

    Works inside a running event loop, in the daemon and in a single command alike.
    """

    def __init__(self, settings: Settings, client: Client, clock: Clock) -> None:
        self.device = Device(Path(settings.paths.kimi_share) / "device_id")
        self.provider = kimi_row(settings, self.device.headers())
        credentials = Path(settings.paths.kimi_share) / "credentials"
        self.store = Store(credentials / "kimi-code.json", clock)
        self._clock = clock
        self._endpoint = HttpEndpoint(client)
        self.source = OAuthSource(
            store=self.store,
            refresh=Refresh(
                store=self.store,
                oauth=_oauth(self.provider),
                endpoint=self._endpoint,
                clock=clock,
                headers=self.device.grant_headers,
            ),
            clock=clock,
        )

    def login(self) -> Login:
        """Return a new device flow."""
        return Login(
            store=self.store,
            oauth=_oauth(self.provider),
            endpoint=self._endpoint,
            clock=self._clock,
            device=self.device,
        )


def _oauth(provider: Provider) -> OAuth:
    if provider.oauth is None:
        raise ConfigError(f"{provider.name} has no authorization server")
    return provider.oauth


class House:
    """Every room of the daemon, composed; made inside the running event loop."""

    def __init__(
        self, settings: Settings, *, port: int, key: str, instance: str, clock: Clock
    ) -> None:
        self._settings = settings
        self._port = port
        self._key = key
        self._clock = clock
        self._started_at = clock.monotonic()
        self._can_tell = peer.can_tell()
        self._client = Client(_outbound(settings))
        self.account = Account(settings, self._client, clock)
        self.desk = Desk(self.account.login, clock)
        self._passage = self._compose()
        self.front_door = FrontDoor(
            passage=lambda: self._passage,
            client=self._client,
            clock=clock,
            instance=instance,
            health=self.health,
            ready=self.ready,
            invite=self._invite,
            peer_uid=peer_uid,
        )
        self.keeper = Keeper(self.account.source, clock, lambda: self.front_door.last_request)

    def adopt(self, settings: Settings) -> None:
        """Let *settings* count from the next request on.

        Raises ``ConfigError`` and keeps the old ones where they cannot be used.
        """
        provider = kimi_row(settings, self.account.device.headers())
        self._client.retune(_outbound(settings))
        self.account.provider = provider
        self._settings = settings
        self._passage = self._compose()

    async def credential_changed(self) -> None:
        """Take note that the credential file is another: the device may have got its id by now."""
        self.adopt(self._settings)
        if self.account.source.condition().ready:
            await self.desk.close()

    def health(self) -> Mapping[str, object]:
        """Return the health document: how every provider is doing, and no secret."""
        condition = self.account.source.condition()
        row: dict[str, object] = {"ready": condition.ready, "auth": str(self.account.provider.auth)}
        if condition.remaining is not None:
            row["expires_in_seconds"] = round(condition.remaining)
        if condition.refreshed_at is not None:
            row["refreshed_at"] = round(condition.refreshed_at)
        if condition.problem:
            row["problem"] = condition.problem
        healthy = condition.ready and not condition.problem
        return {
            "status": "ok" if healthy else "degraded",
            "version": __version__,
            "pid": os.getpid(),
            "uptime_seconds": round(self._clock.monotonic() - self._started_at),
            "streams": self.front_door.live,
            "providers": {self.account.provider.name: row},
        }

    def ready(self, provider: str) -> bool | None:
        """Say whether *provider*'s credential is usable; ``None`` for a provider nobody knows."""
        if provider != self.account.provider.name:
            return None
        return self.account.source.condition().ready

    async def close(self) -> None:
        """Finish what must not be cut short, then close every connection."""
        await self.desk.close()
        await self.account.source.settle(leaving=True)
        await self._client.close()

    @property
    def clients(self) -> Clients:
        """How callers prove themselves: as configured, or as well as the kernel lets them."""
        chosen = cast("Clients | None", self._settings.config.server.clients)
        if chosen == "same-user" and not self._can_tell:
            raise ConfigError(
                'server.clients: this system does not tell whose socket it is: write "key"'
            )
        return chosen or ("same-user" if self._can_tell else "key")

    async def _invite(self, provider: str) -> str:
        del provider  # one account so far
        return await self.desk.sentence()

    def _compose(self) -> Passage:
        server, provider = self._settings.config.server, self.account.provider
        return Passage(
            routes=Routes.of([provider], default=server.default_provider),
            sources={provider.name: self.account.source},
            policy=Policy(
                port=self._port,
                hosts=frozenset(server.hosts),
                clients=self.clients,
                key=self._key,
                uid=os.getuid(),
            ),
            limits=Limits(
                max_body=server.max_body,
                body_budget=server.body_budget,
                idle_seconds=server.idle_seconds,
            ),
        )


def peer_uid(local: tuple[str, int], remote: tuple[str, int]) -> int | None:
    """Return who owns the other end of a connection, or ``None`` where the kernel cannot say."""
    owner = peer.owner(local, remote)
    return owner.uid if owner is not None and owner.inode else None


def _outbound(settings: Settings) -> Outbound:
    network = settings.config.network
    return outbound(settings.environment, network.proxy, network.ca_file)
