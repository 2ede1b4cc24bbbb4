"""Tells people how a login fares: one line in the log for each event, and its condition in words.

Nothing is decided here. No token gets into a line or a sentence.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Final

from bridge.clock import Clock
from bridge.credentials.chronicle import NEVER, Outcome, Suspicion, digest
from bridge.credentials.forecast import DAY, Forecast, foretold, refreshed_at
from bridge.credentials.journal import Journal
from bridge.credentials.refresh import LOGIN_HINT, Spared, Unsaved
from bridge.credentials.restraint import Restraint
from bridge.credentials.source import Condition
from bridge.errors import BridgeError
from bridge.oauth.grant import RefreshRefused
from bridge.oauth.token import Token

log = logging.getLogger("bridge")

#: What is to be said of a refresh token that may have been spent at a moment, while there is hope.
SUSPECT: Final = {
    Suspicion.SPENT: "its refresh token was spent at {} and its successor is not in the file",
    Suspicion.UNSAVED: "its refresh token was spent at {} and its successor could not be saved",
    Suspicion.CUT_SHORT: (
        "a refresh begun at {} was cut short: its refresh token may have been spent"
    ),
    Suspicion.LOST: (
        "the answer to a refresh begun at {} was lost: its refresh token may have been spent"
    ),
    Suspicion.UNDER_WAY: "a refresh begun at {} has not ended: it is under way, or was cut short",
}
#: The same once the server has refused it.
SPENT: Final = {
    Suspicion.SPENT: "was spent at {} and its successor is not in the file, as after a restore",
    Suspicion.UNSAVED: "was spent at {} by a refresh whose new token could not be saved",
    Suspicion.CUT_SHORT: (
        "was most likely spent by a refresh that was cut short at {} (power cut or kill), "
        "not by a logout elsewhere"
    ),
    Suspicion.LOST: (
        "was most likely spent by a refresh at {} whose answer was lost, not by a logout elsewhere"
    ),
}
FAILURES: Final = {
    Outcome.REFUSED: "the refresh token was refused",
    Outcome.LOST: "the answer was lost",
    Outcome.UNSAVED: "the new token could not be saved",
    Outcome.CUT_SHORT: "it was cut short (power cut or kill)",
}
NOT_SPENT_HERE: Final = (
    "the refresh token was refused, and it was not spent here: "
    "another program may have used it, or the login was ended"
)


class Telling:
    """What is told of one login, whose refreshes the *journal* has seen."""

    def __init__(self, clock: Clock, journal: Journal, restraint: Restraint) -> None:
        #: Whether agents are at work, so that the token is refreshed without being asked for.
        self.in_use = False
        self._clock = clock
        self._journal = journal
        self._restraint = restraint
        self._seen: tuple[str, str] | None = None
        self._has_looked = False
        self._suspected = ""
        self._refreshed_at: float | None = None
        self._failure: tuple[float, str] | None = None
        self._warned_at = float("-inf")

    def seen(self, token: Token | None, *, ours: bool = False) -> None:
        """Take note of what the file holds, and tell where that is not what it was.

        With *ours* the change is told of already.
        """
        held = (token.access, token.refresh) if token else None
        told = ours or not self._has_looked or held == self._seen
        before, self._seen, self._has_looked = self._seen, held, True
        if told:
            return
        if token is None:
            log.info("logout seen provider=kimi")
        else:
            event = "token adopted" if before else "login seen"
            log.info("%s provider=kimi remaining=%.0fs", event, token.remaining(self._clock.now()))

    def refreshed(self, token: Token) -> None:
        """Tell that a refresh brought *token*, which is on disk."""
        now = self._refreshed_at = self._clock.now()
        log.info("token refreshed provider=kimi remaining=%.0fs", token.remaining(now))
        self.seen(token, ours=True)

    def unsaved(self, error: BaseException) -> None:
        """Tell that a refresh brought a new token, which *error* says could not be saved."""
        self._refreshed_at = self._clock.now()
        self._failure = (self._refreshed_at, FAILURES[Outcome.UNSAVED])
        log.error("token not saved provider=kimi reason=%s", error)

    def saved(self, token: Token | None, unsaved: Unsaved) -> None:
        """Tell that what was *unsaved* is on disk, or gave way to the *token* in the file."""
        is_saved = token == unsaved.token
        if is_saved:
            remaining = unsaved.token.remaining(self._clock.now())
            log.info("token saved late provider=kimi remaining=%.0fs", remaining)
        self.seen(token, ours=is_saved)

    def failed(self, token: Token, error: BaseException) -> None:
        """Tell that the refresh of *token* failed with *error*."""
        if isinstance(error, Spared):
            self.suspected(token)
            return
        reason = str(error) if isinstance(error, BridgeError) else type(error).__name__
        self._failure = (self._clock.now(), reason.removesuffix(f": {LOGIN_HINT}"))
        if isinstance(error, RefreshRefused) and error.certain:
            reason = self._why_refused(error.token)
            log.warning("token refused provider=kimi reason=%s", reason)
        else:
            log.warning("token refresh failed provider=kimi reason=%s", reason)

    def suspected(self, token: Token) -> None:
        """Tell, once for each token, that *token*'s refresh token may have been spent before."""
        found = self._journal.chronicle.suspicion(digest(token.refresh))
        if found is None or self._suspected == token.refresh:
            return
        self._suspected = token.refresh
        event = "refresh cut short" if found[0] is Suspicion.CUT_SHORT else "spared"
        log.warning("token %s provider=kimi reason=%s", event, self._suspicion(token))

    def foresee(self, token: Token, *, busy: bool) -> None:
        """Tell that the login of *token* ends soon, once a day.

        A refresh under way (*busy*) is given its chance, unless one has failed before.
        """
        now, problem = self._clock.now(), self._restraint.problem(token)
        ends_at = self.forecast(token).ends_at
        if ends_at is None or not self.forecast(token).soon(now) or self._restraint.ended(token):
            return
        if (not busy or problem) and self._clock.monotonic() - self._warned_at >= DAY:
            self._warned_at = self._clock.monotonic()
            days = max(0.0, (ends_at - now) / DAY)
            log.warning("login ends soon provider=kimi days=%.1f: %s", days, LOGIN_HINT)

    def forecast(self, token: Token) -> Forecast:
        """Return when the login of *token* ends."""
        return foretold(token, self._journal.chronicle.issued_at(digest(token.refresh)))

    def none(self, problem: str) -> Condition:
        """Return the condition of a login that is not there or cannot be read."""
        failed_at, failure = self._last_failure(None)
        return Condition(
            ready=False,
            remaining=None,
            refreshed_at=self._refreshed_at,
            problem=problem,
            failed_at=failed_at,
            failure=failure,
        )

    def condition(self, token: Token, unsaved: Unsaved | None, *, busy: bool) -> Condition:
        """Return the condition of the login of *token*; *busy*: a refresh is under way."""
        now = self._clock.now()
        ended = self._restraint.ended(token)
        failed_at, failure = self._last_failure(refreshed_at(token))
        return Condition(
            ready=token.remaining(now) > 0 or not ended,
            remaining=token.remaining(now) if token.access else None,
            refreshed_at=refreshed_at(token) or self._refreshed_at,
            problem=self._restraint.problem(token) if unsaved is None else str(unsaved),
            next_refresh_at=self._next_refresh(token) if self.in_use and not ended else None,
            ends_at=None if ended else self.forecast(token).ends_at,
            failed_at=failed_at,
            failure=failure,
            note=self.note(token) if unsaved is None and not busy else None,
        )

    def _next_refresh(self, token: Token) -> float:
        due = token.critical if self._journal.suspects(token) else token.margin
        now = self._clock.now()
        return max(token.expires_at - due, now + self._restraint.wait(token))

    def note(self, token: Token) -> str | None:
        """Return what is known of *token*'s refresh token, where that is a reason to worry."""
        if self._journal.chronicle.refused(digest(token.refresh)):
            return f"{self._why_refused(token)}: {LOGIN_HINT}"
        suspicion = self._suspicion(token)
        return f"{suspicion}; if the next refresh is refused, {LOGIN_HINT}" if suspicion else None

    def _suspicion(self, token: Token) -> str | None:
        found = self._journal.chronicle.suspicion(digest(token.refresh))
        return SUSPECT[found[0]].format(self._clocked(found[1])) if found else None

    def _why_refused(self, token: Token) -> str:
        found = self._journal.chronicle.suspicion(digest(token.refresh))
        if found is not None and found[0] in SPENT:
            return f"the refresh token {SPENT[found[0]].format(self._clocked(found[1]))}"
        if self._journal.complete:
            return NOT_SPENT_HERE
        return "the refresh token was refused, and the journal cannot say who spent it"

    def _last_failure(self, healed_at: float | None) -> tuple[float | None, str | None]:
        """Return what failed last, and when, unless it is of no interest since *healed_at*."""
        entry = self._journal.chronicle.last_failure()
        if self._failure is not None:
            failed_at, failure = self._failure
        elif entry is not None and entry.outcome is not None and entry.ended_at is not None:
            failed_at = entry.ended_at
            failure = FAILURES.get(entry.outcome, "the server could not be asked")
        else:
            return None, None
        if healed_at is not None and failed_at < min(healed_at, self._clock.now() - DAY):
            return None, None
        return failed_at, failure

    def _clocked(self, moment: float) -> str:
        """Return *moment* as a person says it today."""
        then, today = _local(moment), _local(self._clock.now())
        return f"{then:%H:%M:%S}" if then.date() == today.date() else f"{then:%Y-%m-%d %H:%M:%S}"


def _local(moment: float) -> datetime:
    return datetime.fromtimestamp(min(max(moment, 0.0), NEVER), UTC).astimezone()
