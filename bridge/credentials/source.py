"""Returns a token that works, refreshing at most once for everyone who asks.

The file is the truth: each request costs one ``stat``, and whatever a neighbour wrote counts from
then on. A refresh runs in a task of its own that no request, hang-up or signal cancels; who must
wait for it waits shielded and for a bounded time. Correctness rests on the wall clock at each
request and on no timer, so sleep and wake need no special case.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from bridge.clock import Clock, within
from bridge.credentials.refresh import LOGIN_HINT, Refresh, Unsaved
from bridge.credentials.store import Credential, Store
from bridge.errors import (
    AnswerLost,
    AuthorizationServerError,
    BridgeError,
    CredentialBusy,
    CredentialError,
    CredentialUnreadable,
    LoginRequired,
)
from bridge.oauth.grant import RefreshRefused
from bridge.oauth.token import Token

log = logging.getLogger("bridge")

#: Seconds that a request waits for a refresh before it is told to come back.
WAIT_SECONDS: Final = 30.0
#: Seconds between two refreshes that an upstream's 401 forced.
FORCED_INTERVAL: Final = 60.0
#: Pauses after refreshes that failed in a row; the last one repeats.
COOL_DOWN: Final = (5.0, 10.0, 20.0, 40.0, 60.0)
#: Seconds for which a refusal counts that might have been a captive portal's.
UNCERTAIN_REFUSAL_SECONDS: Final = 300.0


class TokenSource(Protocol):
    """Where a request gets the credential it leaves with."""

    async def current(self) -> Token:
        """Return a token that is good now. Raises a ``BridgeError`` that says what to do."""

    async def rejected(self, token: Token) -> Token:
        """Return a token to try once more with, after the upstream answered 401 to *token*.

        The same token comes back where no other may be had now: the 401 is then the client's.
        """


@dataclass(frozen=True, slots=True)
class Condition:
    """How a source is doing, for people: no secret in it."""

    ready: bool
    remaining: float | None
    refreshed_at: float | None
    problem: str | None


class OAuthSource:
    """The token source of a provider whose access tokens are refreshed (RFC 6749 section 6).

    Safe for any number of concurrent tasks of one event loop.
    """

    def __init__(self, *, store: Store, refresh: Refresh, clock: Clock) -> None:
        self._store = store
        self._refresh = refresh
        self._clock = clock
        self._credential: Credential | None = None
        self._unsaved: tuple[Credential, Token] | None = None
        self._task: asyncio.Task[Credential] | None = None
        self._dead: dict[str, float] = {}
        self._forced: tuple[str, float] = ("", float("-inf"))
        self._not_before = float("-inf")
        self._failures = 0
        self._problem: str | None = None
        self._refreshed_at: float | None = None

    async def current(self) -> Token:
        """Return a token that is good now; see :class:`TokenSource`.

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

    async def rejected(self, token: Token) -> Token:
        """Return a token other than *token* if one may be had now; see :class:`TokenSource`.

        A newer token in the file is adopted; else one refresh is forced, at most once for each
        token and once a minute, so that an upstream which refuses good tokens does not burn the
        login. Raises ``LoginRequired`` where the refresh token is dead too.
        """
        known = self._known().token
        if known.access != token.access:
            return known
        if self._task is None and not self._may_force(token):
            return token
        try:
            if self._task is None:
                self._forced = (token.access, self._clock.monotonic())
                log.info("token rejected by the upstream provider=kimi")
            return await self._wait(self._begin(lambda held: held.access == token.access))
        except (AuthorizationServerError, CredentialError):
            return token

    def refresh_if_due(self) -> None:
        """Start a refresh beside whatever runs, if one is due and none is under way.

        For the keeper; failures are remembered and seen by :meth:`condition`.
        """
        try:
            if self._known().token.stale(self._clock.now()):
                self._begin(lambda held: held.stale(self._clock.now()))
        except BridgeError as error:
            self._problem = str(error)

    def renew(self) -> None:
        """Start a refresh of a token that may well be fresh, so that its login does not lapse."""
        try:
            token = self._known().token
            self._begin(lambda held: held.refresh == token.refresh)
        except BridgeError as error:
            self._problem = str(error)

    def held(self) -> Token | None:
        """Return the token at hand without asking anybody, or ``None`` for "not logged in"."""
        try:
            return self._known().token
        except BridgeError:
            return None

    async def save(self) -> None:
        """Try again to put a token on disk that the disk refused; does nothing where none waits."""
        if self._unsaved is None:
            return
        credential, predecessor = self._unsaved
        try:
            saved = await self._refresh.save(predecessor, credential.token)
        except (OSError, CredentialError) as error:
            log.error("token not saved provider=kimi reason=%s", error)
            return
        self._unsaved, self._credential, self._problem = None, saved, None
        log.info("token saved provider=kimi")

    async def settle(self) -> None:
        """Wait until no refresh is under way: nobody may leave between rotation and file."""
        while self._task is not None:
            await asyncio.wait([self._task])
        await self.save()

    def condition(self) -> Condition:
        """Say how the login is doing. Never raises, asks no server, costs one ``stat``."""
        now = self._clock.now()
        try:
            token = self._known().token
        except BridgeError as error:
            return Condition(
                ready=False,
                remaining=None,
                refreshed_at=self._refreshed_at,
                problem=str(error),
            )
        dead = self._is_dead(token)
        remaining = token.remaining(now) if token.access else None
        ready = not dead or token.remaining(now) > 0
        problem = f"the login has ended: {LOGIN_HINT}" if dead else self._problem
        return Condition(ready, remaining, self._refreshed_at, problem)

    def _known(self) -> Credential:
        """Return what the file holds now, from memory where the file has not changed."""
        identity = self._store.identity()
        if self._unsaved is not None:
            if self._unsaved[0].identity == identity and identity is not None:
                return self._unsaved[0]
            self._unsaved = None
        if self._credential is None or self._credential.identity != identity or identity is None:
            self._credential = self._store.read()
        if self._credential is None:
            raise LoginRequired(f"there is no login: {LOGIN_HINT}")
        return self._credential

    def _begin(self, due: Callable[[Token], bool]) -> asyncio.Task[Credential]:
        """Return the refresh under way, or start one. Raises where none may be started now."""
        if self._task is None:
            token = self._known().token
            if self._is_dead(token):
                raise LoginRequired(f"the login has ended: {LOGIN_HINT}")
            wait = self._not_before - self._clock.monotonic()
            if wait > 0:
                raise AuthorizationServerError(self._problem or "", retry_after=wait)
            self._task = asyncio.create_task(self._run(due), name="token refresh")
            self._task.add_done_callback(self._ended)
        return self._task

    async def _run(self, due: Callable[[Token], bool]) -> Credential:
        await self.save()
        if self._unsaved is not None:
            # The file still holds a spent refresh token: presenting it would end the login.
            raise CredentialUnreadable(self._problem or "the last token is not saved")
        predecessor = self._known()
        try:
            credential = await self._refresh.succeed(due)
        except Unsaved as unsaved:
            credential = Credential(unsaved.token, predecessor.identity)
            self._unsaved = (credential, predecessor.token)
            self._problem = f"{unsaved}: the new token is only in memory; make room at once"
            log.error("token not saved provider=kimi reason=%s", unsaved)
        else:
            self._credential, self._problem = credential, None
        self._failures, self._not_before = 0, float("-inf")
        self._refreshed_at = self._clock.now()
        remaining = credential.token.remaining(self._clock.now())
        log.info("token refreshed provider=kimi remaining=%.0fs", remaining)
        return credential

    def _ended(self, task: asyncio.Task[Credential]) -> None:
        self._task = None
        if task.cancelled() or (error := task.exception()) is None:
            return
        self._problem = str(error)
        log.warning("token refresh failed provider=kimi reason=%s", error)
        if isinstance(error, RefreshRefused):
            until = float("inf") if error.certain else UNCERTAIN_REFUSAL_SECONDS
            self._dead[error.token.refresh] = self._clock.monotonic() + until
            return
        pause = COOL_DOWN[min(self._failures, len(COOL_DOWN) - 1)]
        self._failures += 1
        if isinstance(error, AnswerLost) and (token := self.held()):
            # The refresh token may be spent: live on the access token for as long as it lasts.
            pause = max(pause, token.remaining(self._clock.now()) - token.critical)
        self._not_before = self._clock.monotonic() + pause

    async def _wait(self, task: asyncio.Task[Credential]) -> Token:
        """Wait for *task* for a bounded time, without owning it."""
        if not await within(self._clock, WAIT_SECONDS, task):
            raise CredentialBusy(
                f"the token refresh has not ended within {WAIT_SECONDS:.0f} s: try again"
            )
        return task.result().token

    def _may_force(self, token: Token) -> bool:
        value, at = self._forced
        return value != token.access and self._clock.monotonic() - at >= FORCED_INTERVAL

    def _is_dead(self, token: Token) -> bool:
        return not token.refresh or self._dead.get(token.refresh, 0.0) > self._clock.monotonic()
