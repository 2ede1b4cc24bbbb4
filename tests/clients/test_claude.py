"""What Claude Code is given."""

from __future__ import annotations

from dataclasses import replace
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined] # not in typeshed

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.clients.claude import CONFLICTING, Environment, environment, no_proxy
from bridge.providers import Models, Provider, kimi

ADDRESS = "http://127.0.0.1:18462"


@pytest.fixture(name="provider")
def _provider() -> Provider:
    return replace(kimi({}, {}), models=Models(primary="big", fast="small"))


@pytest.fixture(name="settings")
def _settings(provider: Provider) -> Environment:
    return environment(ADDRESS, provider)


def test_everything_a_client_gets(settings: Environment) -> None:
    """Claude Code is pointed at its provider's prefix, with a model for each of its tiers."""
    assert settings.applied({"PATH": "/bin"}, "the-key") == {
        "PATH": "/bin",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:18462/kimi",
        "ANTHROPIC_AUTH_TOKEN": "the-key",
        "ANTHROPIC_MODEL": "big",
        "ANTHROPIC_DEFAULT_OPUS_MODEL": "big",
        "ANTHROPIC_DEFAULT_SONNET_MODEL": "big",
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": "small",
        "ANTHROPIC_SMALL_FAST_MODEL": "small",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "API_TIMEOUT_MS": "3000000",
        "NO_PROXY": "127.0.0.1,localhost,::1",
        "no_proxy": "127.0.0.1,localhost,::1",
    }


def test_model_chosen_at_launch(settings: Environment) -> None:
    """A model that the person set wins; an address or token they set does not."""
    before = {"ANTHROPIC_MODEL": "mine", "ANTHROPIC_BASE_URL": "x", "ANTHROPIC_AUTH_TOKEN": "y"}
    after = settings.applied(before, "the-key")
    assert after["ANTHROPIC_MODEL"] == "mine"
    assert after["ANTHROPIC_DEFAULT_OPUS_MODEL"] == "big"
    assert after["ANTHROPIC_BASE_URL"] == f"{ADDRESS}/kimi"
    assert after["ANTHROPIC_AUTH_TOKEN"] == "the-key"


def test_empty_model(settings: Environment) -> None:
    """A model variable that is set to nothing counts as not set."""
    assert settings.applied({"ANTHROPIC_MODEL": ""}, "k")["ANTHROPIC_MODEL"] == "big"


def test_conflicts(settings: Environment) -> None:
    """Nothing is left that would lead the session or another account's credential elsewhere."""
    after = settings.applied(dict.fromkeys(CONFLICTING, "x"), "k")
    assert "ANTHROPIC_API_KEY" in CONFLICTING
    assert not set(CONFLICTING) & set(after)


def test_no_key(settings: Environment) -> None:
    """Without a caller key a dummy is shown, because Claude Code does not start without one."""
    assert settings.applied({}, "")["ANTHROPIC_AUTH_TOKEN"]


@pytest.mark.parametrize(
    ("before", "upper", "lower"),
    [
        ({}, "127.0.0.1,localhost,::1", "127.0.0.1,localhost,::1"),
        ({"NO_PROXY": "a"}, "a,127.0.0.1,localhost,::1", "a,127.0.0.1,localhost,::1"),
        ({"no_proxy": "b"}, "b,127.0.0.1,localhost,::1", "b,127.0.0.1,localhost,::1"),
        (
            {"NO_PROXY": "a", "no_proxy": "b"},
            "a,127.0.0.1,localhost,::1",
            "b,127.0.0.1,localhost,::1",
        ),
        ({"NO_PROXY": "*"}, "*", "*"),
    ],
)
def test_no_proxy(before: dict[str, str], upper: str, lower: str) -> None:
    """Loopback is added to what was there, in both spellings."""
    assert no_proxy(before) == {"NO_PROXY": upper, "no_proxy": lower}


NAMES = st.sampled_from(["NO_PROXY", "no_proxy", "ANTHROPIC_MODEL", "ANTHROPIC_API_KEY", "PATH"])
HOSTS = st.lists(st.sampled_from(["*", "a.example", ".b.example", "10.0.0.1"])).map(",".join)


@given(st.dictionaries(NAMES, HOSTS))
def test_loopback_is_never_proxied(before: dict[str, str]) -> None:
    """Whatever was there, loopback bypasses the proxy, and so does all that did before."""
    after = environment(ADDRESS, kimi({}, {})).applied(before, "k")
    for name in ("NO_PROXY", "no_proxy"):
        assert proxy_bypass_environment("127.0.0.1", {"no": after[name]})
        for host in ("a.example", "x.b.example", "10.0.0.1"):
            was = proxy_bypass_environment(host, {"no": before.get(name, "")})
            assert not was or proxy_bypass_environment(host, {"no": after[name]})
