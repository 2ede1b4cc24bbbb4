"""What a fault of the outgoing connection is to a client."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest

from bridge.errors import UpstreamTimeout, UpstreamUnreachable
from bridge.proxy.fault import FAILURES, UpstreamUntrusted, failure
from bridge.wire.failure import (
    ConnectTimeout,
    Disconnected,
    NotHttp,
    ProxyRefused,
    Silent,
    WireError,
)

SECRET = "https://api.kimi.com/?secret"


def untrusted(reason: str) -> ssl.SSLCertVerificationError:
    """Return what TLS raises for a certificate; *reason* is its word for what is wrong."""
    error = ssl.SSLCertVerificationError(1, SECRET)
    error.verify_message = reason
    return error


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (Silent(SECRET), UpstreamTimeout, "did not begin to answer within 9 s: try again"),
        (ConnectTimeout(SECRET), UpstreamUnreachable, "no connection in time"),
        (TimeoutError(errno.ETIMEDOUT, SECRET), UpstreamUnreachable, "no connection in time"),
        (ProxyRefused(SECRET), UpstreamUnreachable, "outbound proxy does not let us through"),
        (NotHttp(SECRET), UpstreamUnreachable, "it answered something that is not HTTP"),
        (Disconnected(SECRET), UpstreamUnreachable, "it closed the connection before it answered"),
        (Disconnected(SECRET, reused=True), UpstreamUnreachable, "it closed the connection"),
        (socket.gaierror(-2, SECRET), UpstreamUnreachable, "its name is not known"),
        (untrusted("certificate has expired"), UpstreamUntrusted, "certificate has expired"),
        (untrusted(""), UpstreamUntrusted, "is not accepted: not for this name"),
        (ssl.SSLError(1, SECRET), UpstreamUnreachable, "TLS failed"),
        (ConnectionRefusedError(errno.ECONNREFUSED, SECRET), UpstreamUnreachable, "refused"),
        (ConnectionResetError(errno.ECONNRESET, SECRET), UpstreamUnreachable, "reset the conn"),
        (ConnectionResetError(), UpstreamUnreachable, "it reset the connection"),
        (OSError(errno.ENETUNREACH, SECRET), UpstreamUnreachable, "Network is unreachable"),
        (OSError(f"Multiple exceptions: {SECRET}"), UpstreamUnreachable, "no address of it ans"),
    ],
)
def test_each_fault_has_its_words(error: Exception, kind: type, words: str) -> None:
    """The host and a reason are named, a next step too, and nothing that the fault quotes."""
    assert isinstance(error, FAILURES)
    told = failure(error, "api.kimi.com", 9)
    assert type(told) is kind
    assert words in str(told)
    assert str(told).startswith("api.kimi.com ")
    assert ": " in str(told)
    assert "secret" not in str(told)
    # Repeating what a certificate forbids would keep people waiting for minutes.
    assert told.retry_after == (None if kind is UpstreamUntrusted else 1)


def test_no_fault_is_forgotten() -> None:
    """Everything that the way out names has words of its own."""
    kinds = WireError.__subclasses__()
    told = {str(failure(kind("the reason"), "api.kimi.com", 9)) for kind in kinds}
    assert len(told) == len(kinds)
    assert not [text for text in told if "the reason" in text or "no address" in text]
