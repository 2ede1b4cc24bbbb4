"""Performs one exchange with an upstream: asks with a good credential, and once more after a 401.

It never looks into a body, never follows a redirect, and never passes a cut answer off as whole.
Where all is at hand nothing waits: the request leaves in the same turn of the event loop in which
it came, and the answer goes on in the turn in which it comes.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Final, Protocol

from bridge.credentials.source import Held, Source
from bridge.errors import (
    BridgeError,
    CredentialUnreadable,
    LoginRequired,
    RedirectRefused,
)
from bridge.network import Client
from bridge.providers import Auth
from bridge.proxy.body import Body
from bridge.proxy.fault import FAILURES, Uncounted, cut, failure
from bridge.proxy.head import Head, outbound_lines
from bridge.proxy.rewrite import Route
from bridge.wire.connection import Connection
from bridge.wire.failure import Disconnected
from bridge.wire.framing import Incoming
from bridge.wire.reader import Sink

#: RFC 9110 section 9.2.2: asking twice changes nothing.
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
#: A request of these without a length would be taken for one that is still to come.
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
#: How an upstream that does not count tokens answers to being asked.
_UNCOUNTED: Final = frozenset({404, 405, 501})


class Asker(Sink, Protocol):
    """Whose request it is; as a sink it takes the content of the answer."""

    def asked(self) -> None:
        """Hear that the request is on its way."""

    def answered(self, answer: Incoming, heard_at: float) -> None:
        """Take the head that counts, which came at *heard_at* (monotonic); its content follows."""

    def go_on(self, work: Coroutine[Any, Any, None]) -> None:
        """Run *work*, which may have to wait, and fail with what it raises."""

    def fail(self, error: Exception) -> None:
        """Hear that there will be no answer, or no more of it."""


class Exchange:
    """One request on its way to an upstream and back, as the reader of an upstream's connection.

    *source* is ``None`` for a provider that gets the caller's own credential; no header that holds
    *caller_key* leaves. *idle_seconds* bounds each silence of the upstream.
    """

    __slots__ = (
        "_asker",
        "_body",
        "_caller_key",
        "_client",
        "_connection",
        "_has_answered",
        "_has_replayed",
        "_head",
        "_held",
        "_idle_seconds",
        "_is_refused",
        "_lost",
        "_route",
        "_source",
    )

    def __init__(
        self,
        asker: Asker,
        client: Client,
        head: Head,
        body: Body,
        route: Route,
        *,
        source: Source | None,
        caller_key: str,
        idle_seconds: float,
    ) -> None:
        self._asker = asker
        self._client = client
        self._head = head
        self._body = body
        self._route = route
        self._source = source
        self._caller_key = caller_key
        self._idle_seconds = idle_seconds
        self._connection: Connection | None = None
        self._held: Held | None = None
        self._lost: Exception | None = None
        self._has_answered = self._has_replayed = self._is_refused = False

    async def begin(self) -> None:
        """Ask. Raises what the source raises, ``UpstreamError`` or ``Refused``.

        A 401 is answered with one other credential, if one may be had; whatever comes then is the
        client's.
        """
        provider, source = self._route.provider, self._source
        if provider.auth is not Auth.PASSTHROUGH:
            if source is None:
                raise CredentialUnreadable(
                    f"{provider.name} has no credential: configure one for it"
                )
            self._held = source.at_once() or await source.current()
        await self._ask()

    def pause(self) -> None:
        """Let no more content come for now."""
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        """Let content come again."""
        if self._connection is not None:
            self._connection.resume()

    def close(self) -> None:
        """Leave the rest of the answer: its connection is closed, unless it has ended already."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # What the upstream's connection tells.

    def head(self, answer: Incoming) -> None:
        """Take the head; see :class:`Reader`."""
        try:
            if answer.status == 401 and self._held is not None and not self._has_replayed:
                self._has_replayed = self._is_refused = True
                self._asker.go_on(self._replay(answer, self._held))
            else:
                self._pass(answer)
        except Exception as error:  # noqa: BLE001 - it has one place where it is told
            self._asker.fail(error)

    def failed(self, error: Exception) -> None:
        """Ask again where that is safe; see :class:`Reader`."""
        self._connection = None
        if self._has_answered:
            self._asker.fail(cut(error))
        elif self._is_refused:
            self._lost = error
        elif self._may_repeat(error):
            self._asker.go_on(self._ask())
        else:
            self._asker.fail(self._failure(error))

    async def _ask(self) -> None:
        place, patience = self._route.place, self._idle_seconds
        bodiless = self._head.method == "HEAD"
        head = self._written()
        pool = self._client.pool
        while True:
            try:
                connection = pool.warm(place, patience) or await pool.take(place, patience)
                connection.ask(head, self._body.pieces, self, bodiless=bodiless)
            except FAILURES as error:
                if self._may_repeat(error):
                    continue
                raise self._failure(error) from None
            self._connection = connection
            self._asker.asked()
            return

    async def _replay(self, refusal: Incoming, held: Held) -> None:
        """Ask once more with another credential, if one may be had, else pass the *refusal*."""
        source = self._source
        if source is None:
            return self._pass(refusal)
        try:
            other = await source.rejected(held)
        except LoginRequired:
            self.close()
            raise
        except BridgeError:
            # The credential cannot be renewed just now; the upstream's own words say most.
            other = held
        if other.access == held.access:
            if self._lost is not None:
                raise self._failure(self._lost)
            self._pass(refusal)
            return None
        self.close()
        self._held, self._is_refused = other, False
        await self._ask()
        return None

    def _pass(self, answer: Incoming) -> None:
        connection = self._connection
        if connection is None:
            return
        route = self._route
        if answer.status in _REDIRECTS and route.leads_away(self._head.target, _location(answer)):
            self.close()
            raise RedirectRefused(
                f"{route.provider.name} answered with a redirect to another host, where no "
                "credential may go: check the provider's URL"
            )
        if answer.status in _UNCOUNTED and route.only_counts:
            self.close()
            raise Uncounted(f"{route.provider.name} does not count tokens")
        self._has_answered = True
        self._asker.answered(answer, connection.heard_at)
        connection.relay(self._asker)

    def _written(self) -> bytes:
        """Return the head of the request as it goes out."""
        head, route, size = self._head, self._route, self._body.size
        credential = "" if self._held is None else self._held.access
        lines = outbound_lines(head, route.manner, credential, self._caller_key)
        length = b"Content-Length: %d\r\n" % size if size or head.method in _WITH_BODY else b""
        return b"%b%b%b%b\r\n" % (head.method.encode(), route.start, lines, length)

    def _may_repeat(self, error: Exception) -> bool:
        """Whether to ask again after *error*.

        A kept connection may be closed just when a request goes out on it. What became of the
        request nobody knows, and asking a model twice may cost twice: that is left to the client,
        which knows what it asked.
        """
        repeatable = self._head.method in _SAFE or self._route.only_counts
        return repeatable and isinstance(error, Disconnected) and error.reused

    def _failure(self, error: Exception) -> Exception:
        if not isinstance(error, FAILURES):
            return error
        return failure(error, self._route.place.hostname or "", self._idle_seconds)


def _location(answer: Incoming) -> str:
    """Return where a redirect points to; to nowhere else where it does not say."""
    found = (value for name, value in answer.headers if name.lower() == b"location")
    return next(found, b"").decode("latin-1")
