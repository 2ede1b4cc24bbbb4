"""When a login ends is foretold from its refresh token, or from its age."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.credentials.forecast import DAY, REFRESH_LIFETIME, Forecast, foretold, refreshed_at
from bridge.oauth.token import Token

NOW = 1_800_000_000.0
TOKEN = Token("access", "opaque", expires_at=NOW + 900, expires_in=900)


def jwt(**claims: object) -> str:
    """Return a token that says *claims*, with a signature that nobody checks."""
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{payload}.c2ln"


@pytest.mark.parametrize(
    ("refresh", "end"),
    [
        (jwt(exp=1_900_000_000), 1_900_000_000.0),
        (jwt(exp=1.9e9, sub="me"), 1.9e9),
        (jwt(exp="soon"), None),
        (jwt(exp=True), None),
        (jwt(exp=-1), None),
        (jwt(exp=1e300), None),
        (jwt(sub="me"), None),
        ("opaque", None),
        ("a.b.c", None),
        ("a.!!.c", None),
        ("a.W10.c", None),
        ("..", None),
        ("é.é.é", None),
    ],
)
def test_what_a_token_says(refresh: str, end: float | None) -> None:
    """A JWT with an expiry tells it; whatever else a token is, its age counts, and is no crash."""
    forecast = foretold(replace(TOKEN, refresh=refresh))
    assert forecast.certain is (end is not None)
    assert forecast.ends_at == (end or NOW + REFRESH_LIFETIME)


def test_from_its_age() -> None:
    """What the journal remembers of the issue counts before what the access token says."""
    assert foretold(TOKEN) == Forecast(NOW, NOW + REFRESH_LIFETIME)
    assert foretold(TOKEN, NOW - DAY) == Forecast(NOW - DAY, NOW - DAY + REFRESH_LIFETIME)
    assert foretold(replace(TOKEN, refresh=jwt(iat=NOW - 5))).issued_at == NOW - 5


def test_nobody_knows() -> None:
    """Without a lifetime nothing is foretold, and a login that is not renewable ends by itself."""
    unknown = replace(TOKEN, expires_in=0)
    assert refreshed_at(unknown) is None
    assert foretold(unknown) == Forecast(None, None)
    assert not foretold(unknown).soon(NOW)
    assert foretold(replace(TOKEN, refresh="")) == Forecast(NOW, NOW + 900, certain=True)
    assert refreshed_at(replace(TOKEN, access="")) is None


@pytest.mark.parametrize(
    ("left", "life", "soon"),
    [
        (4.9 * DAY, 30 * DAY, True),
        (5.1 * DAY, 30 * DAY, False),
        (2 * DAY, 3 * DAY, False),
        (0.4 * DAY, 3 * DAY, True),
        (4.9 * DAY, None, True),
        (-1, 30 * DAY, True),
    ],
)
def test_soon(left: float, life: float | None, soon: bool) -> None:
    """Five days are soon, unless a login never lives for long."""
    ends_at = NOW + left
    issued_at = ends_at - life if life is not None else None
    assert Forecast(issued_at, ends_at).soon(NOW) is soon


@given(st.text(), st.floats(), st.floats(), st.none() | st.floats(min_value=0, exclude_min=True))
def test_no_token_is_a_crash(
    refresh: str, expires_at: float, expires_in: float, issued: float | None
) -> None:
    """Whatever numbers a file holds, there is a forecast or none."""
    forecast = foretold(Token("access", refresh, expires_at, expires_in), issued)
    assert forecast.soon(NOW) in {True, False}
