"""Says which headers of a request and of its answer go through, and which stay behind.

Pure: it sees method, target and header pairs, never a body or a socket. What stays behind is
hop-by-hop (RFC 9110 section 7.6.1), a credential, or set anew by whoever sends; everything else is
end-to-end and goes through in its own order and case.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from bridge.errors import Refused
from bridge.providers import Auth, KeyHeader, Provider

#: ``keep-alive`` and ``proxy-connection`` are of no RFC that counts, but are sent all the same.
HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
#: The headers in which a caller may show a credential that is meant for the provider.
CREDENTIALS: Final = frozenset({"authorization", "x-api-key"})
#: Credentials that are never for the provider: of an outbound proxy, and of bridge itself.
OWN_CREDENTIALS: Final = frozenset({"proxy-authorization", "x-bridge-key"})
#: Set anew by whoever sends the request, or (``expect``) answered here.
RESET: Final = frozenset({"host", "content-length", "expect"})
#: What no provider has to say to an agent on loopback, beside ``access-control-*``.
UNWANTED: Final = frozenset({"alt-svc", "set-cookie", "x-bridge-provider"})

_BEHIND: Final = frozenset(name.encode() for name in HOP_BY_HOP | UNWANTED)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_CONTROL_BYTES: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

Pair = tuple[str, str]
RawPair = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a request as the client sent it: raw target, header pairs in order and case."""

    method: str
    target: str
    headers: tuple[Pair, ...]
    _index: dict[str, list[str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        index: dict[str, list[str]] = {}
        for name, value in self.headers:
            index.setdefault(name.lower(), []).append(value)
        object.__setattr__(self, "_index", index)

    @classmethod
    def of(cls, method: str, target: str, raw: Iterable[RawPair]) -> Head:
        """Return the head of a request whose headers are still bytes.

        Bytes that are no UTF-8 are kept as lone surrogates, which :func:`outbound_headers` finds.
        """
        pairs = [(k.decode("latin-1"), v.decode("utf-8", "surrogateescape")) for k, v in raw]
        return cls(method, target, tuple(pairs))

    def values(self, name: str) -> list[str]:
        """Return every value of the header *name* (in lower case), in order."""
        return self._index.get(name, [])

    def value(self, name: str) -> str:
        """Return the first value of the header *name* (in lower case), or an empty string."""
        values = self._index.get(name)
        return values[0] if values else ""


def outbound_headers(
    head: Head, provider: Provider, credential: str, caller_key: str
) -> list[Pair]:
    """Return the headers with which *head* goes to *provider*, *credential* among them.

    No incoming credential is, nor any header that holds *caller_key*; only for a passthrough
    provider the caller's own credential stays and *credential* is not looked at. Raises
    ``Refused`` (400) for a header that HTTP cannot carry.
    """
    keeps_credentials = provider.auth is Auth.PASSTHROUGH
    private = OWN_CREDENTIALS if keeps_credentials else OWN_CREDENTIALS | CREDENTIALS
    behind = HOP_BY_HOP | RESET | private | named(head.values("connection"))
    own = {name.lower(): (name, value) for name, value in provider.headers.items()}
    kept = [
        (name, value)
        for name, value in head.headers
        if (lowered := name.lower()) not in behind
        and lowered not in own
        and not (caller_key and caller_key in value)
    ]
    if not keeps_credentials:
        kept.append(_credential_header(provider, credential))
    never = HOP_BY_HOP | RESET | OWN_CREDENTIALS | CREDENTIALS
    kept += [pair for name, pair in own.items() if pair[1] and name not in never]
    return _sendable(kept)


def answer_headers(pairs: Iterable[RawPair], provider: str) -> list[RawPair]:
    """Return the headers of an upstream's answer as the client gets them.

    They stay bytes, so that what is no UTF-8 passes too. ``x-bridge-provider`` is added.
    """
    lowered = [(name.lower(), (name, value)) for name, value in pairs]
    connection = [value.decode("latin-1") for name, (_, value) in lowered if name == b"connection"]
    behind = _BEHIND | {name.encode("latin-1") for name in named(connection)}
    kept = [
        pair
        for name, pair in lowered
        if name not in behind
        and not name.startswith(b"access-control-")
        and not _CONTROL_BYTES.search(pair[1])
    ]
    return [*kept, (b"x-bridge-provider", provider.encode("ascii", "replace"))]


def named(connection: Iterable[str]) -> frozenset[str]:
    """Return the header names that values of ``Connection`` make hop-by-hop, in lower case."""
    return frozenset(name.strip().lower() for value in connection for name in value.split(","))


def _credential_header(provider: Provider, credential: str) -> Pair:
    if provider.key_header is KeyHeader.API_KEY:
        return "x-api-key", credential
    return "Authorization", f"Bearer {credential}"


def _sendable(pairs: list[Pair]) -> list[Pair]:
    together = "".join([text for pair in pairs for text in pair])
    if _CONTROL.search(together) or not _is_text(together):
        raise Refused(
            f"the header {_unsendable(pairs)[:80]!r} has a character that HTTP does not carry: "
            "leave it out",
            status=400,
            kind="invalid_request_error",
        )
    return pairs


def _unsendable(pairs: list[Pair]) -> str:
    """Return the name of the header that cannot be sent."""
    return next(
        name for name, value in pairs if _CONTROL.search(name + value) or not _is_text(value)
    )


def _is_text(value: str) -> bool:
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
