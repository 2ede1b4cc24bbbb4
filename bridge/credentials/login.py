"""Obtains the first token from a person and stores it: one device flow from code to file.

The machine of the flow is ``oauth.grant``; this room carries its requests, waits by the clock and
writes the result under the credential lock. Where the person reads the code (a terminal, an error
message in an agent) is the caller's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Final, TypeVar

from bridge.clock import Clock
from bridge.credentials.device import Device
from bridge.credentials.store import Credential, Store
from bridge.errors import AuthorizationServerError, CredentialBusy, CredentialUnreadable
from bridge.oauth.endpoint import Endpoint
from bridge.oauth.grant import DeviceGrant, Granted, Invitation, Wait
from bridge.providers import OAuth

#: Seconds that an approved login waits for the credential lock before it is stored without it.
LOCK_SECONDS: Final = 30.0
#: Seconds between two tries to store an approved login on a disk that refuses it, and for how long:
#: a person who is told to make room may do so, and approving once more costs them more.
STORE_SECONDS: Final = 2.0
STORE_PATIENCE_SECONDS: Final = 120.0

T = TypeVar("T")


class Login:
    """One device flow. Call :meth:`begin`, show the invitation, then await :meth:`finish`."""

    def __init__(
        self, *, store: Store, oauth: OAuth, endpoint: Endpoint, clock: Clock, device: Device
    ) -> None:
        self._store = store
        self._oauth = oauth
        self._endpoint = endpoint
        self._clock = clock
        self._device = device
        self._grant = DeviceGrant(oauth, {})
        self._granted: Granted | None = None
        self._store_until = float("inf")

    async def begin(self) -> Invitation:
        """Start the flow and return what the person needs.

        Finds out first whether the result can be stored, so that nobody approves in vain. Raises
        ``CredentialUnreadable`` where not, ``AuthorizationServerError`` where no flow starts.
        """
        await asyncio.to_thread(self._store.check_writable)
        try:
            self._device.persist()
        except OSError as error:
            raise CredentialUnreadable(
                f"the device id cannot be written ({error.strerror}): mend that, then try again"
            ) from None
        self._grant = DeviceGrant(self._oauth, self._device.grant_headers())
        reply = await self._endpoint.send(self._grant.begin())
        return self._grant.started(reply, self._clock.now())

    async def finish(self, waiting: Callable[[Wait], None] = lambda _: None) -> Credential:
        """Poll until the person has decided, then store the token.

        *waiting* is told before each wait, also where an approved login waits for a disk that
        refuses it. Raises ``LoginDenied``, ``LoginExpired`` or a ``CredentialError``. Cancelling
        ends the flow once the poll under way has been answered; a token that was granted by it is
        stored first.
        """
        credential: Credential | Wait = self._grant.first_wait
        while isinstance(credential, Wait):
            waiting(credential)
            await self._clock.sleep(credential.seconds)
            credential = await _uncancelled(self._poll())
        return credential

    async def _poll(self) -> Credential | Wait:
        if self._granted is None:
            try:
                reply = await self._endpoint.send(self._grant.poll())
            except AuthorizationServerError as error:
                return self._grant.unheard(str(error), self._clock.now())
            step = self._grant.heard(reply, self._clock.now())
            if isinstance(step, Wait):
                return step
            self._granted = step
            self._store_until = self._clock.monotonic() + STORE_PATIENCE_SECONDS
        try:
            return await self._stored(self._granted)
        except CredentialUnreadable as error:
            if self._clock.monotonic() >= self._store_until:
                raise
            return Wait(STORE_SECONDS, str(error))

    async def _stored(self, granted: Granted) -> Credential:
        try:
            async with self._store.lock(LOCK_SECONDS):
                return await asyncio.to_thread(self._store.replace, granted.token)
        except CredentialBusy:
            # What a person approved is not thrown away because a neighbour hangs: a refresh that
            # is under way elsewhere looks at the file again before it writes.
            return await asyncio.to_thread(self._store.replace, granted.token)


async def _uncancelled(work: Coroutine[None, None, T]) -> T:
    """Run *work* to its end however often the caller is cancelled, and cancel it then."""
    task, cancelled = asyncio.create_task(work), False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        task.exception()  # seen: nobody is left to hear it
        raise asyncio.CancelledError
    return task.result()
