"""Says what a fault of the outgoing connection is to a client, in words that help.

No text of the fault itself is passed on, but for what TLS found wrong with a certificate.
"""

from __future__ import annotations

import os
import socket
import ssl
from typing import Final

from bridge.errors import UpstreamError, UpstreamTimeout, UpstreamUnreachable
from bridge.wire.failure import (
    ConnectTimeout,
    Disconnected,
    NotHttp,
    ProxyRefused,
    Silent,
    WireError,
)

#: All that a connection to an upstream raises.
FAILURES: Final = (WireError, OSError)  # socket.gaierror and ssl.SSLError are OSErrors

_UNTRUSTED: Final = ssl.SSLCertVerificationError

_NETWORK: Final = "check the network, then try again"
_AGAIN: Final = "try again"
_WORDS: Final[dict[type[Exception], tuple[str, str]]] = {
    ConnectTimeout: ("no connection in time", _NETWORK),
    TimeoutError: ("no connection in time", _NETWORK),
    ProxyRefused: (
        "the outbound proxy does not let us through",
        "check network.proxy and HTTPS_PROXY",
    ),
    NotHttp: ("it answered something that is not HTTP", "check the provider's URL"),
    Disconnected: ("it closed the connection before it answered", _AGAIN),
    ConnectionResetError: ("it reset the connection", _AGAIN),
    socket.gaierror: ("its name is not known", _NETWORK),
}


class AnswerCut(UpstreamError):
    """The upstream broke off in the middle of its answer; what came must not look whole."""


class UpstreamUntrusted(UpstreamError):
    """The upstream's certificate is not accepted; no retry can help before somebody acts."""


class Uncounted(UpstreamError):
    """The upstream does not count tokens; an estimate is to be sent instead."""


def cut(error: Exception) -> Exception:
    """Return what *error*, which came after the head of an answer, is; a bug stays one."""
    if isinstance(error, Silent):
        return AnswerCut("the upstream fell silent in the middle of its answer")
    if isinstance(error, WireError):
        return AnswerCut(f"the upstream broke off its answer ({error})")
    return error


def failure(error: Exception, host: str, idle_seconds: float) -> UpstreamError:
    """Return what *error*, which came before the head of an answer of *host*, is to a client."""
    if isinstance(error, Silent):
        return UpstreamTimeout(
            f"{host} did not begin to answer within {idle_seconds:g} s: try again"
        )
    reason, advice = _words(error)
    kind = UpstreamUntrusted if isinstance(error, _UNTRUSTED) else UpstreamUnreachable
    return kind(f"{host} could not be asked ({reason}): {advice}")


def _words(error: Exception) -> tuple[str, str]:
    if isinstance(error, _UNTRUSTED):
        return (
            f"its certificate is not accepted: {error.verify_message or 'not for this name'}",
            "check the clock, or name the CA in network.ca_file",
        )
    if isinstance(error, ssl.SSLError):
        return "TLS failed", _NETWORK
    for kind, words in _WORDS.items():
        if isinstance(error, kind):
            return words
    number = getattr(error, "errno", None)
    return os.strerror(number) if number else "no address of it answers", _NETWORK
