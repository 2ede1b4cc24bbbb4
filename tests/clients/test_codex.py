"""What Codex is given."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from typing import Any

from bridge.clients.codex import KEY_VARIABLE, environment, overrides, profile, refusal
from bridge.providers import Models
from tests.clients.rows import ADDRESS, BOTH, CHAT, PLAIN

BLOCK = {
    "name": "Both through bridge",
    "base_url": "http://127.0.0.1:18462/both/v1",
    "wire_api": "responses",
    "stream_idle_timeout_ms": 600_000,
}


def told(words: tuple[str, ...]) -> dict[str, Any]:
    """What the options *words* say, read as Codex reads them: each a path and a value in TOML."""
    assert set(words[::2]) == {"-c"}
    return tomllib.loads("\n".join(words[1::2]))


def test_options() -> None:
    """Provider, model and window are options of the command line, and the key is a variable."""
    assert told(overrides(ADDRESS, BOTH)) == {
        "model": "big",
        "model_provider": "bridge-both",
        "model_context_window": 131_072,
        "model_providers": {"bridge-both": {**BLOCK, "env_key": KEY_VARIABLE}},
    }
    assert environment().applied({}, "the-key")[KEY_VARIABLE] == "the-key"


def test_window_that_is_not_known() -> None:
    """Where the window is not known, Codex keeps its own guess."""
    made = told(overrides(ADDRESS, replace(BOTH, context=None)))
    assert "model_context_window" not in made


def test_awkward_words() -> None:
    """Quotes and foreign letters in a title or a model are no trouble."""
    row = replace(BOTH, title='Ünï "x" \\', models=Models('a"b', ""))
    for made in (told(overrides(ADDRESS, row)), tomllib.loads(profile(ADDRESS, row))):
        assert made["model"] == 'a"b'
        assert made["model_providers"]["bridge-both"]["name"] == 'Ünï "x" \\ through bridge'


def test_profile() -> None:
    """A profile says the same, and needs no key where callers need none."""
    assert tomllib.loads(profile(ADDRESS, BOTH)) == {
        "model": "big",
        "model_provider": "bridge-both",
        "model_context_window": 131_072,
        "model_providers": {"bridge-both": BLOCK},
    }


def test_profile_with_a_key() -> None:
    """Where callers need the key, it is read from its file whenever it is needed."""
    made = tomllib.loads(profile(ADDRESS, BOTH, "/the key"))
    auth = made["model_providers"]["bridge-both"]["auth"]
    assert auth == {"command": "cat", "args": ["/the key"]}


def test_refusals() -> None:
    """A provider without Responses, or without a model, is told with a way out."""
    assert not refusal(BOTH)
    for row in (PLAIN, CHAT):
        assert "no Responses surface" in refusal(row)
        assert f"bridge run {row.name} -- opencode" in refusal(row)
    assert "write models under [providers.both]" in refusal(replace(BOTH, models=Models("", "")))
