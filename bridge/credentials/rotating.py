"""Returns a token that works, refreshing at most once for everyone who asks.

The file is the truth: each request costs one ``stat``, and whatever a neighbour wrote counts from
then on. A refresh runs in a task of its own that no request, hang-up or signal cancels; who must
wait for it waits shielded and for a bounded time. Correctness rests on the wall clock at each
request and on no timer, so sleep and wake need no special case.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

from bridge.clock import Clock, within
from bridge.credentials.refresh import LOGIN_HINT, Due, Refresh, Unsaved
from bridge.credentials.restraint import Restraint
from bridge.credentials.source import Condition, Held
from bridge.credentials.store import Credential, Store
from bridge.credentials.telling import Telling
from bridge.errors import (
    AuthorizationServerError,
    BridgeError,
    CredentialBusy,
    CredentialError,
    CredentialUnreadable,
    LoginRequired,
)
from bridge.oauth.token import Token

log = logging.getLogger("bridge")

#: Seconds that a request waits for a refresh before it is told to come back.
WAIT_SECONDS: Final = 30.0


class OAuthSource:
    """The token source of a provider whose access tokens are refreshed (RFC 6749 section 6).

    Safe for any number of concurrent tasks of one event loop.
    """

    def __init__(self, *, store: Store, refresh: Refresh, clock: Clock) -> None:
        self._store = store
        self._refresh = refresh
        self._clock = clock
        self._restraint = Restraint(clock)
        self._credential: Credential | None = None
        self._unsaved: Unsaved | None = None
        self._task: asyncio.Task[Credential] | None = None
        self._telling = Telling(clock, refresh.journal, self._restraint)

    def at_once(self) -> Token | None:
        """Return the token at hand where it is fresh; see :class:`Source`."""
        try:
            token = self._known().token
        except BridgeError:
            return None
        return None if token.stale(self._clock.now()) else token

    async def current(self) -> Token:
        """Return a token that is good now; see :class:`Source`.

        Inside the margin the living token is returned while the refresh runs beside it; only when
        little is left does the caller wait. Raises ``LoginRequired``, ``CredentialError`` or
        ``AuthorizationServerError``. Cancelling the caller never cancels the refresh.
        """
        token = self._known().token
        now = self._clock.now()
        if not token.stale(now):
            return token
        try:
            task = self._begin(lambda held: held.stale(self._clock.now()))
            return await self._wait(task) if token.urgent(now) else token
        except BridgeError:
            if token.remaining(self._clock.now()) > 0:
                return token
            raise

    async def rejected(self, held: Held) -> Token:
        """Return a token other than *held* if one may be had now; see :class:`Source`.

        A newer token in the file is adopted; else one refresh is forced, at most once for each
        token and once a minute, so that an upstream which refuses good tokens does not burn the
        login. Raises ``LoginRequired`` where the refresh token is dead too.
        """
        token = self._known().token
        if token.access != held.access:
            return await self.current()
        forced = self._task is None
        if forced and not self._restraint.may_force(token):
            return token
        try:
            task = self._begin(lambda held: held.access == token.access, living=False)
            if forced:
                self._restraint.forced(token)
                log.info("token rejected by the upstream provider=kimi")
            return await self._wait(task)
        except (AuthorizationServerError, CredentialError):
            return token

    def refresh_if_due(self) -> None:
        """Start a refresh beside whatever runs, if one is due and none is under way.

        For the keeper; what goes wrong is remembered and told by :meth:`condition`.
        """
        with contextlib.suppress(BridgeError):
            if self._known().token.stale(self._clock.now()):
                self._begin(lambda held: held.stale(self._clock.now()))

    def renew(self) -> None:
        """Start a refresh of a token that may well be fresh, so that its login does not lapse."""
        with contextlib.suppress(BridgeError):
            token = self._known().token
            self._begin(lambda held: held.refresh == token.refresh)

    def held(self) -> Token | None:
        """Return the token at hand without asking anybody, or ``None`` for "not logged in"."""
        with contextlib.suppress(BridgeError):
            return self._known().token
        return None

    def attend(self, *, in_use: bool) -> None:
        """Hear whether the keeper refreshes ahead of time; tell of a login that ends anyway."""
        self._telling.in_use = in_use
        if (token := self.held()) is not None:
            self._telling.foresee(token, busy=self._task is not None)

    def logged_in(self, credential: Credential) -> None:
        """Take note of a login of our own, which whoever asked for it tells of."""
        self._credential = credential
        self._telling.seen(credential.token, ours=True)

    async def recover(self) -> None:
        """Finish what a crash cut short before a neighbour trips over it; for the start."""
        try:
            await self._refresh.recover()
        except CredentialError as error:
            log.error("credential not recovered provider=kimi reason=%s", error)
        if (token := self.held()) is not None:
            self._telling.suspected(token)

    async def save(self) -> None:
        """Try again to put a token on disk that the disk refused; does nothing where none waits."""
        if (unsaved := self._unsaved) is None:
            return
        try:
            saved = await self._refresh.save(unsaved.predecessor.token, unsaved.token)
        except (OSError, CredentialError) as error:
            log.error("token not saved provider=kimi reason=%s", error)
            return
        if self._unsaved is unsaved:
            self._unsaved, self._credential = None, saved
            self._telling.saved(saved.token if saved else None, unsaved)

    async def settle(self, *, leaving: bool = False) -> None:
        """Wait until no refresh is under way: nobody may leave between rotation and file.

        With *leaving*, for good, a refresh that has sent nothing and waits for the lock is let go.
        """
        self._refresh.leaving = leaving
        while self._task is not None:
            await asyncio.wait([self._task])
        await self.save()

    def condition(self) -> Condition:
        """Say how the login is doing. Never raises, asks no server, costs one ``stat``."""
        try:
            token = self._known().token
        except BridgeError as error:
            return self._telling.none(str(error))
        return self._telling.condition(token, self._unsaved, busy=self._task is not None)

    def _known(self) -> Credential:
        """Return what the file holds now, from memory where the file has not changed."""
        if self._unsaved is not None and (waiting := self._waiting(self._unsaved)) is not None:
            return waiting
        identity = self._store.identity()
        if self._credential is None or self._credential.identity != identity or identity is None:
            self._credential = self._store.read()
            if self._task is None:
                self._see(self._credential)
        if self._credential is None:
            raise LoginRequired(f"there is no login: {LOGIN_HINT}")
        return self._credential

    def _see(self, credential: Credential | None) -> None:
        token = credential.token if credential else None
        # What a crash had left behind was told of when it was found.
        self._telling.seen(token, ours=token is not None and token == self._refresh.recovered)

    def _waiting(self, unsaved: Unsaved) -> Credential | None:
        """Return the unsaved token while the file holds its predecessor or cannot be read."""
        identity = None
        with contextlib.suppress(CredentialUnreadable):
            identity = self._store.identity()
            if identity is None or identity != unsaved.predecessor.identity:
                current = self._store.read()
                if current is None or current.token.refresh != unsaved.predecessor.token.refresh:
                    self._unsaved = None
                    return None
                unsaved.predecessor = current
        return Credential(unsaved.token, identity)

    def _begin(self, due: Due, *, living: bool = True) -> asyncio.Task[Credential]:
        """Return the refresh under way, or start one. Raises where none may be started now."""
        if self._task is None:
            token = self._known().token
            self._restraint.check(token, living=living)
            self._task = asyncio.create_task(self._run(due, living=living), name="token refresh")
            self._task.add_done_callback(lambda task: self._ended(token, task))
        return self._task

    async def _run(self, due: Due, *, living: bool) -> Credential:
        await self.save()
        if self._unsaved is not None:
            # The file still holds a spent refresh token: presenting it would end the login.
            raise CredentialUnreadable(str(self._unsaved))
        rotations = self._refresh.rotations
        try:
            self._credential = credential = await self._refresh.succeed(due, living=living)
        except Unsaved as unsaved:
            self._unsaved = unsaved
            self._telling.unsaved(unsaved)
            return Credential(unsaved.token, unsaved.predecessor.identity)
        if self._refresh.rotations > rotations:
            self._telling.refreshed(credential.token)
        else:
            self._see(credential)
        return credential

    def _ended(self, token: Token, task: asyncio.Task[Credential]) -> None:
        self._task = None
        if task.cancelled():
            return
        if (error := task.exception()) is None:
            self._restraint.succeeded()
        else:
            self._restraint.failed(token, error)
            self._telling.failed(token, error)
            self._see(self._credential)

    async def _wait(self, task: asyncio.Task[Credential]) -> Token:
        """Wait for *task* for a bounded time, without owning it."""
        if not await within(self._clock, WAIT_SECONDS, task):
            raise CredentialBusy(
                f"the token refresh takes more than {WAIT_SECONDS:.0f} s: try again"
            )
        return task.result().token
