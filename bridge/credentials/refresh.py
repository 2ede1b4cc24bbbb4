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
from bridge.credentials.store import Credential, Store
from bridge.credentials.successor import Successor
from bridge.errors import (
    AnswerLost,
    AuthorizationServerError,
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
LOGIN_HINT: Final = "run: bridge login"


class Unsaved(Exception):
    """The refresh succeeded and the disk refused the new token, which this carries."""

    def __init__(self, token: Token, reason: str) -> None:
        super().__init__(reason)
        self.token = token


class Refresh:
    """Refreshes the credential in *store* at the authorization server *oauth*."""

    def __init__(
        self,
        *,
        store: Store,
        oauth: OAuth,
        endpoint: Endpoint,
        clock: Clock,
        headers: Callable[[], Mapping[str, str]],
    ) -> None:
        self._store = store
        self._oauth = oauth
        self._endpoint = endpoint
        self._clock = clock
        self._headers = headers

    async def succeed(self, due: Callable[[Token], bool]) -> Credential:
        """Return a credential whose token is not *due*: a neighbour's, or a new one.

        Must not be cancelled between the exchange and the write, so callers run it in a task of
        its own and shield it. Raises ``LoginRequired`` (``RefreshRefused`` where the server said
        so), ``CredentialBusy``, ``CredentialUnreadable``, ``AuthorizationServerError`` (of which
        ``AnswerLost`` means that the token may have been spent) and ``Unsaved``.
        """
        for pause in (*PAUSES, None):
            try:
                return await self._once(due)
            except AnswerLost:
                raise
            except AuthorizationServerError as error:
                if pause is None or (error.retry_after or 0.0) > PAUSES[-1]:
                    raise
                log.warning("token refresh delayed provider=kimi reason=%s", error)
                await self._clock.sleep(max(pause, error.retry_after or 0.0))
            except RefreshRefused as refusal:
                return await self._second_look(refusal, due)
        raise AssertionError("unreachable")  # pragma: no cover - the last pause is None

    async def save(self, predecessor: Token, token: Token) -> Credential | None:
        """Try again to put an unsaved *token* on disk; see :meth:`Store.commit`.

        Raises ``OSError`` or ``CredentialError`` where that still cannot be done.
        """
        async with self._store.lock():
            successor = await asyncio.to_thread(self._store.reserve, predecessor)
            return await asyncio.to_thread(self._store.commit, successor, token)

    async def _once(self, due: Callable[[Token], bool]) -> Credential:
        def neighbour_did_it() -> bool:
            current = self._store.read()
            return current is not None and not due(current.token)

        async with self._store.lock(enough=neighbour_did_it) as held:
            suspect = held and await asyncio.to_thread(self._store.recover)
            credential = self._store.read()
            if credential is None or not credential.token.refresh:
                raise LoginRequired(f"there is no login: {LOGIN_HINT}")
            if not held or not due(credential.token):
                return credential
            if suspect and not credential.token.urgent(self._clock.now()):
                raise AnswerLost("a refresh was cut short by a crash: its token may be spent")
            return await self._exchange(credential.token)

    async def _exchange(self, token: Token) -> Credential:
        successor = await asyncio.to_thread(self._store.reserve, token)
        try:
            reply = await self._endpoint.send(refresh_request(self._oauth, token, self._headers()))
            new = refreshed(self._oauth, token, reply, self._clock.now())
        except BaseException:
            successor.discard()
            raise
        credential = await self._commit(successor, new)
        if credential is None:
            raise LoginRequired(f"somebody logged out during the refresh: {LOGIN_HINT}")
        return credential

    async def _commit(self, successor: Successor, token: Token) -> Credential | None:
        try:
            return await asyncio.to_thread(self._store.commit, successor, token)
        except (OSError, CredentialUnreadable) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise Unsaved(token, f"{self._store.path} cannot be written ({reason})") from None

    async def _second_look(
        self, refusal: RefreshRefused, due: Callable[[Token], bool]
    ) -> Credential:
        """Go on with the login that a neighbour wrote while ours was refused, if there is one."""
        await self._clock.sleep(SECOND_LOOK_SECONDS)
        credential = self._store.read()
        if credential is None or credential.token.refresh == refusal.token.refresh:
            raise refusal
        return await self._once(due)
