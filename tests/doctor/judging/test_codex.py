"""What in Codex's configuration misses the bridge, or cannot work, is told."""

from __future__ import annotations

import pytest

from bridge.clients import codex
from bridge.doctor.finding import Finding
from bridge.doctor.judging.codex import judge
from bridge.doctor.judging.document import File
from tests.doctor.rows import PORT, ROWS, URL, levels, only, said

PATH = "/home/me/.codex/config.toml"
SECRET = "sk-SECRET"


def judged(text: str) -> list[Finding]:
    """Return what is found in a configuration that holds *text*."""
    findings = list(judge([File(PATH, text)], PORT, ROWS))
    assert SECRET not in said(findings)
    return findings


def block(name: str = "bridge-minimax", **lines: str) -> str:
    """Return a provider block that works, with *lines* changed."""
    lines = {"base_url": f'"{URL}/minimax/v1"', "wire_api": '"responses"'} | lines
    return f"[model_providers.{name}]\n" + "".join(f"{k} = {v}\n" for k, v in lines.items())


@pytest.mark.parametrize(
    "text",
    [
        "",
        'model = "o5"\n',
        block(),
        block(base_url='"https://api.openai.com/v1"'),
        block("ollama", base_url='"http://127.0.0.1:11434/v1"'),
        block(base_url=f'"{URL}/v1"'),
        "model_providers = 3\n",
        "[model_providers]\nx = 3\n",
    ],
)
def test_what_is_well(text: str) -> None:
    """Blocks that work, or are somebody else's, are well."""
    assert levels(judged(text)) == ["ok"]


def test_the_profile_that_bridge_prints() -> None:
    """A profile made by bridge is well, and fails once the port has changed."""
    for key_file in ("", "/home/me/.local/state/bridge/key"):
        assert levels(judged(codex.profile(URL, ROWS["minimax"], key_file))) == ["ok"]
        moved = codex.profile("http://127.0.0.1:1", ROWS["minimax"], key_file)
        assert "model_providers.bridge-minimax" in only(judged(moved)).text


def test_no_configuration() -> None:
    """Who has no Codex hears nothing of it."""
    assert list(judge([File(PATH)], PORT, ROWS)) == []


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("bridge-minimax", "http://127.0.0.1:1/minimax/v1"),
        ("mine", "http://localhost:3456/zai/v1"),
        ("kimi", "http://127.0.0.1:3456/v1"),
        ("bridge", "http://[::1]:1/v1"),
    ],
)
def test_another_port(name: str, url: str) -> None:
    """A block that is meant for the bridge and leads to another port of this machine fails."""
    finding = only(judged(block(name, base_url=f'"{url}"')))
    assert finding.level == "fail"
    assert f"model_providers.{name}" in finding.text
    assert f"port {PORT}" in finding.mend


def test_a_provider_that_nobody_has() -> None:
    """The bridge with an unknown provider fails, and those that there are, are named."""
    finding = only(judged(block(base_url=f'"{URL}/nobody/v1"')))
    assert finding.level == "fail"
    assert "/kimi/v1, /minimax/v1, /glm/v1" in finding.mend


def test_a_provider_without_responses() -> None:
    """Codex speaks Responses only: a provider without them cannot work."""
    finding = only(judged(block(base_url=f'"{URL}/kimi/v1"')))
    assert finding.level == "fail"
    assert "no Responses API" in finding.text


def test_websockets() -> None:
    """A block of ours that promises WebSockets costs a pause before each turn."""
    finding = only(judged(block(supports_websockets="true")))
    assert (finding.level, "supports_websockets" in finding.mend) == ("warn", True)
    assert levels(judged(block(supports_websockets="false"))) == ["ok"]
    elsewhere = block(base_url='"https://x.example"', supports_websockets="true")
    assert levels(judged(elsewhere)) == ["ok"]


def test_the_chat_api() -> None:
    """A block with the Chat API keeps Codex from starting, whoever's it is."""
    finding = only(judged(block("other", base_url='"https://x.example"', wire_api='"chat"')))
    assert finding.level == "warn"
    assert "does not start" in finding.text


@pytest.mark.parametrize(
    ("url", "words"),
    [(f"{URL}/minimax/v1", "leads to the bridge"), ("https://sk-SECRET@y.example", "y.example")],
)
def test_the_built_in_provider(url: str, words: str) -> None:
    """openai_base_url is told wherever it leads."""
    finding = only(judged(f'openai_base_url = "{url}"\n'))
    assert (finding.level, words in finding.text) == ("warn", True)


def test_malformed() -> None:
    """A malformed file is told with its line and that Codex does not start."""
    finding = only(judged(f'a = 1\nkey = "{SECRET}\n'))
    assert finding.level == "warn"
    assert f"{PATH}, line 2, is malformed: Codex does not start" in finding.text


def test_unreadable() -> None:
    """A file that cannot be read is told."""
    assert "cannot be read" in only(judge([File(PATH, problem="no")], PORT, ROWS)).text
