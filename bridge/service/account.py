"""Holds the Kimi account of this user: its file, its login and its token, in daemon and command."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Self

from bridge.clock import Clock
from bridge.config import Paths
from bridge.credentials.device import Device
from bridge.credentials.journal import Journal
from bridge.credentials.login import Login
from bridge.credentials.refresh import LOGIN_HINT, Refresh
from bridge.credentials.restraint import Restraint
from bridge.credentials.rotating import OAuthSource
from bridge.credentials.source import Condition
from bridge.credentials.store import Credential, Store
from bridge.credentials.telling import Telling
from bridge.network import Client
from bridge.oauth.endpoint import HttpEndpoint
from bridge.oauth.grant import Wait
from bridge.providers import OAuth


def credential_file(share: Path) -> Path:
    """Return the file of the login below *share*, which the official CLI uses too."""
    return share / "credentials" / "kimi-code.json"


def journal_file(paths: Paths) -> Path:
    """Return the file of the refresh journal: one for each login, as each has its own lock."""
    login = str(credential_file(Path(paths.kimi_share)))
    mark = hashlib.sha256(login.encode(errors="surrogateescape")).hexdigest()[:8]
    return Path(paths.key).with_name(f"refreshes-{mark}.jsonl")


def at_rest(paths: Paths, clock: Clock) -> Condition:
    """Return how the login stands where no daemon is there to ask; blocks on the disk, asks nobody.

    Raises ``CredentialError`` where the file cannot be read.
    """
    credential = Store(credential_file(Path(paths.kimi_share)), clock).read()
    journal = Journal(journal_file(paths), clock)
    journal.look()
    telling = Telling(clock, journal, Restraint(clock))
    if credential is None:
        return telling.none(f"there is no login: {LOGIN_HINT}")
    return telling.condition(credential.token, None, busy=False)


class Account:
    """The account at one authorization server, *oauth*, with its files where *paths* says.

    Works inside a running event loop. The lock beside the file keeps others out, so several may be
    at work on one file.
    """

    def __init__(self, oauth: OAuth, paths: Paths, client: Client, clock: Clock) -> None:
        share = Path(paths.kimi_share)
        self.device = Device(share / "device_id")
        self.store = Store(credential_file(share), clock)
        self._oauth = oauth
        self._clock = clock
        self._endpoint = HttpEndpoint(client)
        self.source = OAuthSource(
            store=self.store,
            refresh=Refresh(
                store=self.store,
                oauth=oauth,
                endpoint=self._endpoint,
                clock=clock,
                headers=self.device.grant_headers,
                journal=Journal(journal_file(paths), clock),
            ),
            clock=clock,
        )

    def login(self) -> Login:
        """Return a new device flow; a login that comes of it is no news to the source."""
        flow = _OwnLogin(
            store=self.store,
            oauth=self._oauth,
            endpoint=self._endpoint,
            clock=self._clock,
            device=self.device,
        )
        return flow.tells(self.source)


class _OwnLogin(Login):
    """A device flow of our own, of which the source hears first."""

    _source: OAuthSource

    def tells(self, source: OAuthSource) -> Self:
        """Return itself, which tells *source* from now on."""
        self._source = source
        return self

    async def finish(self, waiting: Callable[[Wait], None] = lambda _: None) -> Credential:
        """Finish as any flow does, and tell the source."""
        credential = await super().finish(waiting)
        self._source.logged_in(credential)
        return credential
