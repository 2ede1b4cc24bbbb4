"""The grants of a real authorization server: authlib's RFC 8628 and RFC 6749, with a memory.

It knows device codes, families of tokens and the rules between them; it knows no HTTP.
``authorization`` serves it, and bends it where Kimi is known to bend the standards.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from authlib.oauth2.rfc6749 import AuthorizationServer, OAuth2Request
from authlib.oauth2.rfc6749.errors import InvalidGrantError
from authlib.oauth2.rfc6749.grants import RefreshTokenGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc8628 import DeviceAuthorizationEndpoint, DeviceCodeGrant

from bridge.clock import Clock
from bridge.providers import KIMI_CLIENT_ID
from tests.fakes.registry import AccessToken, DeviceCode, Family, PublicClient, RefreshToken

#: Every access and refresh token begins so, for tests that look for a secret where none may be.
ACCESS_MARK: Final = "ACCESSsecret"
REFRESH_MARK: Final = "REFRESHsecret"

CODE_LIFETIME: Final = 1800
_GRANT_IS_INVALID: Final = "The provided authorization grant is invalid"

Answer = tuple[int, dict[str, Any]]


class Authority:
    """Issues, rotates and revokes; what it remembers and how it behaves are plain attributes.

    *omit* names fields left out of answers; where it names ``refresh_token``, the old one stays
    good. *stern* revokes the whole family when a spent refresh token is presented. *auto_approve*
    is the poll at which a login approves itself. *slow_down* so many pending polls to come are
    told to slow down, and with *keeps_interval* each that comes too soon.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.expires_in: float = 900
        self.interval: float = 5
        self.stern = False
        self.omit: set[str] = set()
        self.auto_approve: int | None = None
        self.slow_down = 0
        self.keeps_interval = False
        self.families: list[Family] = []
        self.access: dict[str, AccessToken] = {}
        self.refresh: dict[str, RefreshToken] = {}
        self.codes: dict[str, DeviceCode] = {}
        self.device_flows = 0
        self.polls: list[float] = []
        self.refreshes = 0
        self.refused = 0
        self.spent_presented = 0
        self._library = _Library(self)

    def device_authorization(self, form: Mapping[str, str], page: str) -> Answer:
        """Begin a login whose page of approval is *page*."""
        return self._kept(self._library.create_endpoint_response("device", (form, page)))

    def token(self, form: Mapping[str, str]) -> Answer:
        """Exchange a device code or a refresh token."""
        return self._kept(self._library.create_token_response((form, "")))

    def seed(self) -> dict[str, Any]:
        """Log in at once, without a device flow, and return the token answer."""
        token: dict[str, Any] = self._library.generate_token("seed", PublicClient())
        self._library.save_token(token, None)
        return token

    def valid(self, access: str) -> bool:
        """Say whether *access* is good at this moment."""
        token = self.access.get(access)
        return (
            token is not None
            and not (token.revoked or token.family.revoked)
            and self.clock.now() < token.expires_at
        )

    def revoke(self, access: str) -> None:
        """Let a living access token be refused from now on; its family lives."""
        self.access[access].revoked = True

    def login(self, user_code: str = "") -> DeviceCode:
        """Return the login with that user code, or the latest; raises ``KeyError`` for none."""
        for code in reversed(self.codes.values()):
            if user_code in {"", code.user_code}:
                return code
        raise KeyError(user_code)

    def approve(self, user_code: str = "") -> None:
        """Let the person say yes to that login, or to the latest."""
        self.login(user_code).approved = True

    def deny(self, user_code: str = "") -> None:
        """Let the person say no."""
        self.login(user_code).approved = False

    def expire(self, user_code: str = "") -> None:
        """Let the time for that login be over."""
        self.login(user_code).expires_at = 0

    def _kept(self, answer: Answer) -> Answer:
        status, document = answer
        return status, {k: v for k, v in document.items() if status != 200 or k not in self.omit}


class _Library(AuthorizationServer):  # type: ignore[misc]  # authlib is untyped
    """What authlib wants of whoever builds on it: storage, and nothing of a framework."""

    def __init__(self, authority: Authority) -> None:
        super().__init__()
        self.authority = authority
        self.register_grant(_DeviceGrant)
        self.register_grant(_RefreshGrant)
        self.register_endpoint(_DeviceEndpoint)
        bearer = BearerTokenGenerator(
            partial(_opaque, ACCESS_MARK, 516),
            partial(_opaque, REFRESH_MARK, 48),
            lambda *_: authority.expires_in,
        )
        self.register_token_generator("default", bearer)

    def query_client(self, client_id: str) -> PublicClient | None:
        return PublicClient() if client_id == KIMI_CLIENT_ID else None

    def save_token(self, token: Mapping[str, Any], request: OAuth2Request | None) -> None:
        authority = self.authority
        if request is not None and request.refresh_token:
            family = request.refresh_token.family
        else:
            family = Family(len(authority.families) + 1)
            authority.families.append(family)
        end = authority.clock.now() + token["expires_in"]
        authority.access[token["access_token"]] = AccessToken(family, end)
        if "refresh_token" in token:
            authority.refresh[token["refresh_token"]] = RefreshToken(family)

    def create_oauth2_request(self, request: tuple[Mapping[str, str], str]) -> OAuth2Request:
        return _Form(*request)

    def handle_response(self, status: int, body: dict[str, Any], headers: object) -> Answer:
        return status, body

    def send_signal(self, *_: object, **__: object) -> None:
        pass  # signals are for frameworks; nobody listens here


class _Form(OAuth2Request):  # type: ignore[misc]  # authlib is untyped
    """A posted form, as authlib wants to see a request; *page* is where a person approves."""

    def __init__(self, form: Mapping[str, str], page: str) -> None:
        # authlib refuses plain http; that the wire is loopback is not its business.
        super().__init__("POST", "https://authorization.invalid/")
        self.payload = BasicOAuth2Payload(dict(form))
        self.page = page

    @property
    def form(self) -> dict[str, str]:
        data: dict[str, str] = self.payload.data
        return data


class _DeviceEndpoint(DeviceAuthorizationEndpoint):  # type: ignore[misc]  # authlib is untyped
    ENDPOINT_NAME = "device"
    EXPIRES_IN = CODE_LIFETIME

    def create_endpoint_response(self, request: _Form) -> object:
        self.INTERVAL, self._page = self.server.authority.interval, request.page
        return super().create_endpoint_response(request)

    def get_verification_uri(self) -> str:
        return self._page

    def save_device_credential(self, client_id: str, scope: str, data: Mapping[str, Any]) -> None:
        authority: Authority = self.server.authority
        end = authority.clock.now() + data["expires_in"]
        code = DeviceCode(authority.clock, data["user_code"], end, data["interval"])
        authority.codes[data["device_code"]] = code
        authority.device_flows += 1


class _DeviceGrant(DeviceCodeGrant):  # type: ignore[misc]  # authlib is untyped
    def query_device_credential(self, device_code: str) -> DeviceCode:
        authority: Authority = self.server.authority
        authority.polls.append(authority.clock.now())
        code = authority.codes.get(device_code)
        if code is None:
            # RFC 8628 leaves the error open, authlib says invalid_request; Kimi says this.
            raise InvalidGrantError(_GRANT_IS_INVALID)
        code.polls.append(authority.polls[-1])
        if authority.auto_approve is not None and len(code.polls) >= authority.auto_approve:
            code.approved = True
        return code

    def query_user_grant(self, user_code: str) -> tuple[str, bool] | None:
        approved = self.server.authority.login(user_code).approved
        return None if approved is None else ("person", approved)

    def should_slow_down(self, credential: DeviceCode) -> bool:
        authority: Authority = self.server.authority
        told = authority.slow_down > 0
        authority.slow_down -= told
        if not told and not (authority.keeps_interval and credential.hasty):
            return False
        credential.interval += 5
        return True

    def create_token_response(self) -> object:
        answer = super().create_token_response()
        del self.server.authority.codes[self.request.payload.data["device_code"]]
        return answer


class _RefreshGrant(RefreshTokenGrant):  # type: ignore[misc]  # authlib is untyped
    TOKEN_ENDPOINT_AUTH_METHODS = ("none",)

    @property
    def INCLUDE_NEW_REFRESH_TOKEN(self) -> bool:  # noqa: N802  # authlib's name
        return "refresh_token" not in self.server.authority.omit

    def authenticate_refresh_token(self, refresh_token: str) -> RefreshToken:
        authority: Authority = self.server.authority
        token = authority.refresh.get(refresh_token)
        if token is not None and token.spent:
            authority.spent_presented += 1
            token.family.revoked = token.family.revoked or authority.stern
        if token is None or token.spent or token.family.revoked:
            authority.refused += 1
            raise InvalidGrantError(_GRANT_IS_INVALID)
        return token

    def authenticate_user(self, refresh_token: RefreshToken) -> str:
        return "person"

    def revoke_old_credential(self, refresh_token: RefreshToken) -> None:
        self.server.authority.refreshes += 1
        refresh_token.spent = self.INCLUDE_NEW_REFRESH_TOKEN


def _opaque(mark: str, size: int, **_: object) -> str:
    return mark + secrets.token_urlsafe(size)
