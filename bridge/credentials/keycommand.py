"""Gets a key from a command of the user's (a keyring, a vault), seldom and for everyone who asks.

A command may take a second, ask a person for a finger, or be locked; so its key is kept for a
while, got anew beside the traffic before that ends, and stays in use where that fails. One run
serves all who wait. Correctness rests on the clock at each request and on no timer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Final

from bridge.clock import Clock
from bridge.credentials.keyplace import Key, judged, stripped
from bridge.credentials.program import printed
from bridge.errors import BridgeError, CredentialUnreadable
from bridge.providers import Provider

log = logging.getLogger("bridge")

#: Seconds that a run may take.
RUN_SECONDS: Final = 10.0
#: Seconds for which a key is used without asking, and how long before their end it is asked for.
KEPT_SECONDS: Final = 15 * 60.0
AHEAD_SECONDS: Final = 3 * 60.0
#: Seconds for which a key may be used while the command fails: a vault that locks itself must not
#: stop an agent in the middle of its work, and a key that was taken away must stop some time.
SPARE_SECONDS: Final = 12 * 3600.0
#: Seconds between two runs because the upstream refused the key.
FORCE_SECONDS: Final = 60.0
#: Seconds in which a command that failed is not run again, without a key and with an old one:
#: agents repeat themselves, and a vault asks people.
PAUSE_SECONDS: Final = 10.0
SPARE_PAUSE_SECONDS: Final = 60.0


class Command:
    """The program and arguments *words*, whose output is the key; nothing of them is ever shown.

    Safe for any number of concurrent tasks of one event loop. Cancelling one that waits does not
    end the run that others wait for.
    """

    def __init__(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        provider: Provider,
        clock: Clock,
    ) -> None:
        self.name = f"the key command of {provider.name}"
        self.advice = f"let {self.name} print it"
        self._words = tuple(words)
        self._environment = environment
        self._provider = provider
        self._clock = clock
        self._key: Key | None = None
        self._got_at = 0.0
        self._failure: BridgeError | None = None
        self._failed_at = 0.0
        self._forced_at: float | None = None
        self._task: asyncio.Task[Key] | None = None

    @property
    def waits(self) -> bool:
        """Whether only a run can tell."""
        return not self._within(KEPT_SECONDS - AHEAD_SECONDS) and not self._just_failed()

    def at_once(self) -> Key | None:
        """Return the key where it is young; see :class:`Place`. Never runs anything."""
        if self._key is not None and self._within(KEPT_SECONDS - AHEAD_SECONDS):
            return self._key
        return self._spare() if self._just_failed() else None

    async def current(self) -> Key:
        """Return the key, from a run where it is old; see :class:`Place`."""
        if (key := self.at_once()) is not None:
            return key
        task = self._begin()
        if self._key is not None and self._within(KEPT_SECONDS):
            return self._key
        return await self._outcome(task)

    async def renew(self, access: str) -> None:
        """Run the command once more where *access* is what it gave, at most once a minute."""
        if self._key is None or self._key.access != access:
            return
        if self._task is None:
            if self._forced_at is not None and self._age(self._forced_at) < FORCE_SECONDS:
                return
            self._forced_at = self._clock.now()
            log.info("key rejected by the upstream provider=%s", self._provider.name)
        await self._outcome(self._begin())

    def _begin(self) -> asyncio.Task[Key]:
        if self._task is None:
            name = f"key command of {self._provider.name}"
            self._task = asyncio.create_task(self._run(), name=name)
            self._task.add_done_callback(self._ended)
        return self._task

    async def _run(self) -> Key:
        output = await printed(
            self._words, self._environment, self._clock, name=self.name, seconds=RUN_SECONDS
        )
        place = f"the output of {self.name}"
        return judged(stripped(output), place, "let it print the key alone", self._provider)

    def _ended(self, task: asyncio.Task[Key]) -> None:
        self._task = None
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._key, self._got_at, self._failure = task.result(), self._clock.now(), None
            log.info("key got by command provider=%s", self._provider.name)
            return
        if not isinstance(error, BridgeError):  # a bug; its text may hold the command
            error = CredentialUnreadable(f"{self.name} failed ({type(error).__name__}): report it")
        self._failure, self._failed_at = error, self._clock.now()
        log.warning("key command failed provider=%s reason=%s", self._provider.name, error)

    async def _outcome(self, task: asyncio.Task[Key]) -> Key:
        """Wait for *task*, without owning it, and return the key that there is then."""
        await asyncio.wait([task])
        if not task.cancelled() and task.exception() is None:
            return task.result()
        return self._spare()

    def _spare(self) -> Key:
        """Return the key of the last good run, with the reason why there is no newer one."""
        failure = self._failure or CredentialUnreadable(f"{self.name} was ended: try again")
        if self._key is None or not self._within(SPARE_SECONDS):
            raise failure.with_traceback(None)  # or that would grow with each request
        return Key(self._key.access, self._key.place, (*self._key.oddities, str(failure)))

    def _within(self, seconds: float) -> bool:
        return self._key is not None and self._age(self._got_at) < seconds

    def _just_failed(self) -> bool:
        pause = PAUSE_SECONDS if self._key is None else SPARE_PAUSE_SECONDS
        return self._failure is not None and self._age(self._failed_at) < pause

    def _age(self, moment: float) -> float:
        """Return the seconds since *moment*; a clock that was set back makes it old."""
        age = self._clock.now() - moment
        return age if age >= 0 else float("inf")
