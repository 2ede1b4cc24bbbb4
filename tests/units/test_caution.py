"""What a person should know before a service runs from here."""

from __future__ import annotations

import pytest

from bridge.units import caution


@pytest.mark.parametrize(
    "program",
    [
        "/tmp/x/bin/bridge",
        "/mnt/scratch/bin/bridge",
        "/home/me/.cache/uv/archive-v0/x/bin/bridge",
        "/home/me/.local/pipx/.cache/x/bin/bridge",
    ],
)
def test_a_place_that_is_emptied(program: str) -> None:
    """A program in a temporary folder, or fetched for one run, is told."""
    assert "is emptied" in caution.vanishing(program, temporary="/mnt/scratch", is_in_venv=True)


def test_an_environment() -> None:
    """A virtual environment is told, unless a tool keeps it for its program."""
    venv = caution.vanishing("/home/me/src/.venv/bin/bridge", temporary="/tmp", is_in_venv=True)
    assert "virtual environment" in venv
    for kept in ("/home/me/.local/pipx/venvs/bridge/bin/x", "/home/me/.local/share/uv/tools/b/x"):
        assert caution.vanishing(kept, temporary="/tmp", is_in_venv=True) == ""
    assert caution.vanishing("/usr/bin/bridge", temporary="/tmp/", is_in_venv=False) == ""


def test_names() -> None:
    """Names are listed; without any there is nothing to say."""
    assert "A_KEY, B_KEY" in caution.unseen(["A_KEY", "B_KEY"])
    assert "HTTPS_PROXY" in caution.withheld(["HTTPS_PROXY"])
    assert caution.unseen([]) == caution.withheld([]) == ""


def test_restrictions() -> None:
    """What is left out is told, the more of it first."""
    assert "not confined, for op" in caution.loosened(["op", "pass"], ["op"])
    assert "may write everywhere you may, for op, pass" in caution.loosened(["op", "pass"], [])
    assert caution.loosened([], []) == ""
