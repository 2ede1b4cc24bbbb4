"""The credential rooms composed as the daemon composes them, and the household they live in."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, Self, TypeVar

from bridge.clock import Clock
from bridge.credentials.device import Device
from bridge.credentials.journal import Journal
from bridge.credentials.login import Login
from bridge.credentials.refresh import Refresh
from bridge.credentials.rotating import OAuthSource
from bridge.credentials.store import Store
from bridge.credentials.successor import Successor
from bridge.errors import CredentialUnreadable
from bridge.network import Client, Outbound
from bridge.oauth.endpoint import HttpEndpoint
from bridge.oauth.token import Token
from bridge.providers import KIMI_CLIENT_ID, OAuth
from tests.fakes.authorization import AuthorizationServer
from tests.fakes.clock import FakeClock
from tests.fakes.credential import credential_file, read_credential, write_credential

T = TypeVar("T")


class _Stuck(Successor):
    """A successor that cannot take its place."""

    def install(self) -> os.stat_result:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


class _Torn(_Stuck):
    """A successor that cannot even be written."""

    def write(self, token: Token) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


class RefusingDisk(Store):
    """A store whose disk refuses the rename while *refusing*, and the writing too while *torn*."""

    refusing = False
    torn = False

    def reserve(self, predecessor: Token) -> Successor:
        """Make room, as there is some."""
        kind = _Torn if self.torn else _Stuck if self.refusing else Successor
        return kind.reserve(self.path, predecessor)

    def recover(self) -> bool:
        """Fail where there is something to rename."""
        if self.refusing and self.interrupted():
            raise CredentialUnreadable(f"{self.path} cannot be written (Input/output error)")
        return super().recover()


class Strongbox:
    """One bridge on *share_dir*, as an asynchronous context manager.

    *store_type* and *journal_type* let a test put its own in the place of the real ones.
    """

    def __init__(
        self,
        share_dir: Path,
        url: str,
        clock: Clock,
        store_type: type[Store] = Store,
        journal_type: type[Journal] = Journal,
    ) -> None:
        self.client = Client(Outbound({}))
        self.endpoint = HttpEndpoint(self.client)
        self.oauth = OAuth(host=url, client_id=KIMI_CLIENT_ID)
        self.device = Device(share_dir / "device_id")
        self.store = store_type(credential_file(share_dir), clock)
        self.clock = clock
        self.refresh = Refresh(
            store=self.store,
            oauth=self.oauth,
            endpoint=self.endpoint,
            clock=clock,
            headers=self.device.grant_headers,
            journal=journal_type(share_dir / "state" / "journal", clock),
        )
        self.source = OAuthSource(store=self.store, refresh=self.refresh, clock=clock)

    def login(self) -> Login:
        """Return a new device flow."""
        return Login(
            store=self.store,
            oauth=self.oauth,
            endpoint=self.endpoint,
            clock=self.clock,
            device=self.device,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *reason: object) -> None:
        try:
            if kind is None:
                await self.source.settle()
        finally:
            await self.client.close()


class Household:
    """A logged-in user: the share folder, the authorization server, and one bridge."""

    def __init__(
        self, share_dir: Path, clock: FakeClock, server: AuthorizationServer, box: Strongbox
    ) -> None:
        self.share_dir = share_dir
        self.clock = clock
        self.server = server
        self.box = box
        self.store, self.refresh, self.source = box.store, box.refresh, box.source

    @property
    def path(self) -> Path:
        """The credential file."""
        return credential_file(self.share_dir)

    @property
    def disk(self) -> RefusingDisk:
        """The store, where it is one on a disk that refuses."""
        assert isinstance(self.store, RefusingDisk)
        return self.store

    @property
    def credential(self) -> dict[str, Any]:
        """What the credential file holds, read by foreign code."""
        found = read_credential(self.share_dir)
        assert found is not None, "logged out"
        return found

    @property
    def litter(self) -> list[str]:
        """What lies beside the credential and its lock."""
        usual = {"kimi-code.json", "kimi-code.lock"}
        return sorted(p.name for p in self.path.parent.iterdir() if p.name not in usual)

    @property
    def elsewhere(self) -> Store:
        """The same file, as another process sees it."""
        return Store(self.path, self.clock)

    def another(self) -> Strongbox:
        """Return one more bridge on the same folder, as a second process would be."""
        return Strongbox(self.share_dir, self.server.url, self.clock)

    def neighbour_refreshes(self) -> dict[str, Any]:
        """Rotate the token as the official CLI would, at once, and return the new credential."""
        form = {
            "client_id": KIMI_CLIENT_ID,
            "grant_type": "refresh_token",
            "refresh_token": self.credential["refresh_token"],
        }
        status, answer = self.server.token(form)
        assert status == 200, answer
        write_credential(self.share_dir, answer, self.clock.now())
        return self.credential

    def logs_in_anew(self) -> dict[str, Any]:
        """Replace the login by another one, as ``kimi login`` would, and return it."""
        write_credential(self.share_dir, self.server.seed(), self.clock.now())
        return self.credential


@contextlib.asynccontextmanager
async def household(
    tmp_path: Path,
    clock: FakeClock,
    *,
    stern: bool = True,
    expires_in: float = 900,
    store_type: type[Store] = Store,
) -> AsyncIterator[Household]:
    """Run a household in *tmp_path* whose login is fresh at this moment."""
    share_dir = tmp_path / "share"
    async with AuthorizationServer(clock, stern=stern) as server:
        server.expires_in = expires_in
        write_credential(share_dir, server.seed(), clock.now())
        async with Strongbox(share_dir, server.url, clock, store_type) as box:
            yield Household(share_dir, clock, server, box)


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Return what *work* returns; raises ``AssertionError`` if it waits for anything at all."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    work.close()
    raise AssertionError("this waited")
