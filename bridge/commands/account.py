"""The verbs about a credential: login, logout, token, up. They work with and without a daemon."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
import webbrowser
from collections.abc import AsyncIterator, Mapping

from bridge.clock import SystemClock
from bridge.commands import daemon
from bridge.errors import KeyRequired, LoginRequired, UsageError
from bridge.network import Client, outbound
from bridge.oauth.grant import Invitation, Wait
from bridge.providers import Auth, OAuth, Provider
from bridge.service.account import Account
from bridge.service.catalogue import named, rows
from bridge.service.probe import LOGIN_NEEDED, SERVING, Answer, probe
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


def up(provider: str, options: Options) -> int:
    """Start the daemon if none of ours answers, then see to the credential of *provider*.

    Where a login is needed and there is a terminal, it is gone through; of a key is said what to
    do.
    """
    settings = load(options)
    row = named(rows(settings, {}), provider)
    where = (str(settings.paths.pid_file), settings.config.server.port)
    answer = probe(*where, provider=row.name)
    if answer.code not in {SERVING, LOGIN_NEEDED}:
        if started := daemon.start(options):
            return started
        answer = probe(*where, provider=row.name)
    if answer.code != LOGIN_NEEDED:
        return answer.code
    if row.auth is not Auth.OAUTH:
        raise KeyRequired(_problem(row, answer))
    if not sys.stdin.isatty():
        raise LoginRequired(f"{row.title} login needed: run: bridge login")
    return asyncio.run(_login(settings, browser=True))


def _problem(row: Provider, answer: Answer) -> str:
    """Return what the daemon, whose environment counts, finds wrong with the key of *row*."""
    with contextlib.suppress(ValueError, LookupError, TypeError):
        return str(json.loads(answer.document)["providers"][row.name]["problem"])
    return f"{row.name} has no key that the daemon knows of: run: bridge --restart"


def _kimi(settings: Settings) -> OAuth:
    row = rows(settings, {})["kimi"]
    if row.auth is not Auth.OAUTH or row.oauth is None:
        raise UsageError(
            "kimi has a key in this configuration and no login: "
            'see bridge providers, or write auth = "oauth" under [providers.kimi]'
        )
    return row.oauth


@contextlib.asynccontextmanager
async def _account(settings: Settings) -> AsyncIterator[Account]:
    oauth = _kimi(settings)
    # What goes wrong is told by the one line with which the command ends.
    logging.getLogger().addHandler(logging.NullHandler())
    network, providers = settings.config.network, settings.config.providers
    client = Client(
        outbound(settings.environment, network.proxy, network.ca_file, providers.values())
    )
    account = Account(oauth, settings.paths, client, SystemClock())
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
            if step.reason in {"authorization_pending", "slow_down"} and terminal:
                print(".", end="", flush=True)
            elif step.reason != "authorization_pending":
                lead = "\n" if terminal else ""
                print(f"{lead}still waiting ({step.reason})", flush=True)

        await flow.finish(waiting)
        print(("\n" if terminal else "") + f"Logged in. The login is in {account.store.path}")
        return 0


async def _logout(settings: Settings) -> int:
    async with _account(settings) as account:
        if account.store.identity() is None and not account.store.interrupted():
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
