"""``bridge providers``: what there is, and where each credential is looked for and found."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bridge.cli import main
from tests.configured import configured
from tests.fakes.credential import write_credential

NAMES = (
    *("KIMI_CODE_API_KEY", "KIMI_API_KEY", "MINIMAX_API_KEY", "DEEPSEEK_API_KEY", "ZAI_API_KEY"),
    *("GLM_API_KEY", "OPENROUTER_API_KEY", "CEREBRAS_API_KEY", "ANTHROPIC_API_KEY"),
)
ANSWER = {
    "access_token": "hunter2",
    "refresh_token": "hunter2",
    "expires_in": 900,
    "scope": "kimi-code",
    "token_type": "Bearer",
}


@pytest.fixture(autouse=True)
def _no_keys(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No key of the developer's decides a test."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def listed(capsys: pytest.CaptureFixture[str], *options: str) -> Mapping[str, Mapping[str, Any]]:
    """What is listed for programs, by name."""
    assert main([*options, "providers", "--json"]) == 0
    return {row["name"]: row for row in json.loads(capsys.readouterr().out)}


def paragraphs(capsys: pytest.CaptureFixture[str], *options: str) -> Mapping[str, str]:
    """What is listed for people, by the word that each paragraph begins with."""
    assert main([*options, "providers"]) == 0
    return {p.split(":")[0]: p for p in capsys.readouterr().out.strip().split("\n\n")}


def test_the_names_above_are_all() -> None:
    """Every variable of the catalogue is kept out of these tests."""
    rows = configured().providers.values()
    assert {place.env for row in rows for place in row.keys if place.env} == set(NAMES)


def test_nothing_found(capsys: pytest.CaptureFixture[str]) -> None:
    """Without any key each provider says what to do, and all are listed."""
    rows = listed(capsys)
    assert [*rows] == [*configured().providers]
    for name, row in rows.items():
        assert (row["found"] is None) == (name != "anthropic")
        assert bool(row["problem"]) == (name != "anthropic")
    assert rows["kimi"]["problem"] == "there is no login: run: bridge login"
    assert rows["glm"]["aliases"] == ["zai"]
    assert rows["glm"]["key"][0] == {"env": "ZAI_API_KEY"}
    assert rows["minimax"]["responses"] is True
    assert rows["deepseek"]["models"] == {
        "primary": "deepseek-reasoner",
        "fast": "deepseek-chat",
        "opus": "deepseek-reasoner",
        "sonnet": "deepseek-reasoner",
        "haiku": "deepseek-chat",
    }


def test_found(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place that yields is named, the first of them, and the key never."""
    monkeypatch.setenv("GLM_API_KEY", "glm-hunter2-0123456789")
    for name in (".GLMAZ1.api.key", ".MiniMaxAZ1.api.key"):
        (home / name).write_text("mm-hunter2-0123456789\n")
        (home / name).chmod(0o600)
    write_credential(home / ".kimi", ANSWER, now=0)
    rows = listed(capsys)
    assert rows["glm"]["found"] == "GLM_API_KEY"
    assert rows["minimax"]["found"] == "~/.MiniMaxAZ1.api.key"
    assert rows["kimi"]["found"] == str(home / ".kimi/credentials/kimi-code.json")
    assert "hunter2" not in str(rows)
    said = paragraphs(capsys)
    assert "found: GLM_API_KEY" in said["glm (or zai)"]
    assert "hunter2" not in str(said)


def test_a_key_that_looks_wrong(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A key that is found and that others can read is told about."""
    file = home / ".MiniMaxAZ1.api.key"
    file.write_text("mm-hunter2-0123456789")
    file.chmod(0o644)
    said = paragraphs(capsys)["minimax"]
    assert "found: ~/.MiniMaxAZ1.api.key" in said
    assert "chmod 600" in said


def test_a_login_that_cannot_be_read(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A broken login is told as such."""
    file = write_credential(home / ".kimi", ANSWER, now=0)
    file.write_text("{")
    row = listed(capsys)["kimi"]
    assert row["found"] is None
    assert str(file) in row["problem"]


def test_a_command_is_not_run(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """To list a provider whose key a command prints, nothing is run, and no argument shown."""
    file, trace = home / "c.toml", home / "trace"
    file.write_text(f"[providers.glm]\nkey = {{ command = ['touch', '{trace}'] }}\n")
    row = listed(capsys, "--config", str(file))["glm"]
    assert row["key"] == [{"command": ["touch", "***"]}]
    assert row["found"]
    assert not os.path.lexists(trace)


def test_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """A paragraph has the name, the surfaces, the models and the credential."""
    said = paragraphs(capsys)
    lines = [line.split(maxsplit=1) for line in said["minimax"].splitlines()[1:]]
    assert lines[:3] == [
        ["anthropic", "https://api.minimax.io/anthropic"],
        ["openai", "https://api.minimax.io/v1 (Chat and Responses)"],
        ["models", "MiniMax-M2.5, fast MiniMax-M2.5"],
    ]
    assert lines[3][0] == "key"
    assert "the caller's own" in said["anthropic"]
    assert "as the client asks" in said["anthropic"]
    assert "/v1 (Chat)" in said["cerebras"]
