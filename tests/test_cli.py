"""The doorman: words in, exit code out."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge import __version__
from bridge.cli import main
from bridge.commands.parser import command_words
from bridge.commands.verbs import VERBS
from bridge.errors import UsageError

DAEMON_VERBS = ("--foreground", "--check", "--stop", "--restart", "--reload")


def helped(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What --help says of *words*."""
    with pytest.raises(SystemExit) as left:
        main([*words, "--help"])
    assert left.value.code == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What argparse says of *words*, which are wrong."""
    with pytest.raises(SystemExit) as left:
        main([*words])
    assert left.value.code == 2
    return capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """The version is the package's."""
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"bridge {__version__}\n"


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    """--help shows each verb, and the codes that scripts rely on."""
    shown = helped(capsys)
    for verb in (*DAEMON_VERBS, *VERBS):
        assert verb in shown
    assert "150 serving" in shown


@pytest.mark.parametrize("verb", [*VERBS, "config path", "config show", "config check"])
def test_help_of_each_verb(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each verb explains itself, and what it does besides is nothing."""
    assert f"usage: bridge {verb}" in helped(capsys, *verb.split())


def test_the_readme_names_every_verb_of_the_help() -> None:
    """What --help offers is in the README's table."""
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    table = readme[readme.index("| command | does |") : readme.index("Exit codes:")]
    missing = [verb for verb in (*DAEMON_VERBS, *VERBS) if verb not in table]
    assert missing == []


def test_a_failure_is_one_line(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a person can cause is one line on stderr with the next step, and a code."""
    assert main(["token"]) == 150
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "bridge: there is no login: run: bridge login\n"


def test_several_mistakes_are_a_line_each(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Mistakes of a configuration are told together, each on a line of its own."""
    file = home / "c.toml"
    file.write_text("[server]\nprot = 1\n[log]\nlevel = 5\n")
    assert main(["--config", str(file), "--reload"]) == 78
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"bridge: {file}:") for line in lines)


def test_check_with_words_it_does_not_take(capsys: pytest.CaptureFixture[str]) -> None:
    """A check with options of other verbs is wrong usage, not a check of something else."""
    assert main(["--check", "--log-level", "debug"]) == 2
    assert "--check takes" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["up", "env", "run", "login", "logout", "token"])
def test_an_unknown_provider(home: Path, verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A provider that is misspelt is answered with the nearest name, and nothing is done."""
    assert main([verb, "minmax", *(["x"] if verb == "run" else [])]) == 2
    said = capsys.readouterr().err
    assert said == "bridge: there is no provider minmax: did you mean minimax?\n"


@pytest.mark.parametrize("verb", ["login", "logout", "token"])
@pytest.mark.parametrize("name", ["glm", "zai"])
def test_no_login_but_kimis(
    home: Path, verb: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who logs in where there is no login learns where the key is looked for."""
    assert main([verb, name]) == 2
    said = capsys.readouterr().err
    assert said == (
        "bridge: glm has no login, only kimi has: bridge providers says where a key is looked for\n"
    )


def test_places_stand_on_either_side(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the daemon is can be said before a command and behind it."""
    for words in (
        ["--config", "/c/before.toml", "config", "path"],
        ["config", "--config", "/c/before.toml", "path"],
        ["config", "path", "--config", "/c/before.toml"],
    ):
        assert main(words) == 0
        assert capsys.readouterr().out == "/c/before.toml\n"


@pytest.mark.parametrize(
    ("words", "client", "command"),
    [
        (["claude"], None, ["claude"]),
        (["--", "claude", "-p"], None, ["claude", "-p"]),
        (["claude", "--", "x"], None, ["claude", "--", "x"]),
        (["--client", "codex", "sh", "-c", "x"], "codex", ["sh", "-c", "x"]),
        (["--client=codex", "--", "--odd"], "codex", ["--odd"]),
        (["claude", "--client", "codex"], None, ["claude", "--client", "codex"]),
    ],
)
def test_words_of_run(words: list[str], client: str | None, command: list[str]) -> None:
    """Options of ours end where the command begins; what follows is the command's own."""
    assert command_words(words) == (client, command)


@pytest.mark.parametrize("words", [[], ["--"], ["--client", "codex"], ["-x", "claude"]])
def test_no_words_of_run(words: list[str]) -> None:
    """Without a command, or with an option that is none, the way to write it is shown."""
    with pytest.raises(UsageError, match="run: "):
        command_words(words)


def test_a_client_that_there_is_not(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A client is one of those that there are settings for."""
    assert "invalid choice: 'vim'" in refused(capsys, "run", "kimi", "--client", "vim", "vim")
    assert "invalid choice: 'vim'" in refused(capsys, "env", "kimi", "--client", "vim")
    assert "invalid choice: 'csh'" in refused(capsys, "shell-init", "csh")
    assert "VERB" in refused(capsys, "config")
