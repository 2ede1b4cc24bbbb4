"""Says which headers of a request and of its answer go through, and which stay behind.

Pure: it sees method, target and header pairs, never a body or a socket. What stays behind is
hop-by-hop (RFC 9110 section 7.6.1), a credential, or set anew by whoever sends; everything else is
end-to-end and goes through in its own order and case.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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

Pair = tuple[str, str]
RawPair = tuple[bytes, bytes]


class Head:
    """The head of a request as the client sent it: raw target, header pairs in order and case.

    *raw* are the headers as bytes.
    """

    __slots__ = ("_index", "method", "raw", "target")

    def __init__(self, method: str, target: str, headers: Iterable[Pair] = ()) -> None:
        raw = [(name.encode(), value.encode("utf-8", "surrogateescape")) for name, value in headers]
        self._fill(method, target, raw)

    @classmethod
    def of(cls, method: str, target: str, raw: Sequence[RawPair]) -> Head:
        """Return the head of a request whose headers are still bytes."""
        head = cls.__new__(cls)
        head._fill(method, target, raw)  # noqa: SLF001 - another way to be made
        return head

    def _fill(self, method: str, target: str, raw: Sequence[RawPair]) -> None:
        self.method = method
        self.target = target
        self.raw = raw
        self._index = {name.lower(): value for name, value in raw}

    def values(self, name: str) -> list[str]:
        """Return every value of the header *name* (in lower case), in order."""
        wanted = name.encode()
        value = self._index.get(wanted)
        if value is None:
            return []
        if not self.repeats:
            return [_text(value)]
        return [_text(value) for name, value in self.raw if name.lower() == wanted]

    def value(self, name: str) -> str:
        """Return a value of the header *name* (in lower case), or an empty string."""
        value = self._index.get(name.encode())
        return "" if value is None else _text(value)

    def get(self, name: bytes) -> bytes | None:
        """Return a value of the header *name* (in lower case) as bytes, if there is one."""
        return self._index.get(name)

    @property
    def repeats(self) -> bool:
        """Whether any name is there more than once."""
        return len(self._index) < len(self.raw)

    def has(self, name: bytes) -> bool:
        """Say whether there is a header *name* (in lower case)."""
        return name in self._index

    def __repr__(self) -> str:
        # Values may be credentials.
        return f"Head({self.method} {self.target.partition('?')[0]}, {len(self.raw)} headers)"


@dataclass(frozen=True, slots=True)
class Manner:
    """How headers go to one provider, worked out once for its row.

    *behind* stays here, *own* are the lines of the row itself, *credential* is the name under which
    the credential goes, empty where the caller's own stays; *mark* is what an answer gets added.
    """

    behind: frozenset[bytes]
    own: bytes
    credential: bytes
    mark: bytes

    @classmethod
    def of(cls, provider: Provider) -> Manner:
        """Return how headers go to *provider*."""
        passes = provider.auth is Auth.PASSTHROUGH
        private = OWN_CREDENTIALS if passes else OWN_CREDENTIALS | CREDENTIALS
        own = {name.lower(): (name, value) for name, value in provider.headers.items()}
        never = HOP_BY_HOP | RESET | OWN_CREDENTIALS | CREDENTIALS
        lines = [_line(*pair) for name, pair in own.items() if pair[1] and name not in never]
        name = "x-api-key" if provider.key_header is KeyHeader.API_KEY else "Authorization"
        scheme = "" if provider.key_header is KeyHeader.API_KEY else "Bearer "
        return cls(
            behind=frozenset(n.encode() for n in (HOP_BY_HOP | RESET | private).union(own)),
            own=b"".join(lines),
            credential=b"" if passes else f"{name}: {scheme}".encode(),
            mark=b"x-bridge-provider: %b\r\n" % provider.name.encode("ascii", "replace"),
        )


def outbound_lines(head: Head, manner: Manner, credential: str, caller_key: str) -> bytes:
    """Return the header lines with which *head* goes out, *credential* among them.

    No incoming credential is, nor any header that holds *caller_key*; only for a passthrough
    provider the caller's own credential stays and *credential* is not looked at. Raises
    ``Refused`` (400) for a header that HTTP cannot carry.
    """
    behind = manner.behind
    if head.has(b"connection"):
        behind |= _named(head.raw)
    lines = [b"%b: %b\r\n" % pair for pair in head.raw if pair[0].lower() not in behind]
    text = b"".join(lines)
    if caller_key and (key := caller_key.encode()) in text:
        lines = [line for line in lines if key not in line]
        text = b"".join(lines)
    count = len(lines)
    if manner.credential:
        text += b"%b%b\r\n" % (manner.credential, credential.encode())
        count += 1
    if not _are_lines(text, count):
        raise _unsendable(lines)
    return text + manner.own


def answer_lines(pairs: Iterable[RawPair], mark: bytes, *, bare: bool = False) -> list[bytes]:
    """Return the header lines of an upstream's answer as the client gets them, *mark* among them.

    They stay bytes, so that what is no UTF-8 passes too; framing is the sender's own. A *bare*
    answer has no content and announces none.
    """
    named = [(name.lower(), (name, value)) for name, value in pairs]
    behind = _BEHIND
    if any(name == b"connection" for name, _ in named):
        behind |= _named(pair for _, pair in named)
    if bare:
        behind |= {b"content-length"}
    lines = [
        b"%b: %b\r\n" % pair
        for name, pair in named
        if name not in behind and not name.startswith(b"access-control-")
    ]
    if not _are_lines(b"".join(lines), len(lines)):
        lines = [line for line in lines if _are_lines(line, 1)]
    lines.append(mark)
    return lines


def _named(pairs: Iterable[RawPair]) -> frozenset[bytes]:
    """Return the header names that ``Connection`` makes hop-by-hop, in lower case."""
    values = [value for name, value in pairs if name.lower() == b"connection"]
    return frozenset(name.strip().lower() for value in values for name in value.split(b","))


def _unsendable(lines: Iterable[bytes]) -> Refused:
    wrong = next((line for line in lines if not _are_lines(line, 1)), b"")
    name = wrong.partition(b":")[0].decode("ascii", "replace")[:80] or "of the credential"
    return Refused(
        f"the header {name!r} has a character that HTTP does not carry: leave it out",
        status=400,
        kind="invalid_request_error",
    )


def _are_lines(text: bytes, count: int) -> bool:
    """Say whether *text* is *count* lines to any reader (RFC 9110 section 5.5).

    llhttp lets nothing else through; what it does not see is the credential.
    """
    return text.count(b"\r") == text.count(b"\n") == count and b"\0" not in text


def _line(name: str, value: str) -> bytes:
    return f"{name}: {value}\r\n".encode()


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")
