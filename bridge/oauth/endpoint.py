"""Posts one grant request to the authorization server and returns what came back.

It knows neither files nor what the answer means; ``oauth.grant`` reads it. An answer is read to a
limit, so that a server gone mad cannot fill the memory.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final, Protocol

import aiohttp

from bridge.errors import AnswerLost, AuthorizationServerError
from bridge.network import Client
from bridge.oauth.grant import GrantReply, GrantRequest

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
        try:
            async with asyncio.timeout(self._exchange_seconds):
                return await self._exchange(request)
        except (
            aiohttp.ClientConnectorError,
            aiohttp.ConnectionTimeoutError,
            aiohttp.ClientHttpProxyError,
        ) as error:
            raise AuthorizationServerError(
                f"{host} cannot be reached ({_reason(error)}): check the network, then try again"
            ) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise AnswerLost(
                f"the answer of {host} was lost ({_reason(error)}): try again"
            ) from None

    async def _exchange(self, request: GrantRequest) -> GrantReply:
        headers = [
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Accept", "application/json"),
            ("Accept-Encoding", "identity"),
            *request.headers.items(),
        ]
        response = await self._client.request(
            "POST",
            request.url,
            headers=headers,
            body=request.body,
            idle_seconds=self._read_seconds,
            connect_seconds=CONNECT_SECONDS,
        )
        async with response:
            body = await _bounded(response)
            return GrantReply(response.status, body, _seconds(response.headers.get("Retry-After")))


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > LIMIT:
            return b""
    return bytes(body)


def _seconds(value: str | None) -> float | None:
    """Read ``Retry-After`` in its form of seconds; the form of a date is not worth a parser."""
    if not (value and value.isascii() and value.isdigit()):
        return None
    return min(float(value), LONGEST_RETRY_AFTER)


def _reason(error: BaseException) -> str:
    """Return why *error* happened in words of the system or our own.

    Never the text of an HTTP error: that quotes what the server sent, which may hold a token.
    """
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy answered {error.status}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    if isinstance(cause, ssl.SSLError):
        return getattr(cause, "verify_message", None) or cause.reason or "TLS failed"
    return getattr(cause, "strerror", None) or type(cause).__name__
