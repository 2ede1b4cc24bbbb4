"""Performs one exchange with an upstream: asks with a good token, once more after a 401, and reads.

It never looks into a body, never follows a redirect, and never passes a cut answer off as whole.
The outgoing side is reached through one method, ``network.Client.request``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from bridge.credentials.source import TokenSource
from bridge.errors import (
    BridgeError,
    CredentialUnreadable,
    LoginRequired,
    RedirectRefused,
    UpstreamError,
)
from bridge.network import Client
from bridge.oauth.token import Token
from bridge.providers import Auth
from bridge.proxy.fault import FAILURES, died, failure
from bridge.proxy.head import Head, RawPair, answer_headers
from bridge.proxy.rewrite import Route, outbound, redirect_leaves

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
    source: TokenSource | None
    caller_key: str
    idle_seconds: float


class Answer:
    """An upstream's answer whose head is here and whose content is still to come."""

    def __init__(self, response: aiohttp.ClientResponse, provider: str) -> None:
        self.status = response.status
        self.reason = response.reason or ""
        self._response = response
        self._provider = provider
        headers = response.headers
        ends_itself = "content-length" in headers or "transfer-encoding" in headers
        connection = None if ends_itself else response.connection
        self._until_close = connection.protocol if connection is not None else None

    @property
    def headers(self) -> list[RawPair]:
        """The headers for the client."""
        return answer_headers(self._response.raw_headers, self._provider)

    @property
    def location(self) -> str | None:
        """Where a redirect points to, or ``None`` when this is none."""
        if self.status not in _REDIRECTS:
            return None
        return self._response.headers.get("location")

    async def read(self) -> bytes:
        """Return what has come since, as it came; empty at the end of a whole answer.

        Raises ``AnswerCut`` when the upstream breaks off or falls silent for too long.
        """
        try:
            data = await self._response.content.readany()
        except TimeoutError:
            raise AnswerCut("the upstream fell silent in the middle of its answer") from None
        except FAILURES as error:
            raise AnswerCut(f"the upstream broke off its answer ({type(error).__name__})") from None
        if not data and self._was_reset():
            raise AnswerCut("the upstream broke off its answer (connection reset)")
        return data

    def close(self) -> None:
        """Leave the rest of the answer: its connection is closed, unless it has ended already."""
        self._response.close()

    def _was_reset(self) -> bool:
        # An answer that ends with its connection: aiohttp takes a reset for its end like a FIN,
        # and only the protocol remembers which it was (3.14.5, client_proto.connection_lost).
        protocol = self._until_close
        return protocol is not None and isinstance(protocol.exception(), aiohttp.ClientOSError)


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


async def _other_token(source: TokenSource, token: Token, refusal: Answer) -> Token | None:
    try:
        other = await source.rejected(token)
    except LoginRequired:
        refusal.close()
        raise
    except BridgeError:
        # The credential cannot be renewed just now; the upstream's own words say most.
        return None
    except BaseException:
        refusal.close()
        raise
    return other if other.access != token.access else None


async def _asked(client: Client, errand: Errand, credential: str, body: bytes) -> Answer:
    url, headers = outbound(errand.head, errand.route, credential, errand.caller_key)

    async def attempt() -> Answer:
        response = await client.request(
            errand.head.method, url, headers=headers, body=body, idle_seconds=errand.idle_seconds
        )
        return Answer(response, errand.route.provider.name)

    try:
        try:
            return await attempt()
        except FAILURES as error:
            # aiohttp itself repeats what the method declares safe to repeat. To ask a model twice
            # may cost twice and is left to the client, which knows what it asked.
            if not (died(error) and errand.route.only_counts):
                raise
            return await attempt()
    except FAILURES as error:
        raise failure(error, urlsplit(url).hostname or "", errand.idle_seconds) from None


def _checked(answer: Answer, errand: Errand) -> Answer:
    if answer.location is None or not redirect_leaves(errand.route.url, answer.location):
        return answer
    answer.close()
    raise RedirectRefused(
        f"{errand.route.provider.name} answered with a redirect to another host, where no "
        "credential may go: check the provider's URL"
    )
