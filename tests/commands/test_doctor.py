"""``bridge doctor`` shows its findings to people and to programs."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from bridge import __version__
from bridge.commands.doctor import doctor, document, lines
from bridge.doctor.examination import Examination
from bridge.doctor.finding import Finding, fail, ok, warn
from tests.ports import free_port

GOOD = ok("port", "it is ours")
ODD = warn("clock", "it is 90 s behind", "set it")
BAD = fail("login", "it has ended", "bridge login kimi")


class Terminal(io.StringIO):
    """What is written to a terminal, or to a pipe, of some *encoding*."""

    def __init__(self, encoding: str = "utf-8", *, terminal: bool = True) -> None:
        super().__init__()
        self._encoding = encoding
        self._terminal = terminal

    @property
    def encoding(self) -> str:  # type: ignore[override] # read-only, as that of a real stream
        """The encoding of the stream."""
        return self._encoding

    def isatty(self) -> bool:
        """Say whether it is a terminal."""
        return self._terminal


def shown(
    *findings: Finding,
    out: Terminal | None = None,
    environment: Mapping[str, str] | None = None,
) -> list[str]:
    """Return the lines for *findings*, on a pipe if nothing else is said."""
    return list(lines(findings, out or Terminal(terminal=False), environment or {}))


def test_a_line_for_each() -> None:
    """Level, subject and text, then the mend behind a dash, where there is anything to mend."""
    assert shown(GOOD, ODD, BAD) == [
        "ok    port: it is ours",
        "warn  clock: it is 90 s behind  — set it",
        "fail  login: it has ended  — bridge login kimi",
    ]


def test_colour_is_for_terminals() -> None:
    """Levels are coloured on a terminal, unless the person wants none."""
    assert shown(BAD, out=Terminal()) == [
        "\x1b[31mfail\x1b[0m  login: it has ended  — bridge login kimi"
    ]
    colours = [shown(each, out=Terminal())[0][:5] for each in (GOOD, ODD, BAD)]
    assert len({*colours}) == 3
    for refusal in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert shown(BAD, out=Terminal(), environment=refusal) == shown(BAD)
    assert "\x1b" in shown(BAD, out=Terminal(), environment={"NO_COLOR": ""})[0]


def test_nothing_that_a_terminal_would_obey() -> None:
    """A name that was made to move the cursor, or to be two lines, is shown harmless."""
    evil = warn("port", "taken by \x1b[2Jx\n\u202eok", "kill\t7")
    assert shown(evil) == ["warn  port: taken by ?[2Jx??ok  — kill?7"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_knows_few_letters(encoding: str) -> None:
    """What a terminal cannot show does not end the doctor."""
    line = shown(warn("port", "名", "mend"), out=Terminal(encoding, terminal=False))[0]
    assert line == "warn  port: ?  -- mend"


def test_the_document() -> None:
    """Programs find version, status, counts of all levels, and four texts for each finding."""
    assert document(Examination((GOOD, ODD), configured=True)) == {
        "version": __version__,
        "status": "warn",
        "counts": {"ok": 1, "warn": 1, "fail": 0},
        "findings": [
            {"level": "ok", "subject": "port", "text": "it is ours", "mend": ""},
            {"level": "warn", "subject": "clock", "text": "it is 90 s behind", "mend": "set it"},
        ],
    }


@pytest.mark.parametrize(
    ("findings", "configured", "code"),
    [((GOOD, ODD), True, 0), ((GOOD, BAD, ODD), True, 1), ((BAD,), False, 78), ((), True, 0)],
)
def test_exit_codes(findings: tuple[Finding, ...], configured: bool, code: int) -> None:
    """0 unless something fails, 78 for a configuration that cannot be used."""
    assert Examination(findings, configured).exit_code == code


def test_the_command(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command prints the same findings to people and programs, and nothing on stderr."""
    monkeypatch.chdir(home)
    options = {"port": free_port()}
    # An address of this machine: nobody outside of it is asked by a test.
    monkeypatch.setenv("KIMI_CODE_OAUTH_HOST", f"http://127.0.0.1:{free_port()}")
    assert doctor(options, as_json=False) == 1
    printed = capsys.readouterr()
    assert printed.err == ""
    assert all(line[:4] in {"ok  ", "warn", "fail"} for line in printed.out.splitlines())
    assert doctor(options, as_json=True) == 1
    told = json.loads(capsys.readouterr().out)
    assert [each["level"] for each in told["findings"]] == [
        line[:4].strip() for line in printed.out.splitlines()
    ]


def test_a_folder_that_is_gone(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell in a folder that somebody has removed is examined as well."""
    gone = home / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setenv("BRIDGE_PORT", "many")
    assert doctor({}, as_json=False) == 78
    assert "Claude Code" in capsys.readouterr().out


def test_a_wrong_configuration(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A configuration that cannot be used is a finding among others, and 78."""
    file = home / "c.toml"
    file.write_text("[server]\nprot = 1\n")
    assert doctor({"config": str(file)}, as_json=False) == 78
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.startswith(f"fail  configuration: {file}:2: server.prot: unknown key")
