"""The words of ``--check``, read by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.commands.check import DEFAULT_PORT, check, understood


def asked(*words: str) -> tuple[str | None, bool, bool, str, int] | None:
    """What *words* ask, as a tuple."""
    question = understood(list(words))
    if question is None:
        return None
    return (
        question.provider,
        question.verbose,
        question.json,
        question.pid_file,
        question.port,
    )


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        (["--check"], (None, False, False, "", DEFAULT_PORT)),
        (["--check", "kimi"], ("kimi", False, False, "", DEFAULT_PORT)),
        (["--check", "kimi", "-v"], ("kimi", True, False, "", DEFAULT_PORT)),
        (["--json", "--check"], (None, False, True, "", DEFAULT_PORT)),
        (["--check", "--pid-file", "/p", "--port", "7"], (None, False, False, "/p", 7)),
        (["--check", "--config", "/c"], (None, False, False, "", DEFAULT_PORT)),
        (["--check", "--stop"], None),
        (["--check", "--port", "x"], None),
        (["--check", "--pid-file"], None),
        (["--check", "kimi", "minimax"], None),
        (["--check", "--help"], None),
    ],
)
def test_words(
    home: Path, words: list[str], meaning: tuple[str | None, bool, bool, str, int] | None
) -> None:
    """What is understood is read rightly, and everything else is left to argparse."""
    assert asked(*words) == meaning


def test_port_of_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """BRIDGE_PORT tells where a daemon would be; nonsense in it is ignored here."""
    monkeypatch.setenv("BRIDGE_PORT", "7")
    assert asked("--check") == (None, False, False, "", 7)
    monkeypatch.setenv("BRIDGE_PORT", "seven")
    assert asked("--check") == (None, False, False, "", DEFAULT_PORT)


def test_silent_unless_asked(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A check that fails is silent; -v says in words what the code says."""
    words = ["--check", "--port", "1"]
    question = understood(words)
    assert question is not None
    assert check(question) == 3
    assert capsys.readouterr() == ("", "")
    question.verbose = True
    assert check(question) == 3
    assert capsys.readouterr().err == "not running: start it with: bridge\n"
