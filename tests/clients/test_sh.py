"""What the text for POSIX shells does to the shell that evaluates it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.clients import claude
from bridge.clients.environment import GIVEN, NO_KEY, Environment
from bridge.clients.sh import settle, wrapper
from bridge.providers import Provider
from tests.clients.desk import KEY, Desk, shells
from tests.clients.rows import ADDRESS, BOTH, PASSING, PLAIN


@pytest.fixture(name="desk", params=shells("dash", "bash", "zsh"))
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


def test_one_after_the_other(desk: Desk) -> None:
    """From one provider to the next and back to the own account, nothing is left behind."""
    rows = (BOTH, PLAIN, PASSING)
    texts = [text(desk, claude.environment(ADDRESS, row)) for row in rows]
    desk.run("\nclaude\n".join(texts), "claude")
    expected = [claude.environment(ADDRESS, row).applied(desk.base, KEY) for row in rows]
    seen = desk.environments("claude")
    assert seen[:2] == expected[:2]
    left = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
    assert seen[2] == {**expected[2], **left}


def test_key_beside_a_credential(desk: Desk) -> None:
    """A caller key that is needed beside the own credential has a header line of its own."""
    made = claude.environment(ADDRESS, PASSING, key_needed=True)
    variables = {"ANTHROPIC_CUSTOM_HEADERS": "a: b", "ANTHROPIC_API_KEY": "own"}
    desk.run(text(desk, made), "claude", **variables)
    assert desk.environments("claude") == [made.applied({**desk.base, **variables}, KEY)]


@pytest.mark.parametrize("options", ["set -eu", "set -f -C"])
def test_strict_shell(desk: Desk, options: str) -> None:
    """A shell that stops at errors and unset variables finds none here."""
    done = desk.run(text(desk, claude.environment(ADDRESS, PASSING)), "claude", before=options)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_key_file(desk: Desk) -> None:
    """Without a key file the client gets a dummy, and nobody complains."""
    desk.key_file.unlink()
    done = desk.run(text(desk, claude.environment(ADDRESS, BOTH)), "claude")
    assert (done.returncode, done.stderr) == (0, "")
    assert desk.environments("claude")[0]["ANTHROPIC_AUTH_TOKEN"] == NO_KEY


def test_key_in_no_trace(desk: Desk) -> None:
    """A shell that traces what it does does not print the key."""
    made = text(desk, claude.environment(ADDRESS, BOTH))
    done = desk.run(made, "claude", before="set -x")
    assert "ANTHROPIC_MODEL" in done.stderr
    assert KEY not in f"{made}{done.stdout}{done.stderr}"


def test_wrapper(desk: Desk) -> None:
    """A wrapped program gets our words before its own, also where an alias had its name."""
    text = "\n".join(wrapper("codex", ("-c", 'it\'s {"a"} $x')))
    enable = "shopt -s expand_aliases" if desk.shell == "bash" else ":"
    done = desk.run(text, "codex exec 'two words'", before=f"{enable}\nalias codex='echo alias'")
    assert (done.returncode, done.stdout) == (0, "codex speaks\n")
    assert desk.calls("codex")[0]["argv"] == ["-c", 'it\'s {"a"} $x', "exec", "two words"]
