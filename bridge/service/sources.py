"""Gives each row in force the source of its credential, and keeps it for as long as it fits.

A reload that leaves a row's places alone leaves its source alone too: what a command has printed is
not asked for again, and a refresh under way stays the only one. Requests keep the source they have.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from bridge.clock import Clock
from bridge.credentials.keeper import Keeper
from bridge.credentials.key import KeySource
from bridge.credentials.source import Condition, Source
from bridge.errors import ConfigError
from bridge.network import Client
from bridge.providers import Auth, OAuth, Provider
from bridge.proxy.tally import Account as Passed
from bridge.proxy.tally import Outcome
from bridge.service.account import Account
from bridge.service.settings import Settings

_ERRORS: Final = frozenset({Outcome.FAILED, Outcome.CUT})


class Sources:
    """The sources of one daemon; made inside the running event loop.

    *account* is the login in force, ``None`` where no row has one.
    """

    def __init__(self, client: Client, clock: Clock) -> None:
        self.account: Account | None = None
        self._client = client
        self._clock = clock
        self._accounts: dict[OAuth, Account] = {}
        self._keys: dict[str, KeySource] = {}
        self._changed = asyncio.Event()

    def adopt(self, rows: Mapping[str, Provider], settings: Settings) -> Mapping[str, Source]:
        """Return the sources of *rows* by name; one that passes the caller's credential has none.

        From now on the login of *rows* is the one in force.
        """
        self._keys = {
            row.name: self._key(row, settings) for row in rows.values() if row.auth is Auth.KEY
        }
        accounts = {
            row.name: self._account(row.oauth, settings)
            for row in rows.values()
            if row.auth is Auth.OAUTH and row.oauth is not None
        }
        account = next(iter(accounts.values()), None)
        if account is not self.account:
            self.account = account
            self._changed.set()
        logins = {name: each.source for name, each in accounts.items()}
        return MappingProxyType({**self._keys, **logins})

    def in_force(self) -> Account:
        """Return the login in force; raises ``ConfigError`` where there is none."""
        if self.account is None:
            raise ConfigError("no provider has a login")
        return self.account

    async def keep(self, last_request: Callable[[], float | None]) -> None:
        """Keep the login in force fresh, whichever that is, until cancelled; see ``Keeper``."""
        while True:
            self._changed.clear()
            tasks: list[asyncio.Task[Any]] = [asyncio.create_task(self._changed.wait())]
            if self.account is not None:
                keeper = Keeper(self.account.source, self._clock, last_request)
                tasks.append(asyncio.create_task(keeper.keep()))
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                for task in tasks:
                    task.cancel()

    async def settle(self) -> None:
        """Finish what must not be cut short, for good."""
        for account in self._accounts.values():
            await account.source.settle(leaving=True)

    def _key(self, row: Provider, settings: Settings) -> KeySource:
        kept = self._keys.get(row.name)
        if kept is not None and kept.serves(row):
            return kept
        return KeySource(row, settings.environment, self._clock)

    def _account(self, oauth: OAuth, settings: Settings) -> Account:
        if oauth not in self._accounts:
            self._accounts[oauth] = Account(oauth, settings.paths, self._client, self._clock)
        return self._accounts[oauth]


def told(row: Provider, source: Source | None) -> Mapping[str, object]:
    """Return how the credential of *row* is doing, for the health document; no secret is in it."""
    if source is None:
        return {"ready": row.auth is Auth.PASSTHROUGH, "auth": str(row.auth)}
    place = source.found() if isinstance(source, KeySource) else None
    return stated(row, source.condition(), place)


def stated(row: Provider, condition: Condition, place: str | None = None) -> Mapping[str, object]:
    """Return the same of a *condition* that is known, of a key from *place*."""
    document: dict[str, object] = {"ready": condition.ready, "auth": str(row.auth)}
    if place is not None:
        document["source"] = place
    moments = {
        "expires_in_seconds": condition.remaining,
        "refreshed_at": condition.refreshed_at,
        "next_refresh_at": condition.next_refresh_at,
        "login_ends_at": condition.ends_at,
        "failed_at": condition.failed_at,
    }
    document |= {name: round(moment) for name, moment in moments.items() if moment is not None}
    words = {"failure": condition.failure, "problem": condition.problem, "note": condition.note}
    return document | {name: text for name, text in words.items() if text}


def passed(account: Passed | None) -> Mapping[str, object]:
    """Return what has gone through to a provider, for the health document.

    An error is whatever a client saw as one: an answer of 400 and more, ours or not, or a cut.
    """
    account = account or Passed()
    errors = sum(
        number
        for (outcome, status), number in account.ended.items()
        if outcome in _ERRORS or (outcome is Outcome.ANSWERED and status >= 400)
    )
    return {
        "requests": sum(account.ended.values()),
        "errors": errors,
        "sent_bytes": account.sent,
    }
