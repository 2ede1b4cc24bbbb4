"""What a fault of the outgoing connection is to a client."""

from __future__ import annotations

import inspect
import socket
import ssl

import pytest

from bridge.errors import UpstreamTimeout, UpstreamUnreachable
from bridge.proxy.fault import FAILURES, failure
from bridge.wire import failure as wire
from bridge.wire.failure import ConnectTimeout, Disconnected, NotHttp, ProxyRefused, Silent

SECRET = "https://api.kimi.com/?secret"
UNTRUSTED = ssl.SSLCertVerificationError(1, SECRET)
UNTRUSTED.verify_message = "self-signed certificate"


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (ConnectTimeout(SECRET), UpstreamUnreachable, "no connection in time"),
        (Silent(SECRET), UpstreamTimeout, "did not begin to answer within 9 s"),
        (TimeoutError(), UpstreamUnreachable, "no connection in time"),
        (ConnectionRefusedError(111, SECRET), UpstreamUnreachable, "Connection refused"),
        (socket.gaierror(-2, SECRET), UpstreamUnreachable, "its name is not known"),
        (UNTRUSTED, UpstreamUnreachable, "not accepted: self-signed certificate"),
        (ssl.SSLError(1, SECRET), UpstreamUnreachable, "TLS failed"),
        (ProxyRefused(SECRET), UpstreamUnreachable, "outbound proxy"),
        (Disconnected(SECRET), UpstreamUnreachable, "closed the connection"),
        (ConnectionResetError(104, SECRET), UpstreamUnreachable, "reset the connection"),
        (NotHttp(SECRET), UpstreamUnreachable, "not HTTP"),
        (OSError(SECRET), UpstreamUnreachable, "no address of it answers"),
    ],
)
def test_each_fault_has_its_words(error: Exception, kind: type, words: str) -> None:
    """The host and a reason are named, a next step too, and nothing that the fault quotes."""
    told = failure(error, "api.kimi.com", 9)
    assert type(told) is kind
    assert words in str(told)
    assert str(told).startswith("api.kimi.com ")
    assert ": " in str(told)
    assert "secret" not in str(told)
    assert told.retry_after == 1


def test_no_fault_of_the_wire_is_forgotten() -> None:
    """Every exception that the way out can raise is among those caught."""
    faults = [kind for _, kind in inspect.getmembers(wire, inspect.isclass)]
    assert len(faults) > 4
    assert all(issubclass(kind, FAILURES) for kind in faults)
