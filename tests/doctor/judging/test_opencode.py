"""What in OpenCode's configuration misses the bridge, or cannot start, is told."""

from __future__ import annotations

import json

import pytest

from bridge.clients import opencode
from bridge.doctor.finding import Finding
from bridge.doctor.judging.document import File
from bridge.doctor.judging.opencode import judge
from tests.doctor.rows import PORT, ROWS, URL, levels, only, said

PATH = "/home/me/.config/opencode/opencode.json"
SECRET = "sk-SECRET"


def judged(document: object) -> list[Finding]:
    """Return what is found in a configuration that holds *document*."""
    text = document if isinstance(document, str) else json.dumps(document)
    findings = list(judge([File(PATH, text)], PORT, ROWS))
    assert SECRET not in said(findings)
    return findings


def provider(name: str = "bridge-kimi", **options: str) -> dict[str, object]:
    """Return a configuration with one provider of these *options*."""
    return {"provider": {name: {"npm": "@ai-sdk/anthropic", "options": options}}}


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"$schema": "https://opencode.ai/config.json", "provider": 3},
        {"provider": {"a": 3, "b": {"options": []}}},
        provider(baseURL=f"{URL}/kimi/v1", apiKey=SECRET),
        provider(baseURL=f"{URL}/v1"),
        provider("ollama", baseURL="http://localhost:11434/v1"),
        provider("kimi", baseURL="https://api.kimi.example/v1", apiKey="a", authToken="b"),
    ],
)
def test_what_is_well(document: object) -> None:
    """Blocks that work, or are somebody else's, are well."""
    assert levels(judged(document)) == ["ok"]


def test_the_configuration_that_bridge_prints() -> None:
    """A configuration made by bridge is well, and fails once the port has changed."""
    for each in ROWS.values():
        assert levels(judged(opencode.configuration(URL, each, "/home/me/key"))) == ["ok"]
        moved = opencode.configuration("http://127.0.0.1:1", each)
        assert f"provider.bridge-{each.name}.options" in only(judged(moved)).text


def test_no_configuration() -> None:
    """Who has no OpenCode hears nothing of it."""
    assert list(judge([File(PATH)], PORT, ROWS)) == []


@pytest.mark.parametrize(
    ("name", "url"),
    [("x", "http://127.0.0.1:1/kimi/v1"), ("bridge-x", "http://localhost:1/v1")],
)
def test_another_port(name: str, url: str) -> None:
    """A block that is meant for the bridge and leads to another port of this machine fails."""
    finding = only(judged(provider(name, baseURL=url)))
    assert finding.level == "fail"
    assert f"provider.{name}.options.baseURL" in finding.text
    assert f"port {PORT}" in finding.mend


def test_a_provider_that_nobody_has() -> None:
    """The bridge with an unknown provider fails, and those that there are, are named."""
    finding = only(judged(provider(baseURL=f"{URL}/nobody/v1")))
    assert (finding.level, "/kimi/v1" in finding.mend) == ("fail", True)


def test_both_credentials() -> None:
    """OpenCode refuses a provider with a key and a token."""
    finding = only(judged(provider(baseURL=f"{URL}/kimi/v1", apiKey=SECRET, authToken=SECRET)))
    assert (finding.level, "apiKey" in finding.mend) == ("warn", True)


def test_comments() -> None:
    """Comments and dangling commas are no mistake to OpenCode, and none here."""
    text = f'// mine\n{{"provider": {{"x": {{"options": {{"baseURL": "{URL}/no/v1",}},}},}},}}'
    assert levels(judged(text)) == ["fail"]


def test_malformed() -> None:
    """A malformed file is told with its line and that OpenCode does not start."""
    finding = only(judged(f'{{\n"provider": "{SECRET}\n'))
    assert finding.level == "warn"
    assert f"{PATH}, line 2, is malformed: OpenCode does not start" in finding.text


def test_unreadable() -> None:
    """A file that cannot be read is told."""
    assert "cannot be read" in only(judge([File(PATH, problem="no")], PORT, ROWS)).text
