"""A token and its arithmetic."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.oauth.token import UNKNOWN_LIFETIME, Token, issued, stored

NOW = 1_800_000_000.0

tokens = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def token(expires_in: float = 900, left: float = 900) -> Token:
    """A token with *left* seconds to live at NOW."""
    return Token(access="A", refresh="R", expires_at=NOW + left, expires_in=expires_in)


@pytest.mark.parametrize(
    ("expires_in", "left", "stale", "urgent"),
    [
        (900, 900, False, False),
        (900, 451, False, False),
        (900, 449, True, False),
        (900, 61, True, False),
        (900, 59, True, True),
        (900, -1, True, True),
        (20, 11, False, False),
        (20, 9, True, False),
        (20, 1, True, True),
        (0, 301, False, False),
        (0, 299, True, False),
    ],
)
def test_margin(expires_in: float, left: float, stale: bool, urgent: bool) -> None:
    """A refresh is due at half the lifetime, and worth waiting for only near the end."""
    subject = token(expires_in, left)
    assert (subject.stale(NOW), subject.urgent(NOW)) == (stale, urgent)


def test_repr_shows_no_secret() -> None:
    """A token in a log or a traceback shows neither of its secrets."""
    subject = Token("SECRET-A", "SECRET-R", NOW, 900, extra={"note": "SECRET-X"})
    assert "SECRET" not in repr(subject)


@pytest.mark.parametrize("missing", ["refresh_token", "scope", "token_type", "expires_in"])
def test_succession_keeps_what_the_response_omits(missing: str) -> None:
    """A response that leaves a field out does not lose what the token had."""
    old = Token("A", "R", NOW, 900, scope="kimi-code", type="Bearer", extra={"k": 1})
    response: dict[str, Any] = {
        "access_token": "A2",
        "refresh_token": "R2",
        "expires_in": 600,
        "scope": "other",
        "token_type": "Mac",
    }
    del response[missing]
    new = old.succeeded_by(response, NOW)
    assert new.access == "A2"
    assert new.extra == {"k": 1}
    kept = {
        "refresh_token": (new.refresh, "R", "R2"),
        "scope": (new.scope, "kimi-code", "other"),
        "token_type": (new.type, "Bearer", "Mac"),
        "expires_in": (new.expires_in, 900, 600),
    }
    for name, (value, old_value, new_value) in kept.items():
        assert value == (old_value if name == missing else new_value)
    assert new.expires_at == NOW + new.expires_in


def test_a_lifetime_nobody_names_is_short_but_not_zero() -> None:
    """Without expires_in a token is used for a while, not refreshed at every request."""
    subject = issued({"access_token": "A", "refresh_token": "R"}, NOW)
    assert subject.remaining(NOW) == UNKNOWN_LIFETIME
    assert not subject.stale(NOW)


@given(
    extra=st.dictionaries(st.text(min_size=1), json_values, max_size=4),
    access=tokens,
    refresh=st.just("") | tokens,
    expires_at=st.floats(0, 4e9),
    expires_in=st.floats(0, 1e6),
)
def test_round_trip_keeps_unknown_keys(
    extra: dict[str, Any], access: str, refresh: str, expires_at: float, expires_in: float
) -> None:
    """Whatever a neighbour put into the file is still there after we have written it."""
    document = {
        **extra,
        "access_token": access,
        "refresh_token": refresh,
        "expires_at": expires_at,
        "expires_in": expires_in,
        "scope": "s",
        "token_type": "Bearer",
    }
    held = stored(document)
    assert held is not None
    assert repr(sorted(held.document().items(), key=lambda item: item[0])) == repr(
        sorted(document.items(), key=lambda item: item[0])
    )


@given(
    document=st.dictionaries(
        st.sampled_from(
            [
                "access_token",
                "refresh_token",
                "expires_at",
                "expires_in",
                "scope",
                "token_type",
                "x",
            ]
        ),
        json_values,
    )
)
def test_any_object_is_a_token_or_no_login(document: dict[str, Any]) -> None:
    """A file with any JSON in it is read as a token or as "not logged in", and never raises."""
    held = stored(document)
    if held is not None:
        assert held.access or held.refresh
        assert 0 <= held.expires_at < float("inf")
        assert 0 <= held.expires_in < float("inf")


@pytest.mark.parametrize("value", ["A\r\nX-Evil: 1", "A\x00", "schlüssel", "A\x7f", 7, None])
def test_what_no_header_can_carry_is_no_token(value: object) -> None:
    """A token with a line break, a control or another alphabet is read as none."""
    assert stored({"access_token": value}) is None
    held = stored({"access_token": "A", "refresh_token": value})
    assert held is not None
    assert held.refresh == ""


def test_a_number_beyond_all_floats() -> None:
    """An integer that no float can hold reads as 0, as any other nonsense does."""
    held = stored({"access_token": "A", "expires_at": 10**400, "expires_in": 10**400})
    assert held is not None
    assert (held.expires_at, held.expires_in) == (0.0, 0.0)


def test_tombstone_is_no_login() -> None:
    """The blanked file that kimi-code leaves after a refusal is "not logged in"."""
    assert stored({"access_token": "", "refresh_token": "", "expires_at": 0}) is None
