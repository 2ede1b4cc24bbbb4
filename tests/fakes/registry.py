"""What an authorization server remembers: its client, the logins under way, families of tokens.

The methods are those by which authlib asks; the attributes are for tests to read and bend.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from authlib.oauth2.rfc8628 import DEVICE_CODE_GRANT_TYPE

from bridge.clock import Clock
from bridge.providers import KIMI_CLIENT_ID

SCOPE: Final = "kimi-code"


class PublicClient:
    """The one registered client: it has no secret, and whatever it asks for has the same scope."""

    def get_client_id(self) -> str:
        """Return the client id of the official CLIs."""
        return KIMI_CLIENT_ID

    def get_allowed_scope(self, scope: str | None) -> str:
        """Return the one scope there is."""
        return SCOPE

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        """Say whether the client may prove itself by *method*: only by nothing."""
        return method == "none"

    def check_grant_type(self, grant_type: str) -> bool:
        """Say whether the client may use *grant_type*."""
        return grant_type in {DEVICE_CODE_GRANT_TYPE, "refresh_token"}


@dataclass
class Family:
    """All tokens that descend from one login; to revoke it is to end that login."""

    number: int
    revoked: bool = False


@dataclass
class AccessToken:
    """An access token and its end on the server's own wall clock."""

    family: Family
    expires_at: float
    revoked: bool = False


@dataclass
class RefreshToken:
    """A refresh token, and whether it has been exchanged already."""

    family: Family
    spent: bool = False

    def check_client(self, client: PublicClient) -> bool:
        """Say whether it was issued to *client*: there is no other."""
        return True

    def get_scope(self) -> str:
        """Return what it was issued for."""
        return SCOPE


@dataclass
class DeviceCode:
    """A login under way; *approved* is ``None`` until the person has said yes or no."""

    clock: Clock
    user_code: str
    expires_at: float
    interval: float
    approved: bool | None = None
    polls: list[float] = field(default_factory=list)

    def get_client_id(self) -> str:
        """Return who began the login."""
        return KIMI_CLIENT_ID

    def get_scope(self) -> str:
        """Return what the login is for."""
        return SCOPE

    def get_user_code(self) -> str:
        """Return the code that the person types."""
        return self.user_code

    def is_expired(self) -> bool:
        """Say whether it is too late to approve."""
        return self.expires_at <= self.clock.now()

    @property
    def hasty(self) -> bool:
        """Whether the last poll came sooner after the one before than the interval allows."""
        return len(self.polls) > 1 and self.polls[-1] - self.polls[-2] < self.interval
