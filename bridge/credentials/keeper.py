"""Refreshes ahead of time, so that in steady state no request ever waits.

It only makes things faster: a daemon without its keeper would be slower and still correct. While
agents are at work it follows the token's margin; while nobody asks it lets the access token die
and renews the login every few days, so that the refresh token does not lapse unused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bridge.clock import Clock
from bridge.credentials.rotating import OAuthSource

#: Seconds after the last request for which agents count as being at work.
IN_USE_SECONDS: Final = 30 * 60.0
#: Seconds of age at which an unused login is renewed; refresh tokens live about 30 days.
RENEW_SECONDS: Final = 3 * 24 * 3600.0
#: The longest nap: timers stand still while a laptop sleeps, so the wall clock is looked at again.
NAP_SECONDS: Final = 30.0
IDLE_NAP_SECONDS: Final = 300.0


class Keeper:
    """Keeps the token of *source* fresh; *last_request* tells when an agent last asked."""

    def __init__(
        self, source: OAuthSource, clock: Clock, last_request: Callable[[], float | None]
    ) -> None:
        self._source = source
        self._clock = clock
        self._last_request = last_request

    async def keep(self) -> None:
        """Run until cancelled; cancelling never harms a refresh under way."""
        await self._source.recover()
        while True:
            await self._source.save()
            await self._clock.sleep(self.step())

    def step(self) -> float:
        """Do what is due now and return the seconds until the next look."""
        token = self._source.held()
        now = self._clock.now()
        in_use = self._in_use(now)
        if token is None:
            return NAP_SECONDS
        if in_use:
            self._source.refresh_if_due()
            nap = min(NAP_SECONDS, max(1.0, token.remaining(now) - token.margin))
        else:
            issued_at = token.expires_at - token.expires_in
            if now - issued_at > RENEW_SECONDS:
                self._source.renew()
            # Short enough to find the margin of a token that agents begin to use meanwhile.
            nap = min(IDLE_NAP_SECONDS, token.margin / 2)
        self._source.attend(in_use=in_use)
        return nap

    def _in_use(self, now: float) -> bool:
        last = self._last_request()
        # After a jump of the clock backwards the last request may lie ahead.
        return last is not None and 0 <= now - last < IN_USE_SECONDS
