"""Says what a fault of the outgoing connection is to a client, in words that help.

No text of the fault itself is passed on: aiohttp puts URLs into it.
"""

from __future__ import annotations

import os
import ssl
from typing import Final

import aiohttp

from bridge.errors import UpstreamError, UpstreamTimeout, UpstreamUnreachable

#: All that ``network.Client.request`` and the reading of its answer raise.
FAILURES: Final = (aiohttp.ClientError, OSError)  # TimeoutError is an OSError

_NETWORK: Final = "check the network, then try again"
_PROXY: Final = (aiohttp.ClientHttpProxyError, aiohttp.ClientProxyConnectionError)


def died(error: Exception) -> bool:
    """Say whether a connection that had been there broke before any byte of an answer.

    What became of the request nobody knows: only its own nature says if it may be sent again.
    """
    if isinstance(error, aiohttp.ClientConnectorError):
        return False
    return isinstance(error, (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError))


def failure(error: Exception, host: str, idle_seconds: float) -> UpstreamError:
    """Return what *error*, which came before the head of an answer of *host*, is to a client."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return UpstreamUnreachable(f"{host} could not be asked (no connection in time): {_NETWORK}")
    if isinstance(error, TimeoutError):
        return UpstreamTimeout(
            f"{host} did not begin to answer within {idle_seconds:g} s: try again"
        )
    reason, advice = _words(error)
    return UpstreamUnreachable(f"{host} could not be asked ({reason}): {advice}")


def _words(error: Exception) -> tuple[str, str]:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        verdict = getattr(error.certificate_error, "verify_message", "") or "not for this name"
        return (
            f"its certificate is not accepted: {verdict}",
            "check the clock, or name the CA in network.ca_file",
        )
    if isinstance(error, _PROXY):
        return "the outbound proxy does not let us through", "check network.proxy and HTTPS_PROXY"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "it closed the connection before it answered", "try again"
    if isinstance(error, aiohttp.ClientResponseError):
        return "it answered something that is not HTTP", "check the provider's URL"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name is not known", _NETWORK
    if isinstance(error, ssl.SSLError):
        return "TLS failed", _NETWORK
    return _strerror(error), "try again" if died(error) else _NETWORK


def _strerror(error: Exception) -> str:
    number = getattr(error, "errno", None)
    return os.strerror(number) if isinstance(number, int) else type(error).__name__
