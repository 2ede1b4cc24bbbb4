"""What a fault of the outgoing connection is to a client."""

from __future__ import annotations

import inspect
import ssl

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.test_utils import make_mocked_request
from yarl import URL

from bridge.errors import UpstreamError, UpstreamTimeout, UpstreamUnreachable
from bridge.proxy.fault import FAILURES, died, failure

KEY = ConnectionKey("api.kimi.com", 443, True, True, None, None, None, None)
SECRET = "https://api.kimi.com/?secret"
INFO = aiohttp.RequestInfo(URL(SECRET), "POST", make_mocked_request("GET", "/").headers, URL())
REFUSED = ConnectionRefusedError(111, SECRET)
UNTRUSTED = ssl.SSLCertVerificationError(1, SECRET)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (aiohttp.ConnectionTimeoutError(SECRET), UpstreamUnreachable, "no connection in time"),
        (aiohttp.SocketTimeoutError(SECRET), UpstreamTimeout, "did not begin to answer within 9 s"),
        (TimeoutError(), UpstreamTimeout, "did not begin to answer within 9 s"),
        (aiohttp.ClientConnectorError(KEY, REFUSED), UpstreamUnreachable, "Connection refused"),
        (aiohttp.ClientConnectorDNSError(KEY, OSError(-2, SECRET)), UpstreamUnreachable, "name"),
        (aiohttp.ClientConnectorCertificateError(KEY, UNTRUSTED), UpstreamUnreachable, "certifi"),
        (aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError(1, SECRET)), UpstreamUnreachable, "TLS"),
        (aiohttp.ClientProxyConnectionError(KEY, REFUSED), UpstreamUnreachable, "outbound proxy"),
        (aiohttp.ClientHttpProxyError(INFO, (), status=407), UpstreamUnreachable, "outbound proxy"),
        (aiohttp.ServerDisconnectedError(), UpstreamUnreachable, "closed the connection"),
        (aiohttp.ClientOSError(104, SECRET), UpstreamUnreachable, "Connection reset by peer"),
        (aiohttp.ClientResponseError(INFO, ()), UpstreamUnreachable, "not HTTP"),
        (aiohttp.ClientPayloadError(SECRET), UpstreamUnreachable, "ClientPayloadError"),
    ],
)  # fmt: skip
def test_each_fault_has_its_words(error: Exception, kind: type, words: str) -> None:
    """The host and a reason are named, a next step too, and no URL that the fault quotes."""
    told = failure(error, "api.kimi.com", 9)
    assert type(told) is kind
    assert words in str(told)
    assert str(told).startswith("api.kimi.com ")
    assert ": " in str(told)
    assert "secret" not in str(told)
    assert told.retry_after == 1


def test_no_fault_of_aiohttp_is_forgotten() -> None:
    """Every exception that the client library can raise is among those caught."""
    faults = [
        kind
        for _, kind in inspect.getmembers(aiohttp.client_exceptions, inspect.isclass)
        if issubclass(kind, Exception) and kind.__module__ == aiohttp.client_exceptions.__name__
    ]
    outside = {kind.__name__ for kind in faults if not issubclass(kind, FAILURES)}
    assert outside == {"WSMessageTypeError"}
    assert issubclass(UpstreamUnreachable, UpstreamError)


@pytest.mark.parametrize(
    ("error", "is_dead"),
    [
        (aiohttp.ServerDisconnectedError(), True),
        (aiohttp.ClientOSError(104, "reset"), True),
        (aiohttp.ClientConnectorError(KEY, REFUSED), False),
        (aiohttp.SocketTimeoutError(), False),
        (aiohttp.ClientResponseError(INFO, ()), False),
    ],
)
def test_a_connection_dies_only_after_it_lived(error: Exception, is_dead: bool) -> None:
    """Only what was connected can have died; silence and nonsense are no death."""
    assert died(error) is is_dead
