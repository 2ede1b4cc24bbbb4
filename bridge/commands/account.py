"""The verbs about a login: login, logout, token, up. They work with and without a daemon."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import webbrowser
from collections.abc import AsyncIterator, Mapping

from bridge.clock import SystemClock
from bridge.commands import daemon
from bridge.errors import LoginRequired
from bridge.network import Client, outbound
from bridge.oauth.grant import Invitation, Wait
from bridge.service.house import Account
from bridge.service.probe import probe
from bridge.service.settings import Settings, load

Options = Mapping[str, object]


def login(options: Options, *, browser: bool = True) -> int:
    """Log in by the device flow, on this terminal; a running daemon picks the login up at once."""
    return asyncio.run(_login(load(options), browser=browser))


def logout(options: Options) -> int:
    """Forget the login: remove the credential file, under its lock."""
    return asyncio.run(_logout(load(options)))


def token(options: Options) -> int:
    """Print a fresh access token and nothing else."""
    print(asyncio.run(_token(load(options))))
    return 0


def up(options: Options) -> int:
    """Start the daemon if none of ours answers, then log in if that is needed and can be done."""
    settings = load(options)
    where = (str(settings.paths.pid_file), settings.config.server.port)
    code = probe(*where, provider="kimi").code
    if code not in {0, 150}:
        if started := daemon.start(options):
            return started
        code = probe(*where, provider="kimi").code
    if code != 150:
        return code
    if not sys.stdin.isatty():
        raise LoginRequired("Kimi login needed: run: bridge login")
    return asyncio.run(_login(settings, browser=True))


@contextlib.asynccontextmanager
async def _account(settings: Settings) -> AsyncIterator[Account]:
    # What goes wrong is told by the one line with which the command ends.
    logging.getLogger().addHandler(logging.NullHandler())
    network = settings.config.network
    client = Client(outbound(settings.environment, network.proxy, network.ca_file))
    account = Account(settings, client, SystemClock())
    try:
        yield account
    finally:
        await account.source.settle(leaving=True)
        await client.close()


async def _login(settings: Settings, *, browser: bool) -> int:
    async with _account(settings) as account:
        flow = account.login()
        invitation = await flow.begin()
        _show(invitation)
        if browser and _has_browser():
            webbrowser.open(invitation.verification_uri_complete or invitation.verification_uri)
        terminal = sys.stdout.isatty()

        def waiting(step: Wait) -> None:
            if terminal:
                print(".", end="", flush=True)
            elif step.reason != "authorization_pending":
                print(f"still waiting ({step.reason})", flush=True)

        await flow.finish(waiting)
        print(("\n" if terminal else "") + f"Logged in. The login is in {account.store.path}")
        return 0


async def _logout(settings: Settings) -> int:
    async with _account(settings) as account:
        if account.store.identity() is None:
            print("There was no login.")
            return 0
        async with account.store.lock():
            account.store.remove()
        print(f"Logged out: {account.store.path} is removed.")
        return 0


async def _token(settings: Settings) -> str:
    async with _account(settings) as account:
        token = await account.source.current()
        # Inside the margin a refresh runs beside us: a script wants the token that lives longer.
        await account.source.settle()
        return (account.source.held() or token).access


def _show(invitation: Invitation) -> None:
    page = invitation.verification_uri_complete or invitation.verification_uri
    print(f"Open this page and approve the login:\n\n    {page}\n")
    print(f"It must show this code: {invitation.user_code}")
    print("Waiting for the approval", end="" if sys.stdout.isatty() else "\n", flush=True)


def _has_browser() -> bool:
    if not sys.stdout.isatty():
        return False
    return sys.platform == "darwin" or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
