"""Rows name only places where a credential may go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ConfigError
from bridge.providers import (
    KIMI_REGIONS,
    Auth,
    Dialect,
    KeyPlace,
    Models,
    Provider,
    checked_url,
    url_mistake,
    with_headers,
)

WRONG = [
    "http://api.kimi.com",
    "ftp://api.kimi.com",
    "api.kimi.com",
    "https://user:pw@api.kimi.com",
    "https://@api.kimi.com",
    "https://",
    "https://x.example?y=1",
    "https://x.example#y",
    "https://x.example:notaport",
    "https://x.example/a b",
    "https://x.example/\u00e9",
    "https://x.example\n",
    "http://127.0.0.1.evil.example",
    "http://[::2]/",
    "https://[",
    "",
]


def provider(**changes: object) -> Provider:
    """A row of one surface, with *changes*."""
    values: dict[str, object] = {
        "name": "p",
        "auth": Auth.KEY,
        "surfaces": {Dialect.ANTHROPIC: "https://p.example"},
        "models": Models("big", "small"),
        **changes,
    }
    return Provider(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("url", WRONG)
def test_places_where_no_credential_goes(url: str) -> None:
    """Anything but https (or http to loopback) is refused by the name of its key."""
    with pytest.raises(ConfigError, match=r"^the\.key: "):
        checked_url(url, "the.key")
    if url:
        with pytest.raises(ConfigError, match=r"^providers\.p: "):
            provider(surfaces={Dialect.OPENAI: url})


@pytest.mark.parametrize(
    "url",
    [
        "https://api.kimi.com/coding",
        "https://x.example:8443",
        "http://127.0.0.1:1/v1",
        "http://localhost:11434",
        "http://[::1]:1",
        "https://[2001:db8::1]/a%20b",
    ],
)
def test_places_where_a_credential_may_go(url: str) -> None:
    """Https anywhere and http on loopback are taken as they are."""
    assert checked_url(url, "the.key") == url


@given(
    st.text() | st.text().map("https://{}".format) | st.text().map("https://u:hunter2@{}".format)
)
def test_any_url(url: str) -> None:
    """Whatever the text, it is a place or a sentence, and no password is in that."""
    assert "hunter2" not in url_mistake(url)


@pytest.mark.parametrize("region", KIMI_REGIONS)
def test_regions_of_kimi(region: str) -> None:
    """A region changes both hosts, never one of them, and both are safe places."""
    host, base = KIMI_REGIONS[region]
    assert not url_mistake(host)
    assert not url_mistake(base)
    assert host.rpartition(".")[2] == base.split("/")[2].rpartition(".")[2]


def test_tiers() -> None:
    """A tier is what is said of it, else the fast model for haiku and the primary one."""
    models = Models("big", "small", opus="huge")
    tiers = [models.tier("opus"), models.tier("sonnet"), models.tier("haiku")]
    assert tiers == ["huge", "big", "small"]
    assert Models("big", "small", haiku="tiny").tier("haiku") == "tiny"


def test_headers_are_changed_whatever_their_case() -> None:
    """A configured header replaces the built-in one of the same name."""
    row = provider(headers={"X-Msh-Platform": "bridge", "X-B": "2"})
    changed = with_headers(row, {"x-msh-platform": "", "X-A": "1"})
    assert changed.headers == {"x-msh-platform": "", "X-A": "1", "X-B": "2"}


def test_secrets_in_repr() -> None:
    """A row that ends in a traceback shows no header, no proxy and no words of a command."""
    row = provider(
        headers={"X-A": "hunter2"},
        proxy="http://u:hunter2@p:1",
        keys=(KeyPlace(command=("pass", "hunter2")),),
    )
    assert "hunter2" not in repr(row)
