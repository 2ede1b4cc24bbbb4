"""What the shell functions do, in real shells with stand-ins for ``bridge`` and ``claude``."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bridge.clients.claude import NO_KEY, environment
from bridge.clients.shell import COMMANDS, OPTIONS, Shell, functions
from bridge.providers import Provider, kimi

ADDRESS = "http://127.0.0.1:18462"
KEY = "bridge-planted-caller-key-0123456789"

#: Writes down how it was called, then ends as the file named like it says.
RECORDER = """\
#!{python}
import json, os, pathlib, signal, sys
place = pathlib.Path({place!r})
name = pathlib.Path(sys.argv[0]).name
with open(place / (name + ".json"), "a", opener=lambda p, f: os.open(p, f, 0o600)) as file:
    print(json.dumps({{"argv": sys.argv[1:], "environment": dict(os.environ)}}), file=file)
print(name + " speaks")
verdict = place / (name + "." + (sys.argv[1].strip("-") if sys.argv[1:] else ""))
code = verdict.read_text() if verdict.exists() else "0"
if code == "TERM":
    os.kill(os.getpid(), signal.SIGTERM)
sys.exit(int(code))
"""


@dataclass(frozen=True)
class Desk:
    """A shell with nothing but the stand-ins in its PATH, and what they wrote down."""

    shell: Shell
    place: Path
    key_file: Path

    @property
    def text(self) -> str:
        """The functions, as the person's start-up file evaluates them."""
        return functions(
            self.shell,
            executable=str(self.place / "bridge"),
            key_file=str(self.key_file),
            address=ADDRESS,
            providers=[kimi({}, {})],
        )

    def run(
        self, script: str, before: str = "", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run *script* in a shell that has evaluated the functions, after *before*."""
        init = self.place / "init"
        init.write_text(self.text)
        program = shutil.which(self.shell)
        assert program is not None
        quiet = ["-f"] if self.shell == "zsh" else ["--norc", "--noprofile"]
        return subprocess.run(
            [program, *quiet, "-c", f'{before}\neval "$(<"$INIT")"\n{script}'],
            env={"PATH": str(self.place), "HOME": str(self.place), "INIT": str(init), **variables},
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )

    def decides(self, name: str, word: str, code: str) -> None:
        """Let the stand-in *name* end with *code* when its first argument is *word*."""
        (self.place / f"{name}.{word}").write_text(code)

    def calls(self, name: str) -> list[dict[str, Any]]:
        """Return how the stand-in *name* was called, in order."""
        record = self.place / f"{name}.json"
        return (
            [json.loads(line) for line in record.read_text().splitlines()]
            if record.exists()
            else []
        )


def _absent(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed")


@pytest.fixture(
    name="desk", params=[pytest.param(shell, marks=_absent(shell)) for shell in ("bash", "zsh")]
)
def _desk(request: pytest.FixtureRequest, tmp_path: Path) -> Desk:
    place = tmp_path / 'it\'s "a" $HOME'
    place.mkdir()
    for name in ("bridge", "claude"):
        stand_in = place / name
        stand_in.write_text(RECORDER.format(python=sys.executable, place=str(place)))
        stand_in.chmod(0o700)
    key_file = place / "the key"
    key_file.write_text(KEY + "\n")
    key_file.chmod(0o600)
    return Desk(request.param, place, key_file)


@pytest.fixture(name="provider")
def _provider() -> Provider:
    return kimi({}, {})


def _relevant(seen: Mapping[str, str]) -> dict[str, str]:
    """Return *seen* without what a shell or an interpreter adds of its own."""
    own = {"_", "PWD", "OLDPWD", "SHLVL", "LC_CTYPE", "LOGNAME", "TERM"}
    return {name: value for name, value in seen.items() if name not in own}


VARIABLES: list[dict[str, str]] = [
    {},
    {"ANTHROPIC_API_KEY": "other", "CLAUDE_CODE_USE_BEDROCK": "1", "ANTHROPIC_BASE_URL": "x"},
    {"ANTHROPIC_MODEL": 'mine\'s "$x" *', "API_TIMEOUT_MS": "", "ANTHROPIC_AUTH_TOKEN": "stale"},
    {"NO_PROXY": "a.example", "HTTP_PROXY": "http://proxy:1"},
    {"no_proxy": "b.example"},
    {"NO_PROXY": "*", "no_proxy": "c.example"},
]


@pytest.mark.parametrize("variables", VARIABLES)
def test_environment(desk: Desk, provider: Provider, variables: dict[str, str]) -> None:
    """The client sees exactly the environment that it needs, whatever was set before."""
    done = desk.run("claude-kimi", **variables)
    assert (done.returncode, done.stderr) == (0, "")
    (call,) = desk.calls("claude")
    shared = {"PATH": str(desk.place), "HOME": str(desk.place), "INIT": str(desk.place / "init")}
    expected = environment(ADDRESS, provider).applied({**shared, **variables}, KEY)
    assert _relevant(call["environment"]) == expected


def test_calling_shell(desk: Desk) -> None:
    """Nothing of the client's environment stays behind in the shell that started it."""
    script = (
        'export -p >"$HOME/one"; claude-kimi x; export -p >"$HOME/two"; echo "$ANTHROPIC_MODEL"'
    )
    done = desk.run(script, ANTHROPIC_API_KEY="mine", ANTHROPIC_MODEL="opus")
    one, two = ((desk.place / name).read_text() for name in ("one", "two"))
    assert one == two
    assert "mine" in two
    assert done.stdout.splitlines()[-1] == "opus"


def test_model_at_launch(desk: Desk) -> None:
    """A model given for one call holds for that call alone."""
    desk.run("ANTHROPIC_MODEL=k3 claude-kimi; claude-kimi")
    models = [call["environment"]["ANTHROPIC_MODEL"] for call in desk.calls("claude")]
    assert models == ["k3", "kimi-k2.5"]


def test_arguments(desk: Desk) -> None:
    """Arguments arrive as they were given: spaces, quotes, globs, nothing and all."""
    desk.run("claude-kimi -p 'two words' \"it's\" '*' '' '$HOME' 'a\nb' '\\' --")
    (call,) = desk.calls("claude")
    assert call["argv"] == ["-p", "two words", "it's", "*", "", "$HOME", "a\nb", "\\", "--"]


@pytest.mark.parametrize(("verdict", "code"), [("0", 0), ("7", 7), ("TERM", 128 + 15)])
def test_exit_code(desk: Desk, verdict: str, code: int) -> None:
    """The client's exit code is the function's."""
    desk.decides("claude", "go", verdict)
    done = desk.run("claude-kimi go; echo code=$?")
    assert done.stdout.splitlines()[-1] == f"code={code}"


@pytest.mark.parametrize("options", ["set -eu", "set -o pipefail -eu", "set -f -C"])
def test_strict_shell(desk: Desk, options: str) -> None:
    """A shell that stops at errors and unset variables finds none here."""
    done = desk.run("claude-kimi x; kimi-token; echo end", before=options)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "end"


def test_shell_of_another_mind(desk: Desk) -> None:
    """Options that change how a shell splits, globs and counts change nothing here."""
    zsh = "setopt ksh_arrays sh_word_split no_unset no_clobber csh_null_glob"
    bash = "shopt -s failglob extglob"
    done = desk.run("claude-kimi 'a b'", before=f"{zsh if desk.shell == 'zsh' else bash}\nIFS=-_/a")
    assert (done.returncode, done.stderr) == (0, "")
    assert desk.calls("claude")[0]["argv"] == ["a b"]


def test_key_in_no_argument_list(desk: Desk) -> None:
    """The caller key is in no program's arguments, no trace, no output and not in the text."""
    done = desk.run("set -x; claude-kimi go", ANTHROPIC_AUTH_TOKEN="stale")
    arguments = [call["argv"] for name in ("bridge", "claude") for call in desk.calls(name)]
    assert desk.calls("claude")[0]["environment"]["ANTHROPIC_AUTH_TOKEN"] == KEY
    assert KEY not in f"{arguments}{done.stdout}{done.stderr}{desk.text}"
    assert KEY not in str([call["environment"] for call in desk.calls("bridge")])


def test_no_key_file(desk: Desk) -> None:
    """Without a key file the client gets a dummy, and nobody complains."""
    desk.key_file.unlink()
    done = desk.run("claude-kimi")
    assert (done.returncode, done.stderr) == (0, "")
    assert desk.calls("claude")[0]["environment"]["ANTHROPIC_AUTH_TOKEN"] == NO_KEY


def test_daemon_serves(desk: Desk) -> None:
    """Where the daemon serves, it is checked in silence and the client starts."""
    done = desk.run("claude-kimi")
    assert [call["argv"] for call in desk.calls("bridge")] == [["--check", "kimi"]]
    assert done.stdout == "claude speaks\n"


def test_daemon_does_not_serve(desk: Desk) -> None:
    """Where it does not, it is brought up first, and speaks on standard error."""
    desk.decides("bridge", "check", "3")
    done = desk.run("claude-kimi")
    assert [call["argv"] for call in desk.calls("bridge")] == [["--check", "kimi"], ["up", "kimi"]]
    assert (done.stdout, done.stderr) == ("claude speaks\n", "bridge speaks\n")


def test_daemon_cannot_be_brought_up(desk: Desk) -> None:
    """Where even that fails, no client starts and the reason's exit code is the function's."""
    desk.decides("bridge", "check", "3")
    desk.decides("bridge", "up", "150")
    done = desk.run("claude-kimi; echo code=$?")
    assert done.stdout == "code=150\n"
    assert desk.calls("claude") == []


def test_alias_of_the_client(desk: Desk) -> None:
    """An alias for claude does not come in between, and old aliases of our names are gone."""
    aliases = "alias claude='echo alias' claude-kimi='echo old' kimi-proxy='echo old'"
    enable = "shopt -s expand_aliases" if desk.shell == "bash" else ":"
    done = desk.run("claude-kimi x; kimi-proxy", before=f"{enable}\n{aliases}")
    assert done.stdout == "claude speaks\nbridge speaks\n"


def test_client_of_the_local_installer(desk: Desk) -> None:
    """A claude that lives where its own installer puts it, behind an alias, is found."""
    local = desk.place / ".claude" / "local"
    local.mkdir(parents=True)
    (desk.place / "claude").rename(local / "claude")
    done = desk.run("claude-kimi x", before=f"alias claude='{local.name}/claude'")
    assert (done.returncode, done.stdout) == (0, "claude speaks\n")


def test_no_client(desk: Desk) -> None:
    """Where there is no claude at all, the shell says so as it always does."""
    (desk.place / "claude").unlink()
    done = desk.run("claude-kimi x")
    assert done.returncode == 127
    assert "claude" in done.stderr


def test_old_names(desk: Desk) -> None:
    """kimi-proxy is bridge, and kimi-token is bridge token kimi."""
    desk.run("kimi-proxy --check -v; kimi-token")
    assert [call["argv"] for call in desk.calls("bridge")] == [["--check", "-v"], ["token", "kimi"]]


def test_completion(desk: Desk) -> None:
    """Both names of the program are completed, where the shell can."""
    if desk.shell == "bash":
        done = desk.run('complete -p kimi-bridge; compgen -W "$(complete -p bridge)" -- logi')
        assert "login" in done.stdout
    else:
        done = desk.run("echo", before="function compdef { echo compdef $*; }")
        assert "compdef _bridge bridge kimi-bridge" in done.stdout
    assert done.stderr == ""


def test_completion_knows_the_program() -> None:
    """Every word that is offered is one that the program explains."""
    done = subprocess.run(
        [sys.executable, "-m", "bridge", "--help"], capture_output=True, text=True, check=True
    )
    assert [word for word in (*COMMANDS, *OPTIONS) if word not in done.stdout] == []


def test_record_is_private(desk: Desk) -> None:
    """The stand-in keeps what it saw to itself, as it saw the key."""
    desk.run("claude-kimi")
    assert stat.S_IMODE((desk.place / "claude.json").stat().st_mode) == 0o600
    assert os.access(desk.place / "claude.json", os.R_OK)


@pytest.mark.parametrize("path", ["bridge", "./bridge", "~/bridge", ""])
def test_relative_path(path: str) -> None:
    """A relative path is refused: the function runs in any folder."""
    with pytest.raises(ValueError, match="absolute"):
        functions("bash", executable=path, key_file="/k", address=ADDRESS, providers=[])
    with pytest.raises(ValueError, match="absolute"):
        functions("zsh", executable="/b", key_file=path, address=ADDRESS, providers=[])
