"""``bridge shell-init`` names this very installation."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bridge.commands.shell import executable, shell_init


def test_the_functions_name_this_installation(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Program, key and port are those in force, by absolute path."""
    assert shell_init("bash", {"port": 4321}) == 0
    text = capsys.readouterr().out
    assert "http://127.0.0.1:4321/kimi" in text
    assert f"{home}/.local/state/bridge/key" in text
    assert "function claude-kimi {" in text


def test_executable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found through PATH it is made absolute; a module is the script beside its interpreter."""
    script = tmp_path / "bridge"
    script.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert executable("bridge") == str(script)
    assert executable(str(script)) == str(script)
    beside = str(Path(sys.executable).with_name("kimi-bridge"))
    assert executable("/usr/lib/bridge/__main__.py") == beside
