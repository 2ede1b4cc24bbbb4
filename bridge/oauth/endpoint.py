"""Posts one grant request to the authorization server and returns what came back.

It knows neither files nor what the answer means; ``oauth.grant`` reads it. An answer is read to a
limit, so that a server gone mad cannot fill the memory.
"""

from __future__ import annotations

import ssl
from typing import Final, Protocol
from urllib.parse import urlsplit

from bridge.errors import AnswerLost, AuthorizationServerError
from bridge.network import Client
from bridge.oauth.grant import GrantReply, GrantRequest
from bridge.wire.failure import (
    ConnectTimeout,
    Disconnected,
    NotHttp,
    ProxyRefused,
    Silent,
    WireError,
)
from bridge.wire.whole import Question, ask

#: The official CLI waits 5 to 10 s for the credential lock, then refreshes without it; a dead
#: host must therefore be given up well before that.
CONNECT_SECONDS: Final = 3.0
#: Once the request is on the wire, a lost answer is a lost login: read patiently.
READ_SECONDS: Final = 90.0
#: An answer that trickles would hold the credential lock for ever; by then it is lost.
EXCHANGE_SECONDS: Final = 180.0
#: The longest ``Retry-After`` that is believed, in seconds.
LONGEST_RETRY_AFTER: Final = 3600.0
LIMIT: Final = 256 * 1024

_WORDS: Final[dict[type[WireError], str]] = {
    ConnectTimeout: "no connection in time",
    Silent: "no answer in time",
    NotHttp: "it breaks the rules of HTTP",
}


class Endpoint(Protocol):
    """Carries a grant request to the authorization server."""

    async def send(self, request: GrantRequest) -> GrantReply:
        """Post *request* and return the reply.

        Raises ``AuthorizationServerError`` where no connection came about, so that nothing can
        have happened, and ``AnswerLost`` where the server may have acted.
        """


class HttpEndpoint:
    """The authorization server over HTTP."""

    def __init__(
        self,
        client: Client,
        *,
        read_seconds: float = READ_SECONDS,
        exchange_seconds: float = EXCHANGE_SECONDS,
    ) -> None:
        self._client = client
        self._read_seconds = read_seconds
        self._exchange_seconds = exchange_seconds

    async def send(self, request: GrantRequest) -> GrantReply:
        """Post *request*; see :class:`Endpoint`."""
        host = request.url.split("/api/")[0]
        client, question = self._client, _question(request)
        until = client.clock.monotonic() + self._exchange_seconds
        try:
            connection = await client.open(question.url, CONNECT_SECONDS)
        except (WireError, OSError) as error:
            raise AuthorizationServerError(
                f"{host} cannot be reached ({_reason(error)}): check the network, then try again"
            ) from None
        try:
            # Nothing may be awaited in between: from here on the request may have left.
            answer = await ask(
                connection,
                question,
                client.clock,
                silence_seconds=self._read_seconds,
                until=until,
                limit=LIMIT,
            )
        except (WireError, OSError) as error:
            raise _lost(host, error) from None
        seconds = _seconds(answer.header("Retry-After"))
        reply = GrantReply(answer.status, answer.content, seconds)
        if answer.broken is not None and not reply.document:
            raise _lost(host, answer.broken)
        return reply


def _question(request: GrantRequest) -> Question:
    headers = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Accept", "application/json"),
        ("Accept-Encoding", "identity"),
        *request.headers.items(),
    ]
    return Question("POST", urlsplit(request.url), headers, request.body)


def _lost(host: str, error: WireError | OSError) -> AnswerLost:
    return AnswerLost(f"the answer of {host} was lost ({_reason(error)}): try again")


def _seconds(value: str) -> float | None:
    """Read ``Retry-After`` in its form of seconds; the form of a date is not worth a parser."""
    if not (value.isascii() and value.isdigit()):
        return None
    return min(float(value), LONGEST_RETRY_AFTER)


def _reason(error: WireError | OSError) -> str:
    """Return why *error* happened in words of the system or our own, and nothing that was sent."""
    if isinstance(error, ProxyRefused):
        status = str(error).removeprefix("HTTP ")
        return f"the proxy answered {status}" if status.isdigit() else f"the proxy: {error}"
    if isinstance(error, Disconnected):
        return f"the connection was {error}"
    if isinstance(error, WireError):
        return _WORDS.get(type(error), type(error).__name__)
    if isinstance(error, ssl.SSLError):
        return getattr(error, "verify_message", None) or error.reason or "TLS failed"
    return error.strerror or type(error).__name__
