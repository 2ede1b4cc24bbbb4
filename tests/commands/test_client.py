"""``bridge env`` and ``bridge run``: what is printed, and what a command is started with."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.commands.client import env
from bridge.errors import UsageError
from tests.world import World, installed, world

process = [pytest.mark.process, pytest.mark.timeout(60)]
#: Prints what it was started with.
TELLS = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)]))"


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> Iterator[World]:
    """A machine with a login and no daemon yet."""
    with world(tmp_path) as machine:
        machine.log_in()
        yield machine


def program(machine: World, name: str) -> None:
    """Put a program called *name* into the person's PATH that tells what it is started with."""
    folder = machine.home / "bin"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!{sys.executable}\n{TELLS}\n")
    (folder / name).chmod(0o755)
    machine.variables["PATH"] = f"{folder}:{os.environ['PATH']}"


def key(machine: World) -> str:
    """The caller key."""
    return (machine.home / ".local/state/bridge/key").read_text().strip()


def test_env_of_each_client(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each client has settings of its own, for the daemon on the port in force."""
    for client, words in {
        "claude": "export ANTHROPIC_BASE_URL=http://127.0.0.1:77/minimax",
        "codex": "codex()",
        "opencode": "export OPENCODE_CONFIG_CONTENT=",
    }.items():
        assert env("minimax", client, "sh", {"port": 77}) == 0
        out = capsys.readouterr().out
        assert words in out
        assert "http://127.0.0.1:77/minimax" in out
        assert env("minimax", client, "fish", {"port": 77}) == 0
        assert words.replace("export ", "set -gx ").replace("()", "").split("=")[0] in (
            capsys.readouterr().out
        )


def test_env_by_another_name(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A provider can be named by its alias, too."""
    assert env("zai", "claude", "sh", {}) == 0
    assert "18462/glm\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("provider", "client", "what"),
    [
        ("cerebras", "claude", "no Anthropic surface"),
        ("kimi", "codex", "no Responses surface"),
        ("anthropic", "opencode", "no model"),
        ("minmax", "claude", "did you mean minimax"),
    ],
)
def test_env_that_cannot_work(home: Path, provider: str, client: str, what: str) -> None:
    """What cannot work is told, with a way out, and nothing is printed."""
    with pytest.raises(UsageError, match=what):
        env(provider, client, "sh", {})


def test_file_for_each_client(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For whoever wants a file of the client's own there is one, whole and without a secret."""
    assert env("minimax", "claude", "config", {}) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["env"]["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:18462/minimax"
    assert env("minimax", "codex", "config", {}) == 0
    assert tomllib.loads(capsys.readouterr().out)["model_provider"] == "bridge-minimax"
    assert env("minimax", "opencode", "config", {}) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "bridge-minimax/MiniMax-M2.5"


def test_file_where_a_key_is_needed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where clients need the caller key, the file says where it is to be read."""
    for client in ("claude", "codex", "opencode"):
        assert env("minimax", client, "config", {"clients": "key"}) == 0
        assert f"{home}/.local/state/bridge/key" in capsys.readouterr().out


class TestRun:
    """The command is started with all it needs, and is then on its own."""

    pytestmark = process

    def test_daemon_and_environment(self, machine: World) -> None:
        """The daemon is started first, silently for the command, whose settings are its own."""
        program(machine, "claude")
        machine.variables |= {"ANTHROPIC_API_KEY": "other", "ANTHROPIC_MODEL": "mine"}
        done = machine.bridge("run", "kimi", "--", "claude", "-p", "two words", "--help")
        assert done.returncode == 0, done.stderr
        [words, seen] = json.loads(done.stdout)
        assert words == ["-p", "two words", "--help"]
        assert seen["ANTHROPIC_BASE_URL"] == f"{machine.url}/kimi"
        assert seen["ANTHROPIC_AUTH_TOKEN"] == key(machine)
        assert seen["ANTHROPIC_MODEL"] == "mine"
        assert "ANTHROPIC_API_KEY" not in seen
        assert machine.bridge("--check", "kimi").returncode == 0

    def test_codex(self, machine: World) -> None:
        """Codex is told on its command line, before the person's own words."""
        program(machine, "codex")
        (machine.home / ".MiniMaxAZ1.api.key").write_text("sk-cp-x\n")
        (machine.home / ".MiniMaxAZ1.api.key").chmod(0o600)
        done = machine.bridge("run", "minimax", "codex", "exec", "-c", "model=mine")
        assert done.returncode == 0, done.stderr
        [words, seen] = json.loads(done.stdout)
        assert words[:2] == ["-c", 'model="MiniMax-M2.5"']
        assert words[-3:] == ["exec", "-c", "model=mine"]
        assert seen["CODEX_BRIDGE_KEY"] == key(machine)
        assert key(machine) not in str(words)

    def test_another_program(self, machine: World) -> None:
        """A program that nobody knows finds the bridge as the official SDKs do."""
        done = machine.bridge("run", "kimi", "--", sys.executable, "-c", TELLS)
        [_, seen] = json.loads(done.stdout)
        assert seen["ANTHROPIC_BASE_URL"] == f"{machine.url}/kimi"
        assert seen["OPENAI_BASE_URL"] == f"{machine.url}/kimi/v1"
        assert seen["OPENAI_API_KEY"] == seen["ANTHROPIC_AUTH_TOKEN"] == key(machine)

    def test_program_that_starts_a_client(self, machine: World) -> None:
        """--client says what a program of another name is."""
        words = ("--client", "opencode", "--", sys.executable, "-c", TELLS)
        [_, seen] = json.loads(machine.bridge("run", "kimi", *words).stdout)
        assert f"{machine.url}/kimi/v1" in seen["OPENCODE_CONFIG_CONTENT"]
        assert "OPENAI_BASE_URL" not in seen

    @pytest.mark.parametrize("code", [0, 7, 150])
    def test_exit_code(self, machine: World, code: int) -> None:
        """The exit code is the command's own."""
        machine.start()
        assert machine.bridge("run", "kimi", "--", "sh", "-c", f"exit {code}").returncode == code

    def test_signals(self, machine: World) -> None:
        """The command is the very process that was started, and signals are its own affair."""
        machine.start()
        program = "import signal, sys; print('up', flush=True); signal.pause()"
        words = ("run", "kimi", "--", sys.executable, "-c", program)
        child = machine.spawn(*words)
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        child.send_signal(signal.SIGTERM)
        assert child.wait(20) == -signal.SIGTERM

    def test_broken_pipe(self, machine: World) -> None:
        """A command whose reader has left ends as it would without us."""
        machine.start()
        words = [installed(), "run", "kimi", "--", "sh", "-c", "kill -PIPE $$; echo alive"]
        done = subprocess.run(
            words, env=machine.environment, capture_output=True, text=True, timeout=30, check=False
        )
        assert (done.returncode, done.stdout) == (-signal.SIGPIPE, "")

    def test_local_installer(self, machine: World) -> None:
        """A claude that lives where its own installer puts it is found."""
        machine.start()
        local = machine.home / ".claude/local"
        local.mkdir(parents=True)
        (local / "claude").write_text(f"#!{sys.executable}\n{TELLS}\n")
        (local / "claude").chmod(0o755)
        # Nothing of ours is needed from PATH, and the tester's own claude must not be found.
        folder = machine.home / "bin"
        folder.mkdir()
        (folder / "python").symlink_to(shutil.which("python3") or sys.executable)
        machine.variables["PATH"] = str(folder)
        done = machine.bridge("run", "kimi", "--", "claude", "x")
        assert json.loads(done.stdout)[0] == ["x"], done.stderr

    def test_no_such_command(self, machine: World) -> None:
        """A command that is not there is told with the shell's exit code for that."""
        machine.start()
        assert "no such command" in machine.told("run", "kimi", "--", "nonesuch", code=127)
        (machine.home / "plain").touch()
        assert machine.bridge("run", "kimi", str(machine.home / "plain")).returncode == 126

    def test_what_cannot_work(self, machine: World) -> None:
        """A client that cannot work with the provider is not started, nor is the daemon."""
        assert "no Responses" in machine.told("run", "kimi", "--", "codex", code=2)
        assert machine.bridge("--check").returncode == 3

    def test_no_key(self, machine: World) -> None:
        """Where the provider has no key, the command is not started and the way out is told."""
        done = machine.bridge("run", "deepseek", "--", "echo", "started")
        assert done.returncode == 150
        assert done.stdout == ""
        assert "deepseek" in done.stderr.lower()
