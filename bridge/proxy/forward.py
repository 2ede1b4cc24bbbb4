"""Performs one exchange with an upstream: asks with a good token, once more after a 401, and reads.

It never looks into a body, never follows a redirect, and never passes a cut answer off as whole.
The outgoing side is one connection of ``network.Client.pool``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

from bridge.credentials.source import Held, Source
from bridge.errors import (
    BridgeError,
    CredentialUnreadable,
    LoginRequired,
    RedirectRefused,
    UpstreamError,
)
from bridge.network import Client
from bridge.providers import Auth
from bridge.proxy.fault import FAILURES, failure
from bridge.proxy.head import Head, Pair, RawPair, answer_headers
from bridge.proxy.rewrite import Route, outbound, redirect_leaves
from bridge.wire.connection import Connection, Reader
from bridge.wire.failure import Disconnected, Silent, WireError
from bridge.wire.framing import Incoming

#: RFC 9110 section 9.2.2: asking twice changes nothing.
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
#: A request of these without a length would be taken for one that is still to come.
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class AnswerCut(UpstreamError):
    """The upstream broke off in the middle of its answer; what came must not look whole."""


@dataclass(frozen=True, slots=True)
class Errand:
    """One request as it is to be asked, of whom, and on whose behalf.

    *source* is ``None`` for a provider that gets the caller's own credential; no header that holds
    *caller_key* leaves. *idle_seconds* bounds each silence of the upstream.
    """

    head: Head
    route: Route
    source: Source | None
    caller_key: str
    idle_seconds: float


class Answer:
    """An upstream's answer whose head is here and whose content is still to come."""

    def __init__(self, connection: Connection, incoming: Incoming, provider: str) -> None:
        self.status = incoming.status
        self.reason = incoming.reason.decode("latin-1")
        self._provider = provider
        self._connection = connection
        self._incoming = incoming

    @property
    def headers(self) -> list[RawPair]:
        """The headers for the client."""
        return answer_headers(self._incoming.headers, self._provider)

    @property
    def location(self) -> str | None:
        """Where a redirect points to, or ``None`` when this is none."""
        if self.status not in _REDIRECTS:
            return None
        found = (value for name, value in self._incoming.headers if name.lower() == b"location")
        value = next(found, None)
        return None if value is None else value.decode("latin-1")

    async def relay(self, reader: Reader) -> None:
        """Pass the content to *reader* as it comes, and return once the answer is whole.

        Raises ``AnswerCut`` when the upstream breaks off or falls silent for too long.
        """
        ended = self._connection.relay(reader)
        reader.flush()
        try:
            await ended
        except Silent:
            raise AnswerCut("the upstream fell silent in the middle of its answer") from None
        except WireError as error:
            raise AnswerCut(f"the upstream broke off its answer ({error})") from None

    def pause(self) -> None:
        """Let no more content come for now."""
        if self._is_there:
            self._connection.pause()

    def resume(self) -> None:
        """Let content come again."""
        if self._is_there:
            self._connection.resume()

    def close(self) -> None:
        """Leave the rest of the answer: its connection is closed, unless it has ended already."""
        if self._is_there:
            self._connection.close()

    @property
    def _is_there(self) -> bool:
        """Whether the connection still carries this answer, and not yet another."""
        return self._connection.answer is self._incoming


async def ask(client: Client, errand: Errand, body: bytes) -> Answer:
    """Return the upstream's answer to *errand*, to be closed by the caller.

    A 401 on an OAuth provider is answered with one other token, if one may be had; whatever
    comes then is the client's. Raises what the token source raises, ``UpstreamError`` when the
    upstream cannot be asked, ``Refused`` when the request cannot be. Cancellation closes the
    connection.
    """
    source, provider = errand.source, errand.route.provider
    if provider.auth is Auth.PASSTHROUGH:
        return _checked(await _asked(client, errand, "", body), errand)
    if source is None:
        raise CredentialUnreadable(f"{provider.name} has no credential: configure one for it")
    token = await source.current()
    answer = await _asked(client, errand, token.access, body)
    if answer.status == 401 and provider.auth is Auth.OAUTH:
        other = await _other_token(source, token, answer)
        if other is not None:
            answer.close()
            answer = await _asked(client, errand, other.access, body)
    return _checked(answer, errand)


async def _other_token(source: Source, token: Held, refusal: Answer) -> Held | None:
    try:
        other = await source.rejected(token)
    except LoginRequired:
        refusal.close()
        raise
    except BridgeError:
        # The credential cannot be renewed just now; the upstream's own words say most.
        return None
    except BaseException:  # a client that leaves meanwhile: its answer would keep a connection
        refusal.close()
        raise
    return other if other.access != token.access else None


async def _asked(client: Client, errand: Errand, credential: str, body: bytes) -> Answer:
    method = errand.head.method
    url, headers = outbound(errand.head, errand.route, credential, errand.caller_key)
    parts = urlsplit(url)
    head = _written(method, parts, headers, body)
    repeatable = method in _SAFE or errand.route.only_counts
    while True:
        try:
            connection = await client.pool.take(parts, errand.idle_seconds)
            incoming = await connection.ask(head, body, bodiless=method == "HEAD")
            return Answer(connection, incoming, errand.route.provider.name)
        except FAILURES as error:
            # A kept connection may be closed just when a request goes out on it. What became of
            # the request nobody knows, and asking a model twice may cost twice: that is left to
            # the client, which knows what it asked.
            if isinstance(error, Disconnected) and error.reused and repeatable:
                continue
            raise failure(error, parts.hostname or "", errand.idle_seconds) from None


def _written(method: str, url: SplitResult, headers: Iterable[Pair], body: bytes) -> bytes:
    """Return the head of the request as it goes out."""
    target = urlunsplit(("", "", url.path or "/", url.query, ""))
    lines = [f"{method} {target} HTTP/1.1", f"Host: {url.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if body or method in _WITH_BODY:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode()


def _checked(answer: Answer, errand: Errand) -> Answer:
    if answer.location is None or not redirect_leaves(errand.route.url, answer.location):
        return answer
    answer.close()
    raise RedirectRefused(
        f"{errand.route.provider.name} answered with a redirect to another host, where no "
        "credential may go: check the provider's URL"
    )
