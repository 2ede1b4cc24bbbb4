"""What in Claude Code's settings files beats the environment is told, as bad as it really is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.clients import claude
from bridge.clients.environment import LOOPBACK
from bridge.doctor.finding import Finding
from bridge.doctor.judging.claude import CREDENTIALS, ELSEWHERE, Bridge, Settings, judge
from bridge.doctor.judging.document import File
from tests.doctor.rows import PORT, ROWS, URL, levels, only, said, troubles

PATH = "/home/me/.claude/settings.json"
SECRET = "sk-SECRET"
BRIDGE = Bridge(PORT, ROWS, {})


def judged(
    document: object, bridge: Bridge = BRIDGE, *, managed: bool = False, home_only: bool = False
) -> list[Finding]:
    """Return what is found in a settings file that holds *document*."""
    file = File(PATH, document if isinstance(document, str) else json.dumps(document))
    findings = list(judge([Settings(file, managed, home_only)], bridge))
    assert SECRET not in said(findings)
    return findings


@pytest.mark.parametrize(
    "document",
    [
        {},
        "",
        {"model": "opus", "permissions": {"allow": ["Bash"]}},
        {"env": {"EDITOR": "vi", "BASH_MAX_TIMEOUT_MS": 7, "X": None}},
        {"env": {"CLAUDE_CODE_USE_BEDROCK": "0", "CLAUDE_CODE_USE_VERTEX": ""}},
        {"env": "text"},
        {"env": ["ANTHROPIC_BASE_URL"]},
        {"env": {"NO_PROXY": "example.org"}},
        {"env": {"ANTHROPIC_UNIX_SOCKET": "/run/x", "CLAUDE_CODE_USE_POWERSHELL_TOOL": "1"}},
    ],
)
def test_settings_that_override_nothing(document: object) -> None:
    """Settings about something else are well, and so is what has no effect there."""
    assert levels(judged(document)) == ["ok"]


@pytest.mark.parametrize(
    ("url", "level", "words"),
    [
        ("http://127.0.0.1:3456", "fail", "every session goes to 127.0.0.1:3456, past the bridge"),
        ("https://sk-SECRET@x.example", "fail", "every session goes to x.example"),
        (SECRET, "fail", "something that is no URL"),
        (f"{URL}/kimi", "warn", "every generated function goes to kimi"),
        (URL, "warn", "goes to the default provider"),
        (f"{URL}/nobody", "fail", "a provider that the bridge does not have"),
    ],
)
def test_a_base_url(url: str, level: str, words: str) -> None:
    """It beats every generated function: to the bridge it is odd, elsewhere it fails."""
    finding = only(judged({"env": {"ANTHROPIC_BASE_URL": url}}))
    assert finding.level == level
    assert words in finding.text
    assert PATH in finding.text
    assert finding.mend == f"remove env.ANTHROPIC_BASE_URL from {PATH}"


@pytest.mark.parametrize("name", sorted(ELSEWHERE))
@pytest.mark.parametrize("value", ["1", "true", True])
def test_another_service(name: str, value: object) -> None:
    """Bedrock and its like take every session away."""
    finding = only(judged({"env": {name: value}}))
    assert finding.level == "fail"
    assert name in finding.text


@pytest.mark.parametrize("name", [claude.KEY_VARIABLE, *sorted(CREDENTIALS)])
def test_a_credential(name: str) -> None:
    """A credential of the file goes to the bridge, which drops it: odd, and nothing is shown."""
    finding = only(judged({"env": {name: SECRET}}))
    assert finding.level == "warn"
    assert f"env.{name}" in finding.mend
    assert levels(judged({"env": {name: ""}})) == ["ok"]


def test_a_credential_in_place_of_the_caller_key() -> None:
    """Where callers have to show the key, a file that replaces it keeps everybody out."""
    strict = Bridge(PORT, ROWS, {}, key_needed=True)
    finding = only(judged({"env": {claude.KEY_VARIABLE: SECRET}}, strict))
    assert (finding.level, "the bridge refuses it" in finding.text) == ("fail", True)


@pytest.mark.parametrize("key_file", ["", "/home/me/.local/state/bridge/key"])
def test_settings_that_bridge_itself_has_made(key_file: str) -> None:
    """A file that was made to lead to the bridge is told once, and not for each of its lines."""
    finding = only(judged(claude.settings(URL, ROWS["minimax"], key_file)))
    assert finding.level == "warn"
    assert "every generated function goes to minimax" in finding.text
    moved = claude.settings("http://127.0.0.1:1", ROWS["minimax"], key_file)
    assert judged(moved)[0].level == "fail"


def test_models() -> None:
    """A model of the file is asked for whichever function is used, even one that some have."""
    strange = only(judged({"env": {"ANTHROPIC_MODEL": "claude-opus-5-5"}}))
    known = only(judged({"env": {"ANTHROPIC_MODEL": "kimi-large"}}))
    assert levels([strange, known]) == ["warn", "warn"]
    assert "no provider is known" in strange.text
    assert "whichever provider" in known.text


def test_no_proxy() -> None:
    """The lower spelling of a file beats what the functions set; without a proxy nobody cares."""
    document: dict[str, Any] = {"env": {"no_proxy": "example.org"}}
    proxied = Bridge(PORT, ROWS, {"HTTPS_PROXY": f"http://{SECRET}@p:1"})
    assert levels(judged(document)) == ["ok"]
    finding = only(judged(document, proxied))
    assert finding.level == "fail"
    assert LOOPBACK in finding.mend
    document["env"]["HTTP_PROXY"] = "http://p:1"
    assert levels(judged(document)) == ["fail"]
    document["env"]["no_proxy"] = "example.org,127.0.0.1"
    assert levels(judged(document, proxied)) == ["ok"]


def test_a_key_helper() -> None:
    """A helper's key travels to the bridge beside the caller key, and is dropped there."""
    finding = only(judged({"apiKeyHelper": f"echo {SECRET}"}))
    assert finding.level == "warn"
    assert "apiKeyHelper" in finding.mend


@pytest.mark.parametrize("text", ["{", "[]", '{"env": {"ANTHROPIC_BASE_URL": "sk-SECRET",}}'])
def test_malformed(text: str) -> None:
    """Claude Code passes over a malformed file without a word: here there is one."""
    finding = only(judged(text))
    assert finding.level == "warn"
    assert "passes over" in finding.text
    assert finding.mend == f"mend {PATH}"


def test_managed_settings() -> None:
    """What the machine's manager wrote is theirs to change."""
    finding = only(judged({"env": {"ANTHROPIC_BASE_URL": "https://x.example"}}, managed=True))
    assert finding.level == "fail"
    assert finding.mend.startswith("have whoever manages this machine remove env.")


def test_settings_for_the_home_folder_alone() -> None:
    """A file that only counts in the home folder does not fail, and says so."""
    finding = only(judged({"env": {"ANTHROPIC_BASE_URL": "https://x.example"}}, home_only=True))
    assert finding.level == "warn"
    assert "started in the home folder" in finding.text


def test_files_that_cannot_be_read() -> None:
    """One that is not there says nothing; one that cannot be read is told."""
    findings = list(
        judge([Settings(File("/a")), Settings(File("/b", problem="Permission denied"))], BRIDGE)
    )
    assert "/b cannot be read" in only(troubles(findings)).text


def test_several_files_and_keys() -> None:
    """Each override of each file has a line of its own."""
    one = File("/a", json.dumps({"env": {"ANTHROPIC_API_KEY": "k", "ANTHROPIC_MODEL": "m"}}))
    other = File("/b", json.dumps({"apiKeyHelper": "x"}))
    findings = list(judge([Settings(one), Settings(other)], BRIDGE))
    assert [each.text.split(" ")[0] for each in findings] == ["/a", "/a", "/b"]
