"""Foretells when a login ends, from what its refresh token says or from its age.

Pure. Each rotation begins the life of a refresh token anew, so a login ends only where nothing
renews it: on a machine that is off. Nothing but advice depends on it.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bridge.oauth.token import Token

DAY: Final = 86400.0
#: Seconds that a refresh token lives which does not say so itself.
REFRESH_LIFETIME: Final = 30 * DAY
#: Seconds before the end of a login at which it is told, and the part of its life that is at most.
NOTICE_SECONDS: Final = 5 * DAY
NOTICE_PART: Final = 6

#: No time from here on (the year 5138) can be shown to people.
_NEVER: Final = 1e11


@dataclass(frozen=True, slots=True)
class Forecast:
    """When a login was last renewed, and when it ends, in seconds since the epoch.

    *certain* is false where the end was only counted from *issued_at*. ``None``: nobody knows.
    """

    issued_at: float | None
    ends_at: float | None
    certain: bool = False

    def soon(self, now: float) -> bool:
        """Say whether so little is left at *now* that a person should hear of it."""
        if self.ends_at is None:
            return False
        notice = NOTICE_SECONDS
        if self.issued_at is not None and self.issued_at < self.ends_at:
            # A login that never lives for long is not worth a warning each day.
            notice = min(notice, (self.ends_at - self.issued_at) / NOTICE_PART)
        return self.ends_at - now < notice


def foretold(token: Token, issued_at: float | None = None) -> Forecast:
    """Return what is to be expected of the login of *token*.

    *issued_at* is when its refresh token was issued, where somebody remembers. Without a refresh
    token the login ends with the access token.
    """
    claims = _claims(token.refresh)
    born = issued_at or _moment(claims.get("iat")) or refreshed_at(token)
    if not token.refresh:
        return Forecast(born, token.expires_at or None, certain=True)
    if (said := _moment(claims.get("exp"))) is not None:
        return Forecast(born, said, certain=True)
    return Forecast(born, born + REFRESH_LIFETIME if born else None)


def refreshed_at(token: Token) -> float | None:
    """Return when the access token of *token* was issued, as far as it tells itself."""
    if not token.access or token.expires_in <= 0:
        return None
    return _moment(token.expires_at - token.expires_in)


def _claims(refresh: str) -> Mapping[str, Any]:
    """Return what *refresh* says if it is a JWT. Its signature is not verified: it is our own."""
    parts = refresh.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _moment(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _NEVER:
        return None
    return float(value)
