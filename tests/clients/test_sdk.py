"""What a program with one of the official SDKs is given."""

from __future__ import annotations

from bridge.clients.sdk import environment
from tests.clients.rows import ADDRESS, BOTH, CHAT, PASSING, PLAIN


def test_both_surfaces() -> None:
    """Both SDKs find the bridge, with the caller key and no other account."""
    rivals = dict.fromkeys(("ANTHROPIC_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"), "x")
    after = environment(ADDRESS, BOTH).applied({**rivals, "OPENAI_API_KEY": "x"}, "k")
    assert after["ANTHROPIC_BASE_URL"] == f"{ADDRESS}/both"
    assert after["OPENAI_BASE_URL"] == f"{ADDRESS}/both/v1"
    assert after["ANTHROPIC_AUTH_TOKEN"] == after["OPENAI_API_KEY"] == "k"
    assert not set(rivals) & set(after)


def test_one_surface() -> None:
    """An SDK whose language the provider does not speak is left as it was."""
    before = {"OPENAI_API_KEY": "own", "ANTHROPIC_API_KEY": "own"}
    anthropic = environment(ADDRESS, PLAIN).applied(before, "k")
    assert anthropic["OPENAI_API_KEY"] == "own"
    assert "OPENAI_BASE_URL" not in anthropic
    openai = environment(ADDRESS, CHAT).applied(before, "k")
    assert openai["ANTHROPIC_API_KEY"] == "own"
    assert "ANTHROPIC_BASE_URL" not in openai


def test_passing_through() -> None:
    """The caller's own credential stays where it counts."""
    after = environment(ADDRESS, PASSING, key_needed=True).applied(
        {"ANTHROPIC_API_KEY": "own"}, "k"
    )
    assert after["ANTHROPIC_API_KEY"] == "own"
    assert after["ANTHROPIC_CUSTOM_HEADERS"] == "x-bridge-key: k"
