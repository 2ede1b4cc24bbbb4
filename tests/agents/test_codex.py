"""The real Codex, through the real daemon, to a provider that speaks Responses."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.clients import codex
from tests.agents.agency import Agency, agency, needs
from tests.world import installed

pytestmark = needs("codex")

EXEC = ["codex", "exec", "--strict-config", "--skip-git-repo-check", "--json"]
PROMPT = "RUN-TOOL: echo made-by-$((40+2))"


@pytest.fixture(name="house")
def _house(tmp_path: Path) -> Iterator[Agency]:
    with agency(tmp_path) as house:
        folder = house.machine.home / ".codex"
        folder.mkdir()
        quiet = "check_for_update_on_startup = false\n[analytics]\nenabled = false\n"
        (folder / "config.toml").write_text(quiet)
        yield house


def worked(house: Agency, output: str) -> None:
    """Check that a tool turn was done, at the right provider and with its model."""
    assert "The tool said: " in output
    assert "made-by-42" in output
    requests = house.asked("minimax")
    assert len(requests) == 2
    assert {each["target"] for each in requests} == {"/minimax/v1/responses"}
    assert {each["model"] for each in requests} == {"MiniMax-M2.5"}


def test_run(house: Agency) -> None:
    """``bridge run`` lets Codex do a tool turn, and writes nothing into its folder."""
    before = (house.machine.home / ".codex/config.toml").read_text()
    words = ("--dangerously-bypass-approvals-and-sandbox", PROMPT)
    done = house.bridge("run", "minimax", "--", *EXEC, *words)
    assert done.returncode == 0, done.stderr
    worked(house, done.stdout)
    assert (house.machine.home / ".codex/config.toml").read_text() == before


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_env(house: Agency, shell: str) -> None:
    """What ``bridge env`` prints makes a plain codex of this shell do the same."""
    house.machine.start()
    program = shutil.which(shell)
    assert program is not None
    printed = f"{installed()} env minimax --client codex"
    line = f"{printed} --shell fish | source" if shell == "fish" else f'eval "$({printed})"'
    words = f"{' '.join(EXEC)} --dangerously-bypass-approvals-and-sandbox '{PROMPT}'"
    done = house.run([program, "-c", f"{line}\n{words}"])
    worked(house, done.stdout)


def test_function(house: Agency) -> None:
    """The generated function starts the daemon and Codex, and the person's own options win."""
    words = f"{' '.join(EXEC[1:])} --dangerously-bypass-approvals-and-sandbox -m mine Hello"
    done = house.shell("bash", f"codex-minimax {words}")
    assert "Hello from the upstream." in done.stdout, done.stderr
    assert {each["model"] for each in house.asked("minimax")} == {"mine"}


@pytest.mark.parametrize("server", ["", '[server]\nclients = "key"'])
def test_profile(tmp_path: Path, server: str) -> None:
    """A profile of ours in Codex's folder works alone, where callers need the key too."""
    with agency(tmp_path, server) as house:
        machine = house.machine
        machine.start()
        key_file = str(machine.home / ".local/state/bridge/key") if server else ""
        folder = machine.home / ".codex"
        folder.mkdir()
        text = codex.profile(machine.url, house.rows["minimax"], key_file)
        (folder / "minimax.config.toml").write_text(text)
        bypass = "--dangerously-bypass-approvals-and-sandbox"
        done = house.run([*EXEC, "--profile", "minimax", bypass, PROMPT], NO_PROXY="127.0.0.1")
        assert "made-by-42" in done.stdout, done.stderr
