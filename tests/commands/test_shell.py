"""``bridge shell-init`` names this very installation."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bridge.clients.shell import Shell
from bridge.commands.shell import called, executable, key_needed, shell_init
from bridge.errors import ConfigError
from bridge.service.settings import load


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_functions_name_this_installation(
    home: Path, capsys: pytest.CaptureFixture[str], shell: Shell
) -> None:
    """Program, key and port are those in force, by absolute path, for every provider there is."""
    (home / ".config/bridge").mkdir(parents=True)
    (home / ".config/bridge/config.toml").write_text(
        '[providers.mine]\nanthropic = "https://mine.example"\nmodels = { primary = "m" }\n'
        'key = { env = "MINE" }\n'
    )
    assert shell_init(shell, {"port": 4321}) == 0
    text = capsys.readouterr().out
    assert "http://127.0.0.1:4321/kimi" in text
    assert f"{home}/.local/state/bridge/key" in text
    providers = ("kimi", "minimax", "deepseek", "glm", "zai", "openrouter", "anthropic", "mine")
    for name in providers:
        assert f"function claude-{name}" in text
    assert "claude-cerebras" not in text
    assert "function codex-minimax" in text
    assert "function opencode-cerebras" in text


def test_configuration_that_is_wrong(home: Path) -> None:
    """A mistake in the configuration is told instead of functions that would not work."""
    (home / ".config/bridge").mkdir(parents=True)
    (home / ".config/bridge/config.toml").write_text("[providers.kimi]\nnonsense = 1\n")
    with pytest.raises(ConfigError, match="nonsense"):
        shell_init("bash", {})


def test_daemon_that_is_meant(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The options that say which daemon is meant are repeated, their files by absolute path."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.toml").touch()
    options = {"config": "my.toml", "pid_file": "my.pid", "port": 7, "log_level": "debug"}
    bridge = called(load(options), options)
    assert bridge.program[1:] == [
        *("--config", f"{tmp_path}/my.toml", "--pid-file", f"{tmp_path}/my.pid"),
        *("--port", "7"),
    ]


@pytest.mark.parametrize(("clients", "needed"), [("key", True), ("any", False)])
def test_key_needed(home: Path, clients: str, needed: bool) -> None:
    """Clients need the caller key where it is asked for."""
    assert key_needed(load({"clients": clients})) is needed


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells whose a socket is")
def test_key_not_needed(home: Path) -> None:
    """Where the kernel tells whose a connection is, nobody needs the key by default."""
    assert not key_needed(load({}))


def test_executable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found through PATH it is made absolute; a module is the script beside its interpreter."""
    script = tmp_path / "bridge"
    script.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert executable("bridge") == str(script)
    assert executable(str(script)) == str(script)
    beside = str(Path(sys.executable).with_name("kimi-bridge"))
    assert executable("/usr/lib/bridge/__main__.py") == beside
