"""Where a look from outside finds the files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bridge.service.settings import locate
from bridge.status.places import located
from tests.world import NOBODY


def test_places_are_those_of_the_daemon(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options and environment count as for every other verb."""
    monkeypatch.setenv("XDG_STATE_HOME", f"{home}/state")
    for options in ({}, {"config": "c.toml", "pid_file": "here.pid", "port": 7}):
        assert located(options) == locate(options)
    assert located({"pid_file": "here.pid"}).pid_file == str(Path.cwd() / "here.pid")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be in somebody else's home")
def test_root_may_look(home: Path) -> None:
    """Nothing is written, so nothing of root's is left behind."""
    os.chown(home, NOBODY, NOBODY)
    assert located({}).log == f"{home}/.local/state/bridge/bridge.log"
