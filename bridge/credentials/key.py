"""Returns the key of a provider from the first of its places that yields one.

The places are looked at for each request, so a key that is changed counts from the next one on. A
place that holds something else than a key is passed over and told about: once in the log for each
change, and in the condition for as long as it lasts.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bridge import location
from bridge.clock import Clock
from bridge.credentials.keycommand import Command
from bridge.credentials.keyplace import File, Key, Place, Variable
from bridge.credentials.source import Condition, Held
from bridge.errors import BridgeError, KeyRequired
from bridge.providers import KeyPlace, Provider

log = logging.getLogger("bridge")


class KeySource:
    """The source of a provider whose keys do not expire.

    *environment* is the daemon's: its variables are places, it names the home folder, and commands
    run in it. Safe for any number of concurrent tasks of one event loop.
    """

    def __init__(self, provider: Provider, environment: Mapping[str, str], clock: Clock) -> None:
        self._provider = provider
        self._places = [_place(each, environment, provider, clock) for each in provider.keys]
        self._told: tuple[str, ...] = ()

    def serves(self, provider: Provider) -> bool:
        """Say whether *provider* would get the very same source, so that this one may stay."""
        mine = self._provider
        return (mine.name, mine.aliases, mine.keys, mine.key_prefixes) == (
            provider.name,
            provider.aliases,
            provider.keys,
            provider.key_prefixes,
        )

    def at_once(self) -> Key | None:
        """Return the key at hand; see :class:`Source`."""
        seen = self._look()
        return None if seen.key is None else self._noted(seen.key, seen.failures)

    async def current(self) -> Key:
        """Return the key that is there now; see :class:`Source`.

        Waits for nothing but a command. Raises ``KeyRequired`` where there is none, or
        ``CredentialUnreadable`` where that cannot be told. Cancelling the caller ends no command.
        """
        failures: list[BridgeError] = []
        for place in self._places:
            try:
                key = await place.current()
            except BridgeError as error:
                failures.append(error)
                continue
            if key is not None:
                return self._noted(key, failures)
        raise self._nothing(failures)

    async def rejected(self, held: Held) -> Key:
        """Return the key that is there now; see :class:`Source`.

        A command that gave *held* is run again, at most once a minute.
        """
        for place in self._places:
            await place.renew(held.access)
        return await self.current()

    def condition(self) -> Condition:
        """Say how the key is doing. Runs no command: one that has not run counts as good."""
        seen = self._look()
        problem: str | None = None
        if seen.place is None:
            problem = str(self._nothing(seen.failures))
        elif told := _told(seen.key, seen.failures):
            problem = told[0]
        return Condition(
            ready=seen.place is not None, remaining=None, refreshed_at=None, problem=problem
        )

    def found(self) -> str | None:
        """Return the name of the place that yields the key, ``None`` where none does.

        Runs no command: one that has not run counts as yielding.
        """
        place = self._look().place
        return None if place is None else place.name

    def _look(self) -> _Look:
        """Look for the key without waiting; without a key, a place that may yield one is named."""
        failures: list[BridgeError] = []
        for place in self._places:
            try:
                key = place.at_once()
            except BridgeError as error:
                failures.append(error)
                continue
            if key is not None or place.waits:
                return _Look(place, key, failures)
        return _Look(None, None, failures)

    def _noted(self, key: Key, failures: Sequence[BridgeError]) -> Key:
        if not failures and key.oddities == self._told:
            return key
        told = _told(key, failures)
        for oddity in told:
            if oddity not in self._told:
                log.warning("key odd provider=%s reason=%s", self._provider.name, oddity)
        self._told = told
        return key

    def _nothing(self, failures: Sequence[BridgeError]) -> BridgeError:
        """Return what to say where no place has a key: every place, and what to do."""
        name = self._provider.name
        if failures:
            seen = "; ".join(map(str, failures))
            return type(failures[0])(f"{name} has no usable key: {seen}")
        if not self._places:
            return KeyRequired(
                f"{name} has no key and no place for one: name one in the configuration, "
                f'[providers.{name}] key = {{ file = "PATH" }}'
            )
        # A file is the better advice: it counts at once, the environment only for a new daemon.
        places = sorted(self._places, key=lambda place: isinstance(place, Variable))
        advice = " or ".join(place.advice for place in places)
        return KeyRequired(f"{name} has no key: {advice}")


class _Look(NamedTuple):
    """What was seen: the *place* that yields, its *key*, and why those before it do not."""

    place: Place | None
    key: Key | None
    failures: Sequence[BridgeError]


def _told(key: Key | None, failures: Sequence[BridgeError]) -> tuple[str, ...]:
    return (*map(str, failures), *(key.oddities if key else ()))


def _place(
    place: KeyPlace, environment: Mapping[str, str], provider: Provider, clock: Clock
) -> Place:
    if place.env:
        return Variable(place.env, environment, provider)
    if place.file:
        path = location.expanded(place.file, environment)
        return File(place.file, path, provider, clock)
    return Command(place.command, environment, provider, clock)
