"""Writes grant requests, reads grant responses by body before status, and steps the device grant.

Pure: RFC 6749 (refresh, section 6) and RFC 8628 (device grant) as values and one small machine;
``oauth.endpoint`` carries what is written here. Form encoding and the vocabulary come from authlib.

The order in which a response is read matters: this provider answers 400 for *pending*,
*slow_down* and a dead refresh token alike, so the body decides and the status only helps where
there is no readable body.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from authlib.common.urls import url_encode
from authlib.oauth2.rfc8628 import DEVICE_CODE_GRANT_TYPE

from bridge.errors import (
    AnswerLost,
    AuthorizationServerError,
    LoginDenied,
    LoginExpired,
    LoginRequired,
)
from bridge.oauth.token import Token, issued, presentable
from bridge.providers import OAuth

#: RFC 8628 section 3.2: "If no value is provided, clients MUST use 5 as the default."
DEFAULT_INTERVAL: Final = 5.0
#: RFC 8628 section 3.5: what ``slow_down`` adds to the interval, for good.
SLOW_DOWN_STEP: Final = 5.0
#: Seconds a device code is taken to live where the server fails to say.
DEFAULT_CODE_LIFETIME: Final = 900.0
#: Statuses that say "later", whatever their body.
TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})

#: What an error code looks like (RFC 6749 section 5.2, and those of Kimi's gateway). Anything else
#: may be a token, or words for a terminal to obey, and is not shown.
_CODE: Final = re.compile(r"[a-z]{2,30}(?:_[a-z]{1,30}){0,5}")
_DENIED: Final = frozenset({"access_denied", "authorization_denied"})


@dataclass(frozen=True, slots=True)
class GrantRequest:
    """A form to be posted to the authorization server."""

    url: str
    form: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str]

    @property
    def body(self) -> bytes:
        """The form, encoded as ``application/x-www-form-urlencoded``."""
        return str(url_encode(list(self.form.items()))).encode("ascii")


@dataclass(frozen=True, slots=True)
class GrantReply:
    """What came back: the status and the whole body, of limited size.

    *retry_after* is the server's ``Retry-After`` in seconds, where it gave one.
    """

    status: int
    body: bytes = field(repr=False)
    retry_after: float | None = None

    @property
    def document(self) -> dict[str, Any]:
        """The body as a JSON object; empty where it is anything else."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return document if isinstance(document, dict) else {}

    @property
    def error(self) -> str:
        """The OAuth error code of the body (RFC 6749 section 5.2), or an empty string.

        Some gateways wrap it as ``{"error": {"type": …}}``; that is read too.
        """
        error = self.document.get("error")
        if isinstance(error, dict):
            error = error.get("type") or error.get("code")
        return error if isinstance(error, str) else ""

    @property
    def access_token(self) -> str:
        """The access token of the body, or an empty string."""
        return presentable(self.document.get("access_token"))


@dataclass(frozen=True, slots=True)
class Invitation:
    """What a person needs in order to approve a login, and until when (seconds since the epoch)."""

    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class Wait:
    """The device grant is pending: ask again after *seconds*, not sooner."""

    seconds: float
    reason: str = "authorization_pending"


@dataclass(frozen=True, slots=True)
class Granted:
    """The person approved; this is the first token."""

    token: Token


class RefreshRefused(LoginRequired):
    """The authorization server will not take this refresh token again.

    *token* is the one that was refused. *certain* is false where only a bare 401 or 403 said so,
    which a captive portal might have sent.
    """

    def __init__(self, message: str, *, token: Token, certain: bool) -> None:
        super().__init__(message)
        self.token = token
        self.certain = certain


class DeviceGrant:
    """The device grant of RFC 8628 as a machine: hear a reply, say what to do next.

    Call :meth:`begin` for the first request, :meth:`started` with its reply, then post
    :meth:`poll` whenever a :class:`Wait` has passed and feed the reply to :meth:`heard`. Network
    faults while polling go to :meth:`unheard`. The machine never asks sooner than told and ends
    by the code's deadline.
    """

    def __init__(self, oauth: OAuth, headers: Mapping[str, str]) -> None:
        self._oauth = oauth
        self._headers = headers
        self._device_code = ""
        self._interval = DEFAULT_INTERVAL
        self._deadline = 0.0

    def begin(self) -> GrantRequest:
        """Return the request that starts the flow (RFC 8628 section 3.1)."""
        form = {"client_id": self._oauth.client_id}
        return GrantRequest(self._oauth.device_authorization_endpoint, form, self._headers)

    def started(self, reply: GrantReply, now: float) -> Invitation:
        """Read the answer to :meth:`begin` (RFC 8628 section 3.2).

        Raises ``AuthorizationServerError`` where it is not one; nothing has been spent then.
        """
        document = reply.document
        code, user_code = document.get("device_code"), document.get("user_code")
        if not (isinstance(code, str) and code and isinstance(user_code, str) and user_code):
            raise AuthorizationServerError(
                f"{self._oauth.host} did not start a login ({described(reply)}): try again later"
            )
        self._device_code = code
        self._interval = _positive(document.get("interval"), DEFAULT_INTERVAL)
        self._deadline = now + _positive(document.get("expires_in"), DEFAULT_CODE_LIFETIME)
        complete = _page(document.get("verification_uri_complete"))
        return Invitation(
            user_code=_printable(user_code),
            verification_uri=_page(document.get("verification_uri")) or complete,
            verification_uri_complete=complete,
            expires_at=self._deadline,
        )

    @property
    def first_wait(self) -> Wait:
        """How long to wait before the first poll."""
        return Wait(self._interval)

    def poll(self) -> GrantRequest:
        """Return the request that asks whether the person has approved (RFC 8628 section 3.4)."""
        form = {
            "client_id": self._oauth.client_id,
            "device_code": self._device_code,
            "grant_type": DEVICE_CODE_GRANT_TYPE,
        }
        return GrantRequest(self._oauth.token_endpoint, form, self._headers)

    def heard(self, reply: GrantReply, now: float) -> Wait | Granted:
        """Read the answer to :meth:`poll`; the body counts before the status.

        Raises ``LoginDenied`` or ``LoginExpired`` when the flow is over.
        """
        if reply.access_token:
            return Granted(issued(reply.document, now))
        error = reply.error
        if error in _DENIED:
            raise LoginDenied("the login was refused in the browser: run bridge login to try again")
        if error == "expired_token":
            raise LoginExpired("the code has expired: run bridge login to get a new one")
        if error == "invalid_grant":
            raise LoginDenied(
                "the authorization server no longer knows this code: run bridge login again"
            )
        if error == "slow_down":
            self._interval += SLOW_DOWN_STEP
        elif error != "authorization_pending" and _final(reply):
            raise LoginDenied(
                f"{self._oauth.host} refused the login ({described(reply)}): run bridge login again"
            )
        return self._wait(now, _code(reply) or f"HTTP {reply.status}", reply.retry_after or 0.0)

    def unheard(self, reason: str, now: float) -> Wait:
        """Say how to go on after a poll that got no answer: network faults do not end a login.

        Raises ``LoginExpired`` once the code's deadline has passed.
        """
        return self._wait(now, reason, 0.0)

    def _wait(self, now: float, reason: str, at_least: float) -> Wait:
        seconds = max(self._interval, at_least)
        if now + seconds >= self._deadline:
            raise LoginExpired(
                f"nobody approved the login in time (last answer: {reason}): run bridge login again"
            )
        return Wait(seconds, reason)


def refresh_request(oauth: OAuth, token: Token, headers: Mapping[str, str]) -> GrantRequest:
    """Return the request that spends *token*'s refresh token (RFC 6749 section 6)."""
    form = {
        "client_id": oauth.client_id,
        "grant_type": "refresh_token",
        "refresh_token": token.refresh,
    }
    return GrantRequest(oauth.token_endpoint, form, headers)


def refreshed(oauth: OAuth, token: Token, reply: GrantReply, now: float) -> Token:
    """Read the answer to :func:`refresh_request`.

    Raises ``RefreshRefused`` when the refresh token is dead (``invalid_grant`` at any status, or
    401 and 403), ``AnswerLost`` when the server may have spent it all the same (a success without
    a token, or a gateway that lost the answer), and ``AuthorizationServerError`` for everything
    else, which may pass.
    """
    if reply.access_token:
        return token.succeeded_by(reply.document, now)
    transient = reply.status in TRANSIENT and reply.error != "invalid_grant"
    if not transient and (reply.error == "invalid_grant" or reply.status in {401, 403}):
        raise RefreshRefused(
            f"the login has ended ({oauth.host} refused the refresh token: {described(reply)})",
            token=token,
            certain=bool(reply.error),
        )
    lost = reply.status < 300 or reply.status in {502, 504}
    raise (AnswerLost if lost else AuthorizationServerError)(
        f"{oauth.host} did not refresh the token ({described(reply)}): try again",
        retry_after=reply.retry_after,
    )


def described(reply: GrantReply) -> str:
    """Return status and error code of *reply*; never its body, which may hold a token."""
    return f"HTTP {reply.status} {_code(reply)}".rstrip()


def _code(reply: GrantReply) -> str:
    return reply.error if _CODE.fullmatch(reply.error) else ""


def _final(reply: GrantReply) -> bool:
    """Say whether *reply* is a verdict and not a mishap: an HTML page or a 5xx ends no login."""
    return reply.status not in TRANSIENT and (bool(reply.error) or 400 <= reply.status < 500)


def _positive(value: object, otherwise: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return otherwise
    return float(value) if 0 < value < 1e9 else otherwise


def _page(value: object) -> str:
    """Return *value* if it is a page that a browser may be sent to."""
    text = _printable(value) if isinstance(value, str) else ""
    return (
        text
        if text.startswith(("https://", "http://127.0.0.1:", "http://localhost:", "http://[::1]:"))
        else ""
    )


def _printable(text: str) -> str:
    """Return *text* without control characters, which a terminal might obey."""
    return "".join(c for c in text if c.isprintable())[:2000]
