"""What Claude Code is given."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.clients.claude import CONFLICTING, ELSEWHERE, environment, refusal, settings
from bridge.clients.environment import GIVEN
from bridge.providers import Auth, Models
from tests.clients.rows import ADDRESS, BOTH, CHAT, PASSING, PLAIN

ENVIRONMENT = environment(ADDRESS, BOTH)


def test_everything_a_client_gets() -> None:
    """Claude Code is pointed at its provider's prefix, with a model for each of its names."""
    after = ENVIRONMENT.applied({"PATH": "/bin"}, "the-key")
    after.pop(GIVEN)
    assert after == {
        "PATH": "/bin",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:18462/both",
        "ANTHROPIC_AUTH_TOKEN": "the-key",
        "ANTHROPIC_MODEL": "big",
        "ANTHROPIC_DEFAULT_FABLE_MODEL": "big",
        "ANTHROPIC_DEFAULT_OPUS_MODEL": "big",
        "ANTHROPIC_DEFAULT_SONNET_MODEL": "big",
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": "small",
        "ANTHROPIC_SMALL_FAST_MODEL": "small",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_CONTEXT_TOKENS": "131072",
        "CLAUDE_CODE_AUTO_COMPACT_WINDOW": "131072",
        "ENABLE_TOOL_SEARCH": "false",
        "API_TIMEOUT_MS": "600000",
        "CLAUDE_STREAM_IDLE_TIMEOUT_MS": "600000",
        "NO_PROXY": "127.0.0.1,localhost,::1",
        "no_proxy": "127.0.0.1,localhost,::1",
    }


def test_tiers() -> None:
    """Each tier is the model that the row names for it."""
    after = environment(ADDRESS, PLAIN).applied({}, "k")
    tiers = [after[f"ANTHROPIC_DEFAULT_{tier}_MODEL"] for tier in ("OPUS", "SONNET", "HAIKU")]
    assert tiers == ["o", "s", "h"]
    assert after["ANTHROPIC_DEFAULT_FABLE_MODEL"] == "o"


def test_one_model_for_all() -> None:
    """A row without a fast model has its primary one for small calls."""
    after = environment(ADDRESS, replace(PLAIN, models=Models("only", ""))).applied({}, "k")
    assert after["ANTHROPIC_SMALL_FAST_MODEL"] == "only"
    assert after["ANTHROPIC_DEFAULT_HAIKU_MODEL"] == "only"


@pytest.mark.parametrize(
    ("context", "window", "compact"),
    [(None, None, None), (64_000, "64000", None), (200_000, "200000", "200000")],
)
def test_window(context: int | None, window: str | None, compact: str | None) -> None:
    """The window is told where it is known; Claude Code compacts at no less than 100,000."""
    after = environment(ADDRESS, replace(PLAIN, context=context)).applied({}, "k")
    assert after.get("CLAUDE_CODE_MAX_CONTEXT_TOKENS") == window
    assert after.get("CLAUDE_CODE_AUTO_COMPACT_WINDOW") == compact


def test_longest_silence() -> None:
    """No longer silence is asked for than Claude Code can bear."""
    after = environment(ADDRESS, PLAIN).applied({}, "k")
    assert after["API_TIMEOUT_MS"] == "3000000"
    assert after["CLAUDE_STREAM_IDLE_TIMEOUT_MS"] == "1800000"
    assert "ENABLE_TOOL_SEARCH" not in after


def test_choices_at_launch() -> None:
    """What the person set wins, but for address and token."""
    before = {
        "ANTHROPIC_MODEL": "mine",
        "API_TIMEOUT_MS": "1",
        "ANTHROPIC_BASE_URL": "x",
        "ANTHROPIC_AUTH_TOKEN": "y",
        "CLAUDE_CODE_SUBAGENT_MODEL": "s",
    }
    after = ENVIRONMENT.applied(before, "the-key")
    assert (after["ANTHROPIC_MODEL"], after["API_TIMEOUT_MS"]) == ("mine", "1")
    assert after["ANTHROPIC_DEFAULT_OPUS_MODEL"] == "big"
    assert after["ANTHROPIC_BASE_URL"] == f"{ADDRESS}/both"
    assert after["ANTHROPIC_AUTH_TOKEN"] == "the-key"
    assert after["CLAUDE_CODE_SUBAGENT_MODEL"] == "s"


def test_conflicts() -> None:
    """Nothing is left that would lead the session or another account's credential elsewhere."""
    after = ENVIRONMENT.applied(dict.fromkeys(CONFLICTING, "x"), "k")
    assert "ANTHROPIC_API_KEY" in CONFLICTING
    assert not set(CONFLICTING) & set(after)


def test_passing_through() -> None:
    """Where the caller's own credential counts, nothing of ours is added and nothing of it lost."""
    own = {
        "ANTHROPIC_API_KEY": "own",
        "ANTHROPIC_AUTH_TOKEN": "own",
        "CLAUDE_CODE_OAUTH_TOKEN": "own",
        "ANTHROPIC_CUSTOM_HEADERS": "a: b",
        "ANTHROPIC_MODEL": "opus",
    }
    after = environment(ADDRESS, PASSING).applied({**own, **dict.fromkeys(ELSEWHERE, "x")}, "k")
    assert {name: after[name] for name in own} == own
    assert after["ANTHROPIC_BASE_URL"] == f"{ADDRESS}/passing"
    assert not set(ELSEWHERE) & set(after)
    assert "k" not in after.values()
    assert "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC" not in after


def test_passing_through_with_a_key() -> None:
    """Where a caller key is needed too, it comes in a header of its own."""
    after = environment(ADDRESS, PASSING, key_needed=True).applied({"ANTHROPIC_API_KEY": "o"}, "k")
    assert after["ANTHROPIC_CUSTOM_HEADERS"] == "x-bridge-key: k"
    assert "ANTHROPIC_AUTH_TOKEN" not in after


def test_key_of_ours_for_the_same_provider() -> None:
    """With a key of ours the same provider is one like the others, with the models it has."""
    after = environment(ADDRESS, replace(PASSING, auth=Auth.KEY)).applied({}, "k")
    assert after["ANTHROPIC_AUTH_TOKEN"] == "k"
    assert not [name for name in after if name.endswith("_MODEL")]


def test_leaving_a_provider_for_the_own_account() -> None:
    """Inside of a client of another provider, a passed-through one gets nothing that was for it."""
    outer = ENVIRONMENT.applied({}, "the-caller-key")
    after = environment(ADDRESS, PASSING).applied(outer, "k")
    assert "the-caller-key" not in after.values()
    assert not [name for name in after if name.endswith("_MODEL")]


def test_refusal() -> None:
    """A provider that does not speak Claude Code's language is told with a way out."""
    assert not refusal(BOTH)
    assert "no Anthropic surface" in refusal(CHAT)
    assert "bridge run chat -- opencode" in refusal(CHAT)


def test_settings_file() -> None:
    """A settings file says the same, with no secret in it."""
    made = settings(ADDRESS, BOTH)["env"]
    assert made["ANTHROPIC_BASE_URL"] == f"{ADDRESS}/both"
    assert made["ANTHROPIC_MODEL"] == "big"
    assert made["ANTHROPIC_AUTH_TOKEN"] == "no-caller-key"
    assert made["ANTHROPIC_API_KEY"] == ""


def test_settings_file_with_a_key() -> None:
    """Where callers need the key, it is read from its file whenever it is needed."""
    made = settings(ADDRESS, BOTH, "/it's/key")
    assert made["apiKeyHelper"] == "cat '/it'\"'\"'s/key'"
    assert "ANTHROPIC_AUTH_TOKEN" not in made["env"]


def test_settings_file_passing_through() -> None:
    """Where the caller's own credential counts, the file only says where to go."""
    made = settings(ADDRESS, PASSING)
    assert set(made["env"]) == {"ANTHROPIC_BASE_URL", "NO_PROXY", "no_proxy"}
    assert "apiKeyHelper" not in made
