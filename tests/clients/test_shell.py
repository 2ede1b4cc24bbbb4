"""What the shell functions do, in real shells with stand-ins for ``bridge`` and the clients."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path
from typing import cast

import pytest

from bridge.clients import claude
from bridge.clients.environment import GIVEN, NO_KEY
from bridge.clients.shell import Bridge, Shell, functions
from bridge.providers import Provider
from tests.clients.desk import KEY, SHELLS, Desk, shells
from tests.clients.rows import ADDRESS, BOTH, CHAT, PASSING, PLAIN

ROWS = [BOTH, PLAIN, CHAT, PASSING]


def text(desk: Desk, *options: str, key_needed: bool = False) -> str:
    """The functions, as the person's start-up file evaluates them."""
    program = [str(desk.place / "bridge"), *options]
    bridge = Bridge(program, str(desk.key_file), ADDRESS, key_needed)
    return functions(cast("Shell", desk.shell), bridge, ROWS)


def run(
    desk: Desk, script: str, before: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run *script* in a shell that has the functions."""
    return desk.run(text(desk), script, before, **variables)


@pytest.fixture(name="desk", params=shells("bash", "zsh", "fish"))
def _desk(request: pytest.FixtureRequest, tmp_path: Path) -> Desk:
    return Desk.at(request.param, tmp_path, "bridge", "claude", "codex", "opencode")


@pytest.fixture(name="posix", params=shells("bash", "zsh"))
def _posix(request: pytest.FixtureRequest, tmp_path: Path) -> Desk:
    return Desk.at(request.param, tmp_path, "bridge", "claude")


@pytest.fixture(name="code")
def _code(desk: Desk) -> str:
    """How the shell prints the last exit code."""
    return "echo code=$status" if desk.shell == "fish" else "echo code=$?"


VARIABLES: list[dict[str, str]] = [
    {},
    {"ANTHROPIC_API_KEY": "other", "CLAUDE_CODE_USE_BEDROCK": "1", "ANTHROPIC_BASE_URL": "x"},
    {"ANTHROPIC_MODEL": 'mine\'s "$x" *', "API_TIMEOUT_MS": "", "ANTHROPIC_AUTH_TOKEN": "stale"},
    {"NO_PROXY": "a.example", "HTTP_PROXY": "http://proxy:1"},
    {"no_proxy": "b.example"},
    {"NO_PROXY": "*", "no_proxy": "c.example"},
    {"NO_PROXY": "a.example,127.0.0.1,localhost,::1"},
    {"ANTHROPIC_MODEL": "small", "ENABLE_TOOL_SEARCH": "x", GIVEN: "ANTHROPIC_MODEL=small"},
    {"ANTHROPIC_MODEL": "mine", GIVEN: "A=b\nANTHROPIC_MODEL=small"},
    {"ANTHROPIC_CUSTOM_HEADERS": "a: b", "ANTHROPIC_AUTH_TOKEN": "own", GIVEN: "A=b"},
]


@pytest.mark.parametrize("variables", VARIABLES)
@pytest.mark.parametrize("row", [BOTH, PLAIN, PASSING], ids=lambda row: row.name)
def test_environment(desk: Desk, row: Provider, variables: dict[str, str]) -> None:
    """The client sees exactly the environment that it needs, whatever was set before."""
    done = run(desk, f"claude-{row.name}", **variables)
    assert (done.returncode, done.stderr) == (0, "")
    expected = claude.environment(ADDRESS, row).applied({**desk.base, **variables}, KEY)
    assert desk.environments("claude") == [expected]


@pytest.mark.parametrize("variables", [{}, {"ANTHROPIC_CUSTOM_HEADERS": "a: b"}])
def test_key_beside_a_credential(desk: Desk, variables: dict[str, str]) -> None:
    """A caller key that is needed beside the own credential has a header line of its own."""
    desk.run(text(desk, key_needed=True), "claude-passing", **variables)
    made = claude.environment(ADDRESS, PASSING, key_needed=True)
    assert desk.environments("claude") == [made.applied({**desk.base, **variables}, KEY)]


def test_calling_shell(desk: Desk) -> None:
    """Nothing of the client's environment stays behind in the shell that started it."""
    listing = "set -x" if desk.shell == "fish" else "export -p"
    script = (
        f'{listing} >"$HOME/one"; claude-both x; {listing} >"$HOME/two"; echo "$ANTHROPIC_MODEL"'
    )
    done = run(desk, script, ANTHROPIC_API_KEY="mine", ANTHROPIC_MODEL="opus")
    one, two = ((desk.place / name).read_text() for name in ("one", "two"))
    assert one == two
    assert "mine" in two
    assert done.stdout.splitlines()[-1] == "opus"


def test_model_at_launch(desk: Desk) -> None:
    """A model given for one call holds for that call alone."""
    run(desk, "ANTHROPIC_MODEL=k3 claude-both; claude-both")
    models = [each["ANTHROPIC_MODEL"] for each in desk.environments("claude")]
    assert models == ["k3", "big"]


def test_function_inside_of_a_client(desk: Desk) -> None:
    """A function called from within another client has its own models, not the outer client's."""
    (desk.place / "claude").rename(desk.place / "inner")
    words, evaluates = SHELLS[desk.shell]
    again = f"{shutil.which(words[0])} {' '.join(words[1:])} -c '{evaluates}; claude-my-own'"
    outer = desk.place / "claude"
    outer.write_text(f'#!/bin/sh\n[ "$AGAIN" ] && exec "$HOME/inner"\nAGAIN=1 exec {again}\n')
    outer.chmod(0o700)
    done = run(desk, "claude-both")
    assert (done.returncode, done.stderr) == (0, "")
    (seen,) = desk.environments("inner")
    expected = claude.environment(ADDRESS, PLAIN).applied({**desk.base, "AGAIN": "1"}, KEY)
    assert seen == {**expected, "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}


def test_arguments(desk: Desk) -> None:
    """Arguments arrive as they were given: spaces, quotes, globs, nothing and all."""
    run(desk, "claude-both -p 'two words' \"it's\" '*' '' \"$TRICKY\" --", TRICKY="$HOME\n\\ `x`")
    (call,) = desk.calls("claude")
    assert call["argv"] == ["-p", "two words", "it's", "*", "", "$HOME\n\\ `x`", "--"]


@pytest.mark.parametrize(("verdict", "expected"), [("0", 0), ("7", 7), ("TERM", 128 + 15)])
def test_exit_code(desk: Desk, code: str, verdict: str, expected: int) -> None:
    """The client's exit code is the function's."""
    desk.decides("claude", "go", verdict)
    done = run(desk, f"claude-both go; {code}")
    assert done.stdout.splitlines()[-1] == f"code={expected}"


@pytest.mark.parametrize("options", ["set -eu", "set -o pipefail -eu", "set -f -C"])
def test_strict_shell(posix: Desk, options: str) -> None:
    """A shell that stops at errors and unset variables finds none here."""
    done = run(posix, "claude-both x; claude-passing; kimi-token; echo end", before=options)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "end"


def test_shell_of_another_mind(posix: Desk) -> None:
    """Options that change how a shell splits, globs and counts change nothing here."""
    zsh = "setopt ksh_arrays sh_word_split no_unset no_clobber csh_null_glob"
    bash = "shopt -s failglob extglob"
    options = zsh if posix.shell == "zsh" else bash
    done = run(posix, "claude-both 'a b'", before=f"{options}\nIFS=-_/a")
    assert (done.returncode, done.stderr) == (0, "")
    assert posix.calls("claude")[0]["argv"] == ["a b"]


def test_key_in_no_argument_list(desk: Desk) -> None:
    """The caller key is in no program's arguments, no trace, no output and not in the text."""
    trace = "set fish_trace 1" if desk.shell == "fish" else "set -x"
    done = run(desk, f"{trace}; claude-both go", ANTHROPIC_AUTH_TOKEN="stale")
    arguments = [call["argv"] for name in ("bridge", "claude") for call in desk.calls(name)]
    assert desk.environments("claude")[0]["ANTHROPIC_AUTH_TOKEN"] == KEY
    assert KEY not in f"{arguments}{done.stdout}{done.stderr}{text(desk)}"
    assert KEY not in str(desk.environments("bridge"))


@pytest.mark.parametrize("content", [None, ""])
def test_no_key(desk: Desk, content: str | None) -> None:
    """Without a key the client gets a dummy, and nobody complains."""
    desk.key_file.unlink()
    if content is not None:
        desk.key_file.write_text(content)
    done = run(desk, "claude-both")
    assert (done.returncode, done.stderr) == (0, "")
    assert desk.environments("claude")[0]["ANTHROPIC_AUTH_TOKEN"] == NO_KEY


def test_key_without_an_end_of_line(desk: Desk) -> None:
    """A key file that a person has edited may lack the last line break."""
    desk.key_file.write_text(KEY)
    run(desk, "claude-both")
    assert desk.environments("claude")[0]["ANTHROPIC_AUTH_TOKEN"] == KEY


def test_daemon_serves(desk: Desk) -> None:
    """Where the daemon serves, it is checked in silence and the client starts."""
    done = run(desk, "claude-both")
    assert [call["argv"] for call in desk.calls("bridge")] == [["--check", "both"]]
    assert done.stdout == "claude speaks\n"


def test_daemon_does_not_serve(desk: Desk) -> None:
    """Where it does not, it is brought up first, and speaks on standard error."""
    desk.decides("bridge", "check", "3")
    done = run(desk, "claude-both")
    assert [call["argv"] for call in desk.calls("bridge")] == [["--check", "both"], ["up", "both"]]
    assert (done.stdout, done.stderr) == ("claude speaks\n", "bridge speaks\n")


def test_daemon_cannot_be_brought_up(desk: Desk, code: str) -> None:
    """Where even that fails, no client starts and the reason's exit code is the function's."""
    desk.decides("bridge", "check", "3")
    desk.decides("bridge", "up", "150")
    done = run(desk, f"claude-both; {code}")
    assert done.stdout == "code=150\n"
    assert desk.calls("claude") == []


def test_daemon_of_another_place(desk: Desk) -> None:
    """Options that say which daemon is meant are given to every command."""
    desk.decides("bridge", "port", "3")
    desk.run(text(desk, "--port", "7"), "claude-both; kimi-token; codex-both x")
    assert [call["argv"] for call in desk.calls("bridge")] == [
        ["--port", "7", "--check", "both"],
        ["--port", "7", "up", "both"],
        ["--port", "7", "token", "kimi"],
        ["--port", "7", "run", "both", "--", "codex", "x"],
    ]


def test_alias_of_the_client(posix: Desk) -> None:
    """An alias for claude does not come in between, and old aliases of our names are gone."""
    aliases = "alias claude='echo alias' claude-both='echo old' kimi-proxy='echo old'"
    enable = "shopt -s expand_aliases" if posix.shell == "bash" else ":"
    done = run(posix, "claude-both x; kimi-proxy", before=f"{enable}\n{aliases}")
    assert done.stdout == "claude speaks\nbridge speaks\n"


def test_function_of_the_client(desk: Desk) -> None:
    """A function of the person's that is called claude does not come in between either."""
    mine = "function claude; echo mine; end" if desk.shell == "fish" else "claude() { echo mine; }"
    done = run(desk, "claude-both x", before=mine)
    assert done.stdout == "claude speaks\n"


def test_client_of_the_local_installer(desk: Desk) -> None:
    """A claude that lives where its own installer puts it is found."""
    local = desk.place / ".claude" / "local"
    local.mkdir(parents=True)
    (desk.place / "claude").rename(local / "claude")
    done = run(desk, "claude-both x", before=f"alias claude='{local.name}/claude'")
    assert (done.returncode, done.stdout) == (0, "claude speaks\n")


def test_no_client(desk: Desk) -> None:
    """Where there is no claude at all, the shell says so as it always does."""
    (desk.place / "claude").unlink()
    done = run(desk, "claude-both x")
    assert done.returncode == 127
    assert "claude" in done.stderr


def test_which_functions_there_are(desk: Desk) -> None:
    """Each client has a function for each provider that it can work with, under all its names."""
    clients = ("claude", "codex", "opencode")
    names = [f"{client}-{row}" for client in clients for row in ("both", "twin", "my-own", "chat")]
    names += ["claude-passing", "codex-passing", "opencode-passing", "kimi-proxy", "kimi-token"]
    known = "functions -q" if desk.shell == "fish" else "typeset -f"
    tests = "\n".join(f"{known} {name} >/dev/null && echo {name}" for name in names)
    missing = {"claude-chat", "codex-my-own", "codex-chat", "codex-passing", "opencode-passing"}
    assert run(desk, tests).stdout.split() == [name for name in names if name not in missing]


def test_other_names_of_a_provider(desk: Desk) -> None:
    """An alias of a provider starts the same client with the same provider."""
    run(desk, "claude-twin x; opencode-twin y")
    assert desk.environments("claude")[0]["ANTHROPIC_BASE_URL"] == f"{ADDRESS}/both"
    assert desk.calls("bridge")[-1]["argv"] == ["run", "both", "--", "opencode", "y"]


def test_old_names(desk: Desk) -> None:
    """kimi-proxy is bridge, and kimi-token is bridge token kimi."""
    run(desk, "kimi-proxy --check -v; kimi-token")
    assert [call["argv"] for call in desk.calls("bridge")] == [["--check", "-v"], ["token", "kimi"]]


def test_functions_that_a_client_keeps(posix: Desk) -> None:
    """No function that another needs begins with one underscore: Claude Code drops those."""
    kept = [line for line in text(posix).splitlines() if line.startswith("function ")]
    assert kept
    assert [line for line in kept if line.startswith("function _") and line[10] != "_"] == []


def test_record_is_private(desk: Desk) -> None:
    """The stand-in keeps what it saw to itself, as it saw the key."""
    run(desk, "claude-both")
    assert stat.S_IMODE((desk.place / "claude.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("path", ["bridge", "./bridge", "~/bridge", ""])
def test_relative_path(path: str) -> None:
    """A relative path is refused: the function runs in any folder."""
    with pytest.raises(ValueError, match="absolute"):
        Bridge([path], "/k", ADDRESS)
    with pytest.raises(ValueError, match="absolute"):
        Bridge(["/b"], path, ADDRESS)
