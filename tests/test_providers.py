"""The catalogue: rows that name only places where a credential may go."""

from __future__ import annotations

import pytest

from bridge.errors import ConfigError
from bridge.providers import Dialect, Models, checked_url, kimi, with_headers


def test_kimi() -> None:
    """The built-in row points to Kimi's own hosts, on both surfaces."""
    row = kimi({}, {"X-Msh-Platform": "bridge"})
    assert row.surfaces == {
        Dialect.ANTHROPIC: "https://api.kimi.com/coding",
        Dialect.OPENAI: "https://api.kimi.com/coding/v1",
    }
    assert row.oauth is not None
    assert row.oauth.token_endpoint == "https://auth.kimi.com/api/oauth/token"
    assert row.headers == {"X-Msh-Platform": "bridge"}
    assert row.models == Models("kimi-k2.5", "kimi-k2.5")


def test_the_other_region() -> None:
    """The global region changes both hosts, never one of them."""
    row = kimi({}, {}, region="global")
    assert row.oauth is not None
    assert row.oauth.host == "https://auth.kimi.ai"
    assert row.surfaces[Dialect.ANTHROPIC] == "https://api.kimi.ai/coding"


@pytest.mark.parametrize(
    ("environment", "host", "base"),
    [
        ({"KIMI_OAUTH_HOST": "https://a.example/"}, "https://a.example", None),
        (
            {"KIMI_CODE_OAUTH_HOST": "https://b.example", "KIMI_OAUTH_HOST": "https://a.example"},
            "https://b.example",
            None,
        ),
        ({"KIMI_CODE_OAUTH_HOST": ""}, "https://auth.kimi.com", None),
        (
            {"KIMI_CODE_BASE_URL": "http://127.0.0.1:9/coding/v1/"},
            "https://auth.kimi.com",
            "http://127.0.0.1:9/coding",
        ),
        ({"KIMI_CODE_BASE_URL": "https://c.example"}, "https://auth.kimi.com", "https://c.example"),
    ],
)
def test_environment(environment: dict[str, str], host: str, base: str | None) -> None:
    """The variables of the official CLI count as they do there; empty falls through."""
    row = kimi(environment, {})
    assert row.oauth is not None
    assert row.oauth.host == host
    assert row.surfaces[Dialect.ANTHROPIC] == (base or "https://api.kimi.com/coding")


@pytest.mark.parametrize(
    "url",
    [
        "http://api.kimi.com",
        "ftp://api.kimi.com",
        "api.kimi.com",
        "https://user:pw@api.kimi.com",
        "https://",
        "https://x.example?y=1",
        "https://x.example:notaport",
        "http://127.0.0.1.evil.example",
        "http://[::2]/",
        "https://[",
        "",
    ],
)
def test_places_where_no_credential_goes(url: str) -> None:
    """Anything but https (or http to loopback) is refused by the name of its key."""
    with pytest.raises(ConfigError, match=r"^the\.key: "):
        checked_url(url, "the.key")


@pytest.mark.parametrize("variable", ["KIMI_CODE_OAUTH_HOST", "KIMI_CODE_BASE_URL"])
def test_a_bad_variable_is_named(variable: str) -> None:
    """A variable that points to plain http is refused before any credential is read."""
    with pytest.raises(ConfigError, match=variable):
        kimi({variable: "http://kimi.example"}, {})


def test_headers_are_changed_whatever_their_case() -> None:
    """A configured header replaces the built-in one of the same name."""
    row = with_headers(kimi({}, {"X-Msh-Platform": "bridge"}), {"x-msh-platform": "", "X-A": "1"})
    assert row.headers == {"x-msh-platform": "", "X-A": "1"}
