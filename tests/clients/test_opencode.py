"""What OpenCode is given."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from bridge.clients.environment import NO_KEY
from bridge.clients.opencode import CONFIG_VARIABLE, configuration, environment, refusal
from bridge.providers import Models, Provider
from tests.clients.rows import ADDRESS, BOTH, CHAT, PASSING


def given(row: Provider, *, key_needed: bool = False) -> dict[str, Any]:
    """The configuration that OpenCode finds in its environment."""
    after = environment(ADDRESS, row, key_needed=key_needed).applied({}, "the-key")
    assert after["OPENCODE_BRIDGE_KEY"] == "the-key"
    made: dict[str, Any] = json.loads(after[CONFIG_VARIABLE])
    return made


def test_whole_configuration() -> None:
    """A provider of our own, whole: package, address, key, patience, and models with limits."""
    model = {
        "limit": {"context": 131_072, "output": 32_000},
        "modalities": {"input": ["text"], "output": ["text"]},
    }
    patience = dict.fromkeys(("timeout", "headerTimeout", "chunkTimeout"), 600_000)
    assert given(BOTH) == {
        "$schema": "https://opencode.ai/config.json",
        "model": "bridge-both/big",
        "small_model": "bridge-both/small",
        "provider": {
            "bridge-both": {
                "npm": "@ai-sdk/anthropic",
                "name": "Both through bridge",
                "options": {
                    "baseURL": "http://127.0.0.1:18462/both/v1",
                    "authToken": "{env:OPENCODE_BRIDGE_KEY}",
                    **patience,
                },
                "models": {"big": {"name": "big", **model}, "small": {"name": "small", **model}},
            }
        },
    }


def test_chat_only() -> None:
    """A provider that speaks Chat alone is spoken to with the package for that."""
    made = given(CHAT)["provider"]["bridge-chat"]
    assert made["npm"] == "@ai-sdk/openai-compatible"
    assert made["options"]["apiKey"] == "{env:OPENCODE_BRIDGE_KEY}"
    assert "authToken" not in made["options"]
    assert made["models"] == {"c": {"name": "c"}}


def test_passing_through() -> None:
    """Where the caller's own credential counts, it is the one that is sent."""
    row = replace(PASSING, models=Models("m", ""))
    options = given(row)["provider"]["bridge-passing"]["options"]
    assert options["apiKey"] == "{env:ANTHROPIC_API_KEY}"
    assert "headers" not in options
    assert "authToken" not in options
    options = given(row, key_needed=True)["provider"]["bridge-passing"]["options"]
    assert options["headers"] == {"x-bridge-key": "{env:OPENCODE_BRIDGE_KEY}"}


def test_file() -> None:
    """A file says the same; the key is a dummy, or read from its file where callers need it."""
    options = configuration(ADDRESS, BOTH)["provider"]["bridge-both"]["options"]
    assert options["authToken"] == NO_KEY
    options = configuration(ADDRESS, BOTH, "/the key")["provider"]["bridge-both"]["options"]
    assert options["authToken"] == "{file:/the key}"


def test_refusal() -> None:
    """A provider of which no model is known is told with a way out."""
    assert not refusal(CHAT)
    assert "write models under [providers.passing]" in refusal(PASSING)
