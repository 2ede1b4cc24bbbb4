"""What the text for fish does to the shell that evaluates it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.clients import claude
from bridge.clients.environment import GIVEN, NO_KEY, Environment
from bridge.clients.fish import launch, quote, settle, start, wrapper
from bridge.providers import Provider
from tests.clients.desk import KEY, Desk, shells
from tests.clients.rows import ADDRESS, BOTH, PASSING, PLAIN


@pytest.fixture(name="desk", params=shells("fish"))
def _desk(request: pytest.FixtureRequest, tmp_path: Path) -> Desk:
    return Desk.at(request.param, tmp_path, "claude", "codex")


def text(desk: Desk, made: Environment) -> str:
    """The text that changes this shell as *made* says."""
    return "\n".join(settle(made, str(desk.key_file)))


def marked(variables: dict[str, str]) -> dict[str, str]:
    """Whatever of *variables* an outer client was given."""
    return {GIVEN: variables[GIVEN]} if GIVEN in variables else {}


VARIABLES: list[dict[str, str]] = [
    {},
    {"ANTHROPIC_API_KEY": "other", "CLAUDE_CODE_USE_VERTEX": "1", "ANTHROPIC_AUTH_TOKEN": "x"},
    {"NO_PROXY": "a.example"},
    {"no_proxy": "b.example,127.0.0.1,localhost,::1"},
    {"NO_PROXY": "*", "no_proxy": "c.example"},
    {"NO_PROXY": "", "no_proxy": ""},
    {"ENABLE_TOOL_SEARCH": "x", GIVEN: "ENABLE_TOOL_SEARCH=x", "ANTHROPIC_AUTH_TOKEN": "x"},
    {"ENABLE_TOOL_SEARCH": "x", GIVEN: "ENABLE_TOOL_SEARCH=y"},
]


@pytest.mark.parametrize("variables", VARIABLES)
@pytest.mark.parametrize("row", [BOTH, PLAIN, PASSING], ids=lambda row: row.name)
def test_environment(desk: Desk, row: Provider, variables: dict[str, str]) -> None:
    """A client started afterwards sees exactly the environment that it needs."""
    made = claude.environment(ADDRESS, row)
    done = desk.run(text(desk, made), "claude", **variables)
    assert (done.returncode, done.stderr) == (0, "")
    own = {name: value for name, value in variables.items() if not made.preferred.get(name)}
    assert desk.environments("claude") == [
        made.applied({**desk.base, **own, **marked(variables)}, KEY)
    ]


def test_preferences_are_set_anew(desk: Desk) -> None:
    """What is set counts no longer: whoever wants another model sets it afterwards."""
    made = text(desk, claude.environment(ADDRESS, BOTH))
    desk.run(made, "claude; ANTHROPIC_MODEL=mine claude", ANTHROPIC_MODEL="before")
    models = [each["ANTHROPIC_MODEL"] for each in desk.environments("claude")]
    assert models == ["big", "mine"]


@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "CLAUDE_CODE_USE_BEDROCK"])
def test_universal_variables(desk: Desk, name: str) -> None:
    """What the person set for all shells counts no longer in this one, and is not erased."""
    made = claude.environment(ADDRESS, BOTH)
    script = f"claude; set -eg {name}; echo ${name}"
    lines = "\n".join([f"set -Ux {name} mine", text(desk, made), script])
    fish = shutil.which("fish")
    assert fish is not None
    done = subprocess.run(
        [fish, "-c", lines], env=desk.base, capture_output=True, text=True, timeout=60, check=False
    )
    assert desk.environments("claude")[0][name] == ""
    assert done.stdout == "claude speaks\nmine\n"
    started = "\n".join([*launch(made, str(desk.key_file)), start(made, "claude")])
    subprocess.run([fish, "-c", started], env=desk.base, timeout=60, check=True)
    assert name not in desk.environments("claude")[1]


def test_key_beside_a_credential(desk: Desk) -> None:
    """A caller key that is needed beside the own credential has a header line of its own."""
    made = claude.environment(ADDRESS, PASSING, key_needed=True)
    variables = {"ANTHROPIC_CUSTOM_HEADERS": "a: b", "ANTHROPIC_API_KEY": "own"}
    desk.run(text(desk, made), "claude", **variables)
    assert desk.environments("claude") == [made.applied({**desk.base, **variables}, KEY)]


def test_no_key_file(desk: Desk) -> None:
    """Without a key file the client gets a dummy, and nobody complains."""
    desk.key_file.unlink()
    done = desk.run(text(desk, claude.environment(ADDRESS, BOTH)), "claude")
    assert (done.returncode, done.stderr) == (0, "")
    assert desk.environments("claude")[0]["ANTHROPIC_AUTH_TOKEN"] == NO_KEY


def test_key_in_no_trace(desk: Desk) -> None:
    """A shell that traces what it does does not print the key."""
    made = text(desk, claude.environment(ADDRESS, BOTH))
    done = desk.run(made, "claude", before="set fish_trace 1")
    assert "ANTHROPIC_MODEL" in done.stderr
    assert KEY not in f"{made}{done.stdout}{done.stderr}"


def test_wrapper(desk: Desk) -> None:
    """A wrapped program gets our words before its own."""
    text = "\n".join(wrapper("codex", ("-c", "it's {\"a\"} $x \\ \\'")))
    done = desk.run(text, "codex exec 'two words'", before="alias codex='echo alias'")
    assert (done.returncode, done.stdout) == (0, "codex speaks\n")
    words = ["-c", "it's {\"a\"} $x \\ \\'", "exec", "two words"]
    assert desk.calls("codex")[0]["argv"] == words


@given(st.text())
def test_one_word(word: str) -> None:
    """Whatever is quoted is one word: no quote and no backslash in it is left as it was."""
    inner = quote(word)[1:-1]
    assert inner.replace("\\\\", "").replace("\\'", "").count("'") == 0
    assert inner.replace("\\'", "'").replace("\\\\", "\\").count("\\") == word.count("\\")
