"""Remembers why a refresh token should not be presented now, so that a login is not worn out.

A refused token is never sent again, one that may be spent waits until nothing else is left, and a
server that is unwell is given time. All of it is about one refresh token: a new login owes nothing
to the failures of the last. The room asks nobody and reads no file.
"""

from __future__ import annotations

from typing import Final

from bridge.clock import Clock
from bridge.credentials.refresh import LOGIN_HINT, Spared
from bridge.errors import AnswerLost, AuthorizationServerError, BridgeError, LoginRequired
from bridge.oauth.grant import RefreshRefused
from bridge.oauth.token import Token

#: Seconds between two refreshes that an upstream's 401 forced.
FORCED_INTERVAL: Final = 60.0
#: Pauses after refreshes that failed in a row; the last one repeats.
COOL_DOWN: Final = (5.0, 10.0, 20.0, 40.0, 60.0)
#: The longest pause that a server can ask for.
LONGEST_PAUSE: Final = 300.0
#: Seconds for which a refusal counts that might have been a captive portal's.
UNCERTAIN_REFUSAL_SECONDS: Final = 300.0


class Restraint:
    """What a token source remembers of refreshes that failed, and so must not try now."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._refused: dict[str, float] = {}
        self._forced: tuple[str, float] = ("", float("-inf"))
        self._refresh = ""
        self._failures = 0
        self._not_before = float("-inf")
        self._lost = False
        self._problem = ""

    def check(self, token: Token, *, living: bool = True) -> None:
        """Raise where *token*'s refresh token must not be presented now.

        *living* is false where its access token is known to be refused. Raises ``LoginRequired``
        for one that was refused, ``AnswerLost`` for one that may be spent while the access token
        lives, and ``AuthorizationServerError`` where it is too early for another try.
        """
        if self.ended(token):
            raise LoginRequired(f"the login has ended: {LOGIN_HINT}")
        if token.refresh != self._refresh:
            return
        # By the wall clock: a machine that slept through the token's end must not go on waiting.
        if self._lost and living and not token.urgent(self._clock.now()):
            raise AnswerLost(self._problem)
        if (wait := self.wait(token)) > 0:
            raise AuthorizationServerError(self._problem, retry_after=wait)

    def wait(self, token: Token) -> float:
        """Return the seconds before another try with *token*'s refresh token, 0 for "now"."""
        if token.refresh != self._refresh:
            return 0.0
        return max(0.0, self._not_before - self._clock.monotonic())

    def ended(self, token: Token) -> bool:
        """Say whether *token* can have no successor: it has no refresh token, or a refused one."""
        refused_until = self._refused.get(token.refresh, 0.0)
        return not token.refresh or refused_until > self._clock.monotonic()

    def problem(self, token: Token) -> str | None:
        """Return what went wrong with the last refresh of *token*, for people."""
        if self.ended(token):
            return f"the login has ended: {LOGIN_HINT}"
        return self._problem or None if token.refresh == self._refresh else None

    def may_force(self, token: Token) -> bool:
        """Say whether a 401 may force a refresh: once for each access token, and once a minute."""
        access, at = self._forced
        return access != token.access and self._clock.monotonic() - at >= FORCED_INTERVAL

    def forced(self, token: Token) -> None:
        """Take note that a 401 to *token* forced a refresh."""
        self._forced = (token.access, self._clock.monotonic())

    def succeeded(self) -> None:
        """Forget what failed before: the login lives."""
        self._begin_anew("")

    def failed(self, token: Token, error: BaseException) -> None:
        """Take note that the refresh of *token* failed with *error*."""
        now = self._clock.monotonic()
        if isinstance(error, RefreshRefused):
            until = float("inf") if error.certain else UNCERTAIN_REFUSAL_SECONDS
            self._refused[error.token.refresh] = now + until
            return
        if token.refresh != self._refresh:
            self._begin_anew(token.refresh)
        # What the server did not do was no refresh, and the pause after a failure is enough; where
        # it may have acted, or was not asked for fear of that, the minute counts all the same.
        acted = isinstance(error, AnswerLost)
        self._forced = ("", self._forced[1] if acted else float("-inf"))
        self._problem = str(error) if isinstance(error, BridgeError) else type(error).__name__
        self._lost = self._lost or isinstance(error, AnswerLost)
        if isinstance(error, Spared):
            return  # nobody was asked, who could need a moment
        asked = min(getattr(error, "retry_after", None) or 0.0, LONGEST_PAUSE)
        pause = max(COOL_DOWN[min(self._failures, len(COOL_DOWN) - 1)], asked)
        self._failures += 1
        self._not_before = now + pause

    def _begin_anew(self, refresh: str) -> None:
        self._refresh = refresh
        self._failures = 0
        self._not_before = float("-inf")
        self._lost = False
        self._problem = ""
