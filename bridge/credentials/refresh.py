"""Spends a refresh token once, under the lock, and puts its successor on disk.

This is the act itself; when to do it and for whom is the token source's business. The order is
what keeps a login: lock, look again, make room, exchange, write, unlock. Pauses between tries are
made outside the lock, because the official CLI loses patience after five to ten seconds and then
goes ahead without it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from bridge.clock import Clock
from bridge.credentials.chronicle import Outcome
from bridge.credentials.journal import Journal
from bridge.credentials.store import LOCK_PATIENCE_SECONDS, Credential, Store
from bridge.credentials.successor import Successor, successor_path
from bridge.errors import (
    AnswerLost,
    AuthorizationServerError,
    BridgeError,
    CredentialUnreadable,
    LoginRequired,
)
from bridge.oauth.endpoint import Endpoint
from bridge.oauth.grant import RefreshRefused, refresh_request, refreshed
from bridge.oauth.token import Token
from bridge.providers import OAuth

log = logging.getLogger("bridge")

#: Pauses in seconds before the second and third try of a refresh that may pass.
PAUSES: Final = (1.0, 2.0)
#: After a refusal the neighbour may be writing the successor at this very moment.
SECOND_LOOK_SECONDS: Final = 1.0
#: Who is leaving waits so long for the lock, in seconds, if there is a token to be saved.
LEAVING_SECONDS: Final = 5.0
LOGIN_HINT: Final = "run: bridge login"

#: Says of a token that it wants a successor.
Due = Callable[[Token], bool]


class Unsaved(Exception):
    """The refresh of *predecessor* succeeded, and the disk refused the new *token*."""

    def __init__(self, predecessor: Credential, token: Token, reason: str) -> None:
        super().__init__(f"{reason}: the new token is only in memory; make room at once")
        self.predecessor = predecessor
        self.token = token


class Spared(AnswerLost):
    """The refresh token may be spent and the access token lives: nothing was sent."""


class Refresh:
    """Refreshes the credential in *store* at the authorization server *oauth*.

    *journal* is told of each refresh before its token is spent, and of what came of it.
    """

    def __init__(
        self,
        *,
        store: Store,
        oauth: OAuth,
        endpoint: Endpoint,
        clock: Clock,
        headers: Callable[[], Mapping[str, str]],
        journal: Journal,
    ) -> None:
        self.journal = journal
        #: How many refreshes brought a new token, and the last one that a crash had left behind.
        self.rotations = 0
        self.recovered: Token | None = None
        self._store = store
        self._oauth = oauth
        self._endpoint = endpoint
        self._clock = clock
        self._headers = headers
        #: Set by who is about to leave: what has not been sent by then is not worth waiting for.
        self.leaving = False

    async def succeed(self, due: Due, *, living: bool = True) -> Credential:
        """Return a credential whose token is not *due*: a neighbour's, or a new one.

        *living* is false where the access token is known to be refused, so that sparing a refresh
        token that may be spent gains nothing. Must not be cancelled between the exchange and the
        write, so callers run it in a task of its own and shield it. Raises ``LoginRequired``
        (``RefreshRefused`` where the server said so), ``CredentialBusy``,
        ``CredentialUnreadable``, ``AuthorizationServerError`` (of which ``AnswerLost`` means that
        the token may have been spent, ``Spared`` that it therefore was not sent) and ``Unsaved``.
        """
        for pause in (*PAUSES, None):
            try:
                return await self._once(due, living=living)
            except AnswerLost:
                raise
            except AuthorizationServerError as error:
                asked = _asked_pause(error)
                if pause is None or asked > PAUSES[-1]:
                    raise
                log.warning("token refresh delayed provider=kimi reason=%s", error)
                await self._clock.sleep(max(pause, asked))
            except RefreshRefused as refusal:
                return await self._second_look(refusal, due)
        raise AssertionError("unreachable")  # pragma: no cover - the last pause is None

    async def recover(self) -> None:
        """Finish what a crash cut short, so that no neighbour presents a token that was spent.

        Takes the lock only where there is something to finish. Raises ``CredentialError``.
        """
        await asyncio.to_thread(self.journal.look)
        if self._store.interrupted() or self.journal.chronicle.under_way:
            async with self._store.lock():
                await asyncio.to_thread(self._resume)

    async def save(self, predecessor: Token, token: Token) -> Credential | None:
        """Try again to put an unsaved *token* on disk; see :meth:`Store.commit`.

        Raises ``OSError`` or ``CredentialError`` where that still cannot be done.
        """
        patience = LEAVING_SECONDS if self.leaving else LOCK_PATIENCE_SECONDS
        async with self._store.lock(patience):
            return await asyncio.to_thread(self._saved, predecessor, token)

    def _saved(self, predecessor: Token, token: Token) -> Credential | None:
        self._store.recover()
        current = self._store.read()
        # Others may have noted something while the token was only in memory.
        self.journal.resume(current.token if current else None)
        if current is not None and current.token.refresh == predecessor.refresh:
            current = self._store.commit(self._store.reserve(predecessor), token)
        if current is not None and current.token == token:
            self.journal.ended(predecessor, Outcome.ROTATED, token)
        return current

    def _resume(self) -> tuple[Credential | None, bool]:
        """Finish what was cut short, and return what the file holds and whether it is suspect."""
        before = self._store.read()
        suspect = self._store.recover()
        credential = self._store.read()
        if credential is None:
            self.journal.resume(None)
            return None, False
        self.journal.resume(credential.token)
        if before is not None and before.token.access != credential.token.access:
            self.recovered = credential.token
            log.warning("token recovered provider=kimi: its refresh was cut short")
        if suspect and not self.journal.suspects(credential.token):
            self.journal.cut_short(
                credential.token, successor_path(self._store.path, credential.token)
            )
        return credential, suspect or self.journal.suspects(credential.token)

    async def _once(self, due: Due, *, living: bool = True) -> Credential:
        def waiting_is_pointless() -> bool:
            current = self._store.read()
            return self.leaving or current is None or not due(current.token)

        async with self._store.lock(enough=waiting_is_pointless) as held:
            if held:
                credential, suspect = await asyncio.to_thread(self._resume)
            else:
                credential, suspect = self._store.read(), False
            if credential is None or not credential.token.refresh:
                raise LoginRequired(f"there is no login: {LOGIN_HINT}")
            if not held or not due(credential.token):
                return credential
            if suspect and living and not credential.token.urgent(self._clock.now()):
                raise Spared("a refresh was cut short and its token may be spent: wait")
            return await self._exchange(credential)

    async def _exchange(self, credential: Credential) -> Credential:
        token = credential.token
        successor = await asyncio.to_thread(self._prepare, token)
        try:
            reply = await self._endpoint.send(refresh_request(self._oauth, token, self._headers()))
            new = refreshed(self._oauth, token, reply, self._clock.now())
        except Exception as error:  # whatever it was, the journal has to hear of it
            await asyncio.to_thread(self._give_up, successor, error)
            raise
        except BaseException:
            # Nobody may wait here. What was begun and reserved stays, as after a crash.
            successor.close()
            raise
        self.rotations += 1
        return await asyncio.to_thread(self._commit, successor, credential, new)

    def _prepare(self, token: Token) -> Successor:
        """Make room, and make it known that *token* is about to be spent; in this order."""
        successor = self._store.reserve(token)
        self.journal.begun(token)
        return successor

    def _give_up(self, successor: Successor, error: Exception) -> None:
        if isinstance(error, BridgeError) and not isinstance(error, AnswerLost):
            successor.discard()
            # A bare 401 or 403 may be a captive portal's.
            refused = isinstance(error, RefreshRefused) and error.certain
            outcome = Outcome.REFUSED if refused else Outcome.FAILED
        else:
            # What was reserved stays, and tells the next process that the token may be spent.
            outcome = Outcome.LOST
        successor.close()
        self.journal.ended(successor.predecessor, outcome)

    def _commit(self, successor: Successor, predecessor: Credential, token: Token) -> Credential:
        try:
            credential = self._store.commit(successor, token)
        except (OSError, CredentialUnreadable) as error:
            self.journal.ended(predecessor.token, Outcome.UNSAVED, token)
            reason = getattr(error, "strerror", None) or str(error)
            reason = f"{self._store.path} cannot be written ({reason})"
            raise Unsaved(predecessor, token, reason) from None
        self.journal.ended(predecessor.token, Outcome.ROTATED, token)
        if credential is None:
            raise LoginRequired(f"somebody logged out during the refresh: {LOGIN_HINT}")
        return credential

    async def _second_look(self, refusal: RefreshRefused, due: Due) -> Credential:
        """Go on with the login that a neighbour wrote while ours was refused, if there is one."""
        await self._clock.sleep(SECOND_LOOK_SECONDS)
        credential = self._store.read()
        if credential is None or credential.token.refresh == refusal.token.refresh:
            raise RefreshRefused(
                f"{refusal}: {LOGIN_HINT}", token=refusal.token, certain=refusal.certain
            )
        return await self._once(due)


def _asked_pause(error: AuthorizationServerError) -> float:
    """Return the seconds that the server itself asked for; the default of our errors is ours."""
    return 0.0 if error.retry_after == error.default_retry_after else error.retry_after or 0.0
