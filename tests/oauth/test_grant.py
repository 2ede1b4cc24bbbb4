"""Grant requests and the answers to them, body before status."""

from __future__ import annotations

import contextlib
import json
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import (
    AnswerLost,
    AuthorizationServerError,
    BridgeError,
    LoginDenied,
    LoginExpired,
)
from bridge.oauth.grant import (
    DeviceGrant,
    Granted,
    GrantReply,
    RefreshRefused,
    Wait,
    refresh_request,
    refreshed,
)
from bridge.oauth.token import Token
from bridge.providers import OAuth

NOW = 1_800_000_000.0
OAUTH = OAuth("https://auth.example", "client-1")
TOKEN = Token("A", "R-secret", NOW + 900, 900, scope="kimi-code")
START = {
    "device_code": "D-secret",
    "user_code": "ABCD-1234",
    "verification_uri": "https://www.example/device",
    "verification_uri_complete": "https://www.example/device?user_code=ABCD-1234",
    "expires_in": 1800,
    "interval": 5,
}
ANSWER = {
    "access_token": "A2",
    "refresh_token": "R2",
    "expires_in": 900,
    "scope": "kimi-code",
    "token_type": "Bearer",
}


def reply(status: int, document: object = None, retry_after: float | None = None) -> GrantReply:
    """A reply with *document* as JSON, or with the very bytes it is."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return GrantReply(status, body, retry_after)


def error(code: str, status: int = 400) -> GrantReply:
    """An OAuth error reply."""
    return reply(status, {"error": code, "error_description": "words"})


def begun(**changes: Any) -> DeviceGrant:
    """A device grant that has been started at NOW."""
    grant = DeviceGrant(OAUTH, {"X-Msh-Device-Id": "0"})
    grant.begin()
    grant.started(reply(200, {**START, **changes}), NOW)
    return grant


def test_start_request() -> None:
    """The flow starts with the client id alone, form-encoded, at the endpoint of the host."""
    request = DeviceGrant(OAUTH, {"X-Msh-Device-Id": "0"}).begin()
    assert request.url == "https://auth.example/api/oauth/device_authorization"
    assert parse_qsl(request.body.decode()) == [("client_id", "client-1")]
    assert request.headers == {"X-Msh-Device-Id": "0"}


def test_poll_request() -> None:
    """A poll carries exactly client id, device code and grant type."""
    assert dict(parse_qsl(begun().poll().body.decode())) == {
        "client_id": "client-1",
        "device_code": "D-secret",
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
    }


def test_refresh_request() -> None:
    """A refresh carries exactly client id, grant type and refresh token, encoded."""
    request = refresh_request(OAUTH, Token("A", "R +&=ü", 0, 0), {})
    assert request.url == "https://auth.example/api/oauth/token"
    assert dict(parse_qsl(request.body.decode())) == {
        "client_id": "client-1",
        "grant_type": "refresh_token",
        "refresh_token": "R +&=ü",
    }


def test_requests_and_replies_hide_their_secrets() -> None:
    """Neither a request nor a reply shows a token where it is logged by mistake."""
    shown = repr(refresh_request(OAUTH, TOKEN, {})) + repr(reply(200, ANSWER))
    assert "R-secret" not in shown
    assert "A2" not in shown


def test_invitation() -> None:
    """The person is shown the page, the code and how long both last."""
    invitation = DeviceGrant(OAUTH, {}).started(reply(200, START), NOW)
    assert invitation.user_code == "ABCD-1234"
    assert invitation.verification_uri == "https://www.example/device"
    assert invitation.expires_at == NOW + 1800


def test_invitation_without_verification_uri() -> None:
    """The complete page stands in for a page that the server leaves out."""
    document = {**START}
    del document["verification_uri"]
    invitation = DeviceGrant(OAUTH, {}).started(reply(200, document), NOW)
    assert invitation.verification_uri == START["verification_uri_complete"]


def test_invitation_cannot_drive_the_terminal_or_the_browser() -> None:
    """Control characters and odd schemes of a hostile server reach neither terminal nor browser."""
    document = {
        **START,
        "user_code": "AB\x1b[2JCD",
        "verification_uri": "file:///etc/passwd",
        "verification_uri_complete": "javascript:alert(1)",
    }
    invitation = DeviceGrant(OAUTH, {}).started(reply(200, document), NOW)
    assert invitation.user_code == "AB[2JCD"
    assert invitation.verification_uri == invitation.verification_uri_complete == ""


@pytest.mark.parametrize(
    "answer",
    [
        reply(500, {"error": "server_error"}),
        reply(200, b"<html>"),
        reply(200, []),
        reply(200, {"user_code": "X"}),
        reply(200, {"device_code": 1, "user_code": "X"}),
        reply(404, b""),
        reply(200, b"[" * 100_000),
    ],
)
def test_a_flow_that_does_not_start(answer: GrantReply) -> None:
    """An answer that starts no flow is a fault of the server's, named with the next step."""
    with pytest.raises(
        AuthorizationServerError, match=r"did not start a login .*: try again later"
    ):
        DeviceGrant(OAUTH, {}).started(answer, NOW)


@pytest.mark.parametrize("status", [200, 400, 401, 428])
def test_pending_at_any_status(status: int) -> None:
    """Pending is pending whatever the status: the body counts."""
    assert begun().heard(error("authorization_pending", status), NOW) == Wait(5.0)


def test_slow_down_adds_five_seconds_for_good() -> None:
    """Each slow_down lengthens every later wait (RFC 8628 section 3.5)."""
    grant = begun()
    assert grant.heard(error("slow_down"), NOW) == Wait(10.0, "slow_down")
    assert grant.heard(error("slow_down"), NOW) == Wait(15.0, "slow_down")
    assert grant.heard(error("authorization_pending"), NOW) == Wait(15.0)


@pytest.mark.parametrize("status", [200, 400])
def test_granted(status: int) -> None:
    """A token in the body is a token, and its life is counted from the moment of receipt."""
    step = begun().heard(reply(status, ANSWER), NOW)
    assert isinstance(step, Granted)
    assert (step.token.access, step.token.expires_at) == ("A2", NOW + 900)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (error("access_denied"), LoginDenied),
        (error("authorization_denied"), LoginDenied),
        (error("expired_token"), LoginExpired),
        (error("invalid_grant"), LoginDenied),
        (error("invalid_client", 401), LoginDenied),
        (reply(404, b"<html>"), LoginDenied),
    ],
)
def test_verdicts(answer: GrantReply, kind: type[BridgeError]) -> None:
    """A verdict ends the flow at once, where the official CLI would poll for ever."""
    with pytest.raises(kind, match="bridge login"):
        begun().heard(answer, NOW)


@pytest.mark.parametrize(
    "answer",
    [
        reply(500, {"error": "server_error"}),
        reply(502, b"<html>"),
        reply(503, b""),
        reply(429, {"error": "rate"}),
        reply(200, b"<html>login</html>"),
        reply(302, b""),
    ],
)
def test_mishaps_do_not_end_a_login(answer: GrantReply) -> None:
    """Server faults and nonsense after an approval are polled through (the code still counts)."""
    step = begun().heard(answer, NOW)
    assert isinstance(step, Wait)
    assert step.seconds == 5.0


def test_retry_after_is_obeyed() -> None:
    """A server that names a longer pause gets it."""
    assert begun().heard(reply(429, None, retry_after=40), NOW) == Wait(40, "HTTP 429")


def test_network_faults_until_the_deadline() -> None:
    """Polls that get no answer go on until the code has expired, and no longer."""
    grant = begun()
    assert grant.unheard("refused", NOW) == Wait(5.0, "refused")
    with pytest.raises(LoginExpired, match="nobody approved the login in time"):
        grant.unheard("refused", NOW + 1796)


@given(
    answers=st.lists(
        st.sampled_from(["authorization_pending", "slow_down", "server_error", "network", "html"]),
        max_size=60,
    ),
    interval=st.integers(1, 60),
    lifetime=st.integers(1, 900),
)
def test_never_asks_sooner_than_told_and_ends_by_its_deadline(
    answers: list[str], interval: int, lifetime: int
) -> None:
    """For every sequence of answers the waits never shrink and never pass the code's deadline."""
    grant = begun(interval=interval, expires_in=lifetime)
    now, least = NOW, float(interval)
    for answer in answers:
        try:
            if answer == "network":
                step: Wait | Granted = grant.unheard("refused", now)
            elif answer == "html":
                step = grant.heard(reply(200, b"<html>"), now)
            else:
                step = grant.heard(error(answer, 500 if answer == "server_error" else 400), now)
        except LoginExpired:
            assert now + least >= NOW + lifetime - 5 * answers.count("slow_down")
            return
        if answer == "slow_down":
            least += 5
        assert isinstance(step, Wait)
        assert step.seconds == least
        now += step.seconds
        assert now < NOW + lifetime


@pytest.mark.parametrize("status", [200, 201, 400])
def test_refreshed(status: int) -> None:
    """A refresh answer with a token makes the successor, whatever the status."""
    new = refreshed(OAUTH, TOKEN, reply(status, ANSWER), NOW)
    assert (new.access, new.refresh, new.expires_at) == ("A2", "R2", NOW + 900)


@pytest.mark.parametrize(
    ("answer", "certain"),
    [
        (error("invalid_grant", 400), True),
        (error("invalid_grant", 500), True),
        (error("invalid_token", 401), True),
        (reply(401, b""), False),
        (reply(403, b"<html>portal</html>"), False),
    ],
)
def test_refusals(answer: GrantReply, certain: bool) -> None:
    """invalid_grant at any status, and 401 and 403, end the login; a bare status less certainly."""
    with pytest.raises(RefreshRefused) as caught:
        refreshed(OAUTH, TOKEN, answer, NOW)
    assert caught.value.certain is certain
    assert caught.value.token is TOKEN
    assert "R-secret" not in str(caught.value)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_unwell(status: int) -> None:
    """A server that is unwell has spent nothing: the refresh may be tried again."""
    with pytest.raises(AuthorizationServerError) as caught:
        refreshed(OAUTH, TOKEN, reply(status, {}, retry_after=7), NOW)
    assert not isinstance(caught.value, AnswerLost)
    assert caught.value.retry_after == 7
    assert str(caught.value).endswith(": try again")


@pytest.mark.parametrize(
    "answer", [reply(200, b"<html>"), reply(200, b""), reply(502, b""), reply(504, b"")]
)
def test_lost_answers(answer: GrantReply) -> None:
    """A success without a token and a gateway's apology mean: it may have been spent."""
    with pytest.raises(AnswerLost, match=r"\): try again$"):
        refreshed(OAUTH, TOKEN, answer, NOW)


@given(body=st.binary(max_size=200), status=st.integers(100, 599))
def test_any_answer_is_a_token_or_one_of_our_errors(body: bytes, status: int) -> None:
    """No answer of any server makes anything but a token or an error that says what to do."""
    answer = GrantReply(status, body)
    for read in (
        lambda: refreshed(OAUTH, TOKEN, answer, NOW),
        lambda: begun().heard(answer, NOW),
        lambda: DeviceGrant(OAUTH, {}).started(answer, NOW),
    ):
        with contextlib.suppress(BridgeError):
            read()
