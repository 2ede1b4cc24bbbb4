"""The one command: what it is told, what it writes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks import run

MACHINE = {
    "processor": "2 x Abacus",
    "memory": "1 GiB",
    "kernel": "Linux 7",
    "bridge": "0.1.0",
    "revision": "abc",
    "python": "3.13.0",
    "uvloop": "0.22",
    "httptools": "0.7",
    "nginx": "1.22.1",
    "aiohttp": "3.14",
    "go": "1.19",
}


def written(folder: Path, bridge: float, **besides: Any) -> Path:
    """Write down a small benchmark whose bridge took so many microseconds, and return the file."""
    rounds = [{"small": {"bridge": {"p50_us": bridge}, "nginx": {"p50_us": 50.0}}}]
    wear = [{"bridge": {"resident_mb": 45.0, "descriptors": 20.0}}]
    document = {
        "command": "python benchmarks/run.py --runs 1 --rounds 1",
        "machine": MACHINE,
        "rounds": 1,
        "runs": [{"rounds": rounds, "wear": wear}],
        "failures": [],
        **besides,
    }
    file = folder / "found.json"
    file.write_text(json.dumps(document))
    return file


def test_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was found is shown again: the command, the machine, the table, what processes held."""
    assert run.main(["--again", str(written(tmp_path, 90.0))]) == 0
    shown = capsys.readouterr().out
    for part in (
        "`python benchmarks/run.py --runs 1 --rounds 1`",
        "2 x Abacus, 1 GiB, Linux 7",
        "| small request, p50 |",
        "x1.80",
        "- bridge: 45.0 MB and 20 descriptors after the first round",
    ):
        assert part in shown


def test_missed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A "must" that is missed is named, and the command ends with 1."""
    assert run.main(["--again", str(written(tmp_path, 150.0))]) == 1
    assert capsys.readouterr().out.endswith("missed: small: small request, p50\n")


def test_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So does a benchmark in which a request has failed."""
    assert run.main(["--again", str(written(tmp_path, 90.0, failures=["bridge: EOF"]))]) == 1
    assert capsys.readouterr().out.endswith("failed: bridge: EOF\n")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--phases", "smal"], "no such phase: smal"),
        (["--subjects", "bridge,caddy"], "no such subject: caddy"),
    ],
)
def test_wrong_words(words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that there is not is wrong usage, and nothing is measured."""
    with pytest.raises(SystemExit) as left:
        run.main(words)
    assert left.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.process
@pytest.mark.timeout(120)
@pytest.mark.skipif(shutil.which("go") is None, reason="needs Go: apt-get install golang-go")
def test_measure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A short benchmark from the first word to the file."""
    file = tmp_path / "found.json"
    words = ["--rounds", "2", "--repeats", "0", "--phases", "idle", "--subjects", "direct,bridge"]
    run.main([*words, "--out", str(file)])
    found = json.loads(file.read_text())
    assert found["failures"] == []
    assert found["command"] == "python benchmarks/run.py --runs 1 --rounds 2 --phases idle"
    first, second = found["runs"][0]["rounds"]
    assert set(first) == set(second) == {"idle"}
    assert set(first["idle"]) == {"bridge"}
    assert first["idle"]["bridge"]["resident_mb"] > 10
    assert "memory idle, after first requests" in capsys.readouterr().out
