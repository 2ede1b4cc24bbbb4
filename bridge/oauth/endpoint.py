"""Posts one grant request to the authorization server and returns what came back.

It knows neither files nor what the answer means; ``oauth.grant`` reads it. An answer is read to a
limit, so that a server gone mad cannot fill the memory.
"""

from __future__ import annotations

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

    def __init__(self, client: Client, read_seconds: float = READ_SECONDS) -> None:
        self._client = client
        self._read_seconds = read_seconds

    async def send(self, request: GrantRequest) -> GrantReply:
        """Post *request*; see :class:`Endpoint`."""
        headers = [
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Accept", "application/json"),
            *request.headers.items(),
        ]
        host = request.url.split("/api/")[0]
        try:
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
                return GrantReply(
                    response.status, body, _seconds(response.headers.get("Retry-After"))
                )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise AuthorizationServerError(f"{host} cannot be reached ({_reason(error)})") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise AnswerLost(f"the answer of {host} was lost ({_reason(error)})") from None


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > LIMIT:
            return b""
    return bytes(body)


def _seconds(value: str | None) -> float | None:
    """Read ``Retry-After`` in its form of seconds; the form of a date is not worth a parser."""
    return float(value) if value and value.isascii() and value.isdigit() else None


def _reason(error: BaseException) -> str:
    """Return why *error* happened, without any URL query or body."""
    cause = getattr(error, "os_error", None) or error
    text = getattr(cause, "strerror", None) or str(cause)
    return str(text or type(cause).__name__)[:200]
