"""Invites a person to log in from inside an agent: one device flow, started when one is missed.

An agent that has no login gets an error with a URL and a code in it; once those are approved, its
next request works. At most one flow runs at a time, however many requests fail meanwhile.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from typing import Final

from bridge.clock import Clock, within
from bridge.credentials.login import Login
from bridge.credentials.refresh import LOGIN_HINT
from bridge.errors import BridgeError, LoginExpired
from bridge.oauth.grant import Invitation, Wait

log = logging.getLogger("bridge")

#: Seconds that a failing request waits for the code; agents wait patiently, people do not.
BEGIN_SECONDS: Final = 5.0
#: Seconds before a flow that could not be started is tried again.
RETRY_SECONDS: Final = 30.0
#: A code that is about to expire is not worth showing.
LEAST_SECONDS: Final = 30.0


class Desk:
    """Keeps the one standing invitation; *login* makes a new flow."""

    def __init__(self, login: Callable[[], Login], clock: Clock) -> None:
        self._login = login
        self._clock = clock
        self._flow: asyncio.Task[None] | None = None
        self._flows: set[asyncio.Task[None]] = set()
        self._begun: asyncio.Future[Invitation] | None = None
        self._not_before = float("-inf")

    async def sentence(self) -> str:
        """Return what a person should do to log in, as the second half of an error message.

        Never raises and never takes longer than a few seconds; where no flow can be started the
        sentence names the command alone.
        """
        if not self._standing():
            self._start()
        if (begun := self._begun) is not None:
            answered = await within(self._clock, BEGIN_SECONDS, begun)
            if answered and not begun.cancelled():
                return worded(begun.result())
        return LOGIN_HINT

    async def close(self) -> None:
        """Stop polling; a token that was granted meanwhile is stored first."""
        for flow in self._flows:
            flow.cancel()
        if self._flows:
            await asyncio.wait(self._flows)

    def _standing(self) -> bool:
        if self._flow is None or self._begun is None:
            return False
        if not self._begun.done():
            return True
        invitation = self._begun.result()
        return invitation.expires_at - self._clock.now() > LEAST_SECONDS

    def _start(self) -> None:
        if self._clock.monotonic() < self._not_before:
            return
        if self._flow is not None:
            self._flow.cancel()
        self._begun = asyncio.get_running_loop().create_future()
        self._flow = asyncio.create_task(self._run(self._begun), name="device flow")
        self._flow.add_done_callback(functools.partial(self._ended, self._begun))
        # The one before may be storing its token still.
        self._flows.add(self._flow)

    async def _run(self, begun: asyncio.Future[Invitation]) -> None:
        login = self._login()
        begun.set_result(await login.begin())
        log.info("login offered provider=kimi")
        await login.finish(_Told())
        log.info("login stored provider=kimi")

    def _ended(self, begun: asyncio.Future[Invitation], flow: asyncio.Task[None]) -> None:
        self._flows.discard(flow)
        begun.cancel()
        if self._begun is begun:
            self._flow = self._begun = None
        if not flow.cancelled() and (error := flow.exception()) is not None:
            reason = error if isinstance(error, BridgeError) else type(error).__name__
            log.warning("login not completed provider=kimi reason=%s", reason)
            # A code whose time has passed, maybe while the machine slept, is replaced at once.
            if not isinstance(error, LoginExpired):
                self._not_before = self._clock.monotonic() + RETRY_SECONDS


class _Told:
    """Tells the log, once, why a login takes its time; that it waits for a person is no news."""

    def __init__(self) -> None:
        self._reason = ""

    def __call__(self, step: Wait) -> None:
        if step.reason not in {self._reason, "slow_down", "authorization_pending"}:
            log.warning("login waits provider=kimi reason=%s", step.reason)
        self._reason = step.reason


def worded(invitation: Invitation) -> str:
    """Return *invitation* as the words that a person reads in an agent."""
    if invitation.verification_uri_complete:
        page = invitation.verification_uri_complete
    else:
        page = invitation.verification_uri or "the page that Kimi names"
    return f"open {page} and enter {invitation.user_code}, or {LOGIN_HINT}"
