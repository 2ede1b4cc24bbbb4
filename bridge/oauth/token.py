"""Holds a token as it was issued and answers how long it is good for at a given moment.

Pure: the moment is always passed in. The absolute expiry is computed once, when a response is
received, and ``expires_in`` is kept beside it because the official CLI derives its own refresh
threshold from it (RFC 6749 section 5.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

#: The lifetime assumed, in seconds, where a server does not say; short, so that a wrong guess
#: costs a refresh and not a refused request.
UNKNOWN_LIFETIME: Final = 600.0
#: A request waits for a refresh only when less than this is left: a token was seen refused
#: 679 ms before its local expiry, and a long prompt takes a while to arrive.
CRITICAL_SECONDS: Final = 60.0

_OWN_KEYS: Final = frozenset(
    {"access_token", "refresh_token", "token_type", "scope", "expires_at", "expires_in"}
)


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, the refresh token that succeeds it, and when it ends.

    *expires_at* is absolute (seconds since the epoch, on the clock of whichever process wrote
    it), *expires_in* is the lifetime as issued, in seconds, or 0 where nobody said. *extra* keeps
    keys that we do not know, so that nothing of a neighbour's is lost when we write.
    """

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    expires_at: float
    expires_in: float
    scope: str = ""
    type: str = "Bearer"
    extra: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), repr=False)

    def remaining(self, now: float) -> float:
        """Return the seconds left at *now*; negative when the token has expired."""
        return self.expires_at - now

    @property
    def margin(self) -> float:
        """The seconds before expiry at which a refresh is due: half the lifetime.

        For the lifetimes seen live this is the official CLI's own rule, so both processes want
        the same thing at the same time; its floor of 300 s is left out because it would refresh a
        short token at every request.
        """
        return (self.expires_in or UNKNOWN_LIFETIME) / 2

    @property
    def critical(self) -> float:
        """The seconds before expiry below which a request waits for the refresh."""
        return min(CRITICAL_SECONDS, (self.expires_in or UNKNOWN_LIFETIME) / 15)

    def stale(self, now: float) -> bool:
        """Say whether a refresh is due at *now*."""
        return self.remaining(now) < self.margin

    def urgent(self, now: float) -> bool:
        """Say whether so little is left at *now* that a request should wait for a new token."""
        return self.remaining(now) < self.critical

    def succeeded_by(self, response: Mapping[str, Any], now: float) -> Token:
        """Return the token that a refresh *response*, received at *now*, makes of this one.

        What the response leaves out (refresh token, scope, type, lifetime) is kept from this
        token: RFC 6749 section 6 allows the omission, and throwing the answer away would lose the
        login.
        """
        seconds = lifetime(response, self.expires_in)
        return replace(
            self,
            access=str(response["access_token"]),
            refresh=presentable(response.get("refresh_token")) or self.refresh,
            expires_at=now + (seconds or UNKNOWN_LIFETIME),
            expires_in=seconds,
            scope=str(response.get("scope") or self.scope),
            type=str(response.get("token_type") or self.type),
        )

    def document(self) -> dict[str, Any]:
        """Return the token as the JSON object of the credential file, unknown keys included."""
        return {
            "access_token": self.access,
            "refresh_token": self.refresh,
            "expires_at": self.expires_at,
            "scope": self.scope,
            "token_type": self.type,
            "expires_in": self.expires_in,
            **self.extra,
        }


def issued(response: Mapping[str, Any], now: float) -> Token:
    """Return the first token of a login, from a token response received at *now*.

    Raises ``KeyError`` when there is no ``access_token``; callers check for it first.
    """
    seconds = lifetime(response, 0.0)
    return Token(
        access=str(response["access_token"]),
        refresh=presentable(response.get("refresh_token")),
        expires_at=now + (seconds or UNKNOWN_LIFETIME),
        expires_in=seconds,
        scope=str(response.get("scope") or ""),
        type=str(response.get("token_type") or "Bearer"),
    )


def stored(document: Mapping[str, Any]) -> Token | None:
    """Return the token that a credential file's JSON object holds, or ``None`` for "not logged in".

    A tombstone (empty ``access_token``) is not a login, though a refresh token beside an empty
    access token still is one. Numbers that are not numbers read as 0, as the neighbours read them.
    """
    access = presentable(document.get("access_token"))
    refresh = presentable(document.get("refresh_token"))
    if not access and not refresh:
        return None
    return Token(
        access=access,
        refresh=refresh,
        expires_at=_number(document.get("expires_at")) if access else 0.0,
        expires_in=_number(document.get("expires_in")),
        scope=_text(document.get("scope"), ""),
        type=_text(document.get("token_type"), "Bearer"),
        extra=MappingProxyType({k: v for k, v in document.items() if k not in _OWN_KEYS}),
    )


def presentable(value: object) -> str:
    """Return *value* if it may be a token (RFC 6749 appendix A.12 and A.17), else an empty string.

    Anything but printable ASCII would break the header that carries it.
    """
    return value if isinstance(value, str) and value.isascii() and value.isprintable() else ""


def lifetime(response: Mapping[str, Any], otherwise: float) -> float:
    """Return ``expires_in`` of a token response in seconds, or *otherwise* where there is none."""
    seconds = _number(response.get("expires_in"))
    return seconds if seconds > 0 else otherwise


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return 0.0
    try:
        number = float(value)
    except (OverflowError, ValueError):  # JSON knows integers that no float can hold
        return 0.0
    return number if 0 <= number < float("inf") else 0.0


def _text(value: object, otherwise: str) -> str:
    return value if isinstance(value, str) and value else otherwise
