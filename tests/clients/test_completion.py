"""What each shell offers after ``bridge``, asked of the shell itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.clients.completion import text
from bridge.clients.words import OPTIONS, VERBS
from tests.clients.desk import Desk, shells

PROGRAMS = ("bridge", "kimi-bridge")
PROVIDERS = ("kimi", "glm", "zai", "my-own")

#: Stands in for what zsh's completion system does: tells what it was asked to offer.
ZSH_SYSTEM = """
function compdef { registered=("$@") }
function compadd { shift; print -rl -- "$@" }
function _describe { print -rl -- "${(@)${(@P)4}%%:*}" }
function _files { print -r FILES }
function _command_names { print -r COMMANDS }
"""


@pytest.fixture(name="desk", params=shells("bash", "zsh", "fish"))
def _desk(request: pytest.FixtureRequest, tmp_path: Path) -> Desk:
    return Desk.at(request.param, tmp_path, "bridge")


def offered(desk: Desk, *words: str) -> set[str]:
    """What the shell offers for the last of *words*, which may be empty."""
    line = " ".join(words)
    last = len(words)
    quoted = " ".join(f"'{word}'" for word in words)
    scripts = {
        "bash": f"COMP_WORDS=({quoted}); COMP_CWORD={last - 1}; __bridge_complete; "
        "printf '%s\\n' \"${COMPREPLY[@]}\"",
        "zsh": f"words=({quoted}); CURRENT={last}; $registered[1]",
        "fish": f"complete -C '{line}' | string replace -r '\\t.*' ''; true",
    }
    before = ZSH_SYSTEM if desk.shell == "zsh" else ""
    done = desk.run(text(desk.shell, PROGRAMS, PROVIDERS), scripts[desk.shell], before)
    assert (done.returncode, done.stderr) == (0, "")
    return {*done.stdout.split("\n")} - {""}


def test_verbs(desk: Desk) -> None:
    """Every verb is offered first."""
    assert {*VERBS} <= offered(desk, "bridge", "")


def test_options(desk: Desk) -> None:
    """Every option of the program is offered first."""
    assert offered(desk, "bridge", "--") >= {*OPTIONS}


@pytest.mark.parametrize("verb", ["up", "env", "run"])
def test_providers(desk: Desk, verb: str) -> None:
    """Where a provider stands, those in force are offered."""
    assert {*PROVIDERS} <= offered(desk, "bridge", verb, "")
    assert {*PROVIDERS} <= offered(desk, "bridge", "--port", "7", verb, "")


def test_provider_of_a_check(desk: Desk) -> None:
    """--check is for one of the providers in force."""
    assert {*PROVIDERS} <= offered(desk, "bridge", "--check", "")


def test_options_of_a_verb(desk: Desk) -> None:
    """Behind its provider a verb offers its own options, and no provider again."""
    words = offered(desk, "bridge", "env", "kimi", "--")
    assert {"--client", "--shell"} <= words
    assert not {*PROVIDERS} & offered(desk, "bridge", "env", "kimi", "")


def test_values(desk: Desk) -> None:
    """What an option can be set to is offered behind it, and nothing else."""
    assert offered(desk, "bridge", "env", "kimi", "--client", "") == {"claude", "codex", "opencode"}
    assert offered(desk, "bridge", "--log-level", "") == {"debug", "info", "warning", "error"}


def test_choices(desk: Desk) -> None:
    """A verb with words of its own offers them."""
    assert offered(desk, "bridge", "shell-init", "") == {"bash", "zsh", "fish"}
    assert offered(desk, "bridge", "config", "") == {"path", "show", "check"}
    assert "kimi" in offered(desk, "bridge", "token", "")


def test_files(desk: Desk) -> None:
    """Where a file stands, files are offered: by bash itself, where we offer nothing."""
    words = offered(desk, "bridge", "--config", "")
    expected = {"bash": set(), "zsh": {"FILES"}}
    assert words == expected.get(desk.shell, words)
    assert desk.shell != "fish" or "init" in words


def test_commands(desk: Desk) -> None:
    """Behind run and its provider, the commands of the system are offered."""
    words = offered(desk, "bridge", "run", "kimi", "bri" if desk.shell == "bash" else "")
    assert ("COMMANDS" if desk.shell == "zsh" else "bridge") in words


@pytest.mark.parametrize("program", ["bridge", "kimi-bridge", "kimi-proxy"])
def test_programs(desk: Desk, program: str) -> None:
    """Both names of the program are completed, and the one it had before."""
    if desk.shell == "fish":
        assert "login" in offered(desk, program, "logi")
    else:
        scripts = {"bash": f"complete -p {program}", "zsh": "print -r -- $registered"}
        before = ZSH_SYSTEM if desk.shell == "zsh" else ""
        done = desk.run(text(desk.shell, PROGRAMS, PROVIDERS), scripts[desk.shell], before)
        assert program in done.stdout.split()


@pytest.mark.parametrize("shell", shells("zsh"))
def test_no_completion_system(tmp_path: Path, shell: str) -> None:
    """A zsh without its completion system is left alone."""
    done = Desk.at(shell, tmp_path).run(text(shell, PROGRAMS, PROVIDERS), "whence _bridge")
    assert (done.stdout, done.stderr) == ("", "")
