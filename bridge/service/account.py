"""Holds the Kimi account of this user: its file, its login and its token, in daemon and command."""

from __future__ import annotations

from pathlib import Path

from bridge.clock import Clock
from bridge.credentials.device import Device
from bridge.credentials.login import Login
from bridge.credentials.refresh import Refresh
from bridge.credentials.rotating import OAuthSource
from bridge.credentials.store import Store
from bridge.network import Client
from bridge.oauth.endpoint import HttpEndpoint
from bridge.providers import OAuth


def credential_file(share: Path) -> Path:
    """Return the file of the login below *share*, which the official CLI uses too."""
    return share / "credentials" / "kimi-code.json"


class Account:
    """The account at one authorization server, *oauth*, with its files in *share*.

    Works inside a running event loop. The lock beside the file keeps others out, so several may be
    at work on one file.
    """

    def __init__(self, oauth: OAuth, share: Path, client: Client, clock: Clock) -> None:
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
            ),
            clock=clock,
        )

    def login(self) -> Login:
        """Return a new device flow."""
        return Login(
            store=self.store,
            oauth=self._oauth,
            endpoint=self._endpoint,
            clock=self._clock,
            device=self.device,
        )
