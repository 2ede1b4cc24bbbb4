"""A manager's own program is run, and what it says is not lost."""

from __future__ import annotations

import sys

import pytest

from bridge.errors import ServiceError
from bridge.units.program import Programs


class Ear:
    """Hears what is told."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def __call__(self, what: str) -> None:
        """Hear *what*."""
        self.heard.append(what)


def programs(ear: Ear, *, is_dry: bool = False) -> Programs:
    """What is called with nothing but a PATH."""
    return Programs({"PATH": "/usr/bin:/bin"}, ear, "look-there", is_dry=is_dry)


def test_question() -> None:
    """A question is asked even dry, in plain English, and not told."""
    ear = Ear()
    outcome = programs(ear, is_dry=True).ask("sh", "-c", "echo $LC_ALL; echo no >&2; exit 3")
    assert (outcome.code, outcome.output, outcome.errors) == (3, "C\n", "no\n")
    assert ear.heard == []


def test_job() -> None:
    """A job is told before it is done; one that fails says why, and where to look."""
    ear = Ear()
    programs(ear).do("true", "x")
    assert ear.heard == ["run true x"]
    with pytest.raises(ServiceError, match=r"failed \(5\): a b: see: look-there"):
        programs(ear).do("sh", "-c", "printf 'a\\nb\\n' >&2; exit 5")
    programs(ear).attempt("false")


def test_dry() -> None:
    """Dry, a job is only told."""
    ear = Ear()
    programs(ear, is_dry=True).do("false")
    programs(ear, is_dry=True).attempt("/nowhere")
    assert ear.heard == ["run false"]


def test_no_such_program() -> None:
    """A program that is not there is an answer, too."""
    assert programs(Ear()).ask("/nowhere/systemctl").code == 127
    with pytest.raises(ServiceError, match="No such file"):
        programs(Ear()).do("/nowhere/systemctl")


def test_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that does not answer is not waited for without end."""
    monkeypatch.setattr("bridge.units.program.ANSWER_SECONDS", 0.2)
    wait = "import signal; signal.pause()"
    assert programs(Ear()).ask(sys.executable, "-c", wait).code == 124
