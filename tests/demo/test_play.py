"""``bridge demo`` as a person runs it, and as it must fail when something does not work."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.demo.acts import ACTS
from tests.demo.surroundings import ROOT, daemons, leading_astray, left_behind

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]


def test_demo(tmp_path: Path) -> None:
    """The demo ends with 0, shows every act, and leaves neither process nor file behind."""
    done = subprocess.run(
        [sys.executable, "-m", "bridge", "demo"],
        cwd=ROOT,
        env=leading_astray(tmp_path),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    for number, act in enumerate(ACTS, 1):
        assert f"{number}. {act.title}" in done.stdout
    assert "All of it worked" in done.stdout.splitlines()[-1]
    assert "\x1b" not in done.stdout
    assert "FAILED" not in done.stdout
    assert left_behind(tmp_path) == []
    assert daemons(tmp_path) == []


def test_ended_by_a_signal(tmp_path: Path) -> None:
    """A demo that is told to end in the middle takes its daemon and its folder along."""
    with subprocess.Popen(
        [sys.executable, "-m", "bridge", "demo"],
        cwd=ROOT,
        env=leading_astray(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as play:
        assert play.stdout is not None
        for line in play.stdout:
            if "content_block_start" in line:
                break
        assert daemons(tmp_path)
        play.send_signal(signal.SIGTERM)
        _, err = play.communicate(timeout=30)
    assert (play.returncode, err) == (128 + signal.SIGTERM, "")
    assert left_behind(tmp_path) == []
    assert daemons(tmp_path) == []
