"""The doorman: words in, exit code out."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge import __version__
from bridge.cli import main


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """The version is the package's."""
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"bridge {__version__}\n"


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    """--help shows each verb, and the codes that scripts rely on."""
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    for verb in ("login", "logout", "token", "up", "shell-init", "demo", "--check", "--reload"):
        assert verb in shown
    assert "150 serving" in shown


def test_the_readme_names_every_verb_of_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """What --help offers is in the README's table, and the table offers nothing else."""
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    table = readme[readme.index("| command | does |") : readme.index("Exit codes:")]
    verbs = {"login", "logout", "token", "up", "shell-init", "demo"}
    verbs |= {"--foreground", "--check", "--stop", "--restart", "--reload"}
    for verb in verbs:
        assert verb in shown
        assert verb in table


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
