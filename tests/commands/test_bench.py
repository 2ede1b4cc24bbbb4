"""``bridge bench`` as a person runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bridge.commands.bench import bench
from bridge.errors import UsageError
from tests.demo.surroundings import ROOT, leading_astray, left_behind

COMMAND = [sys.executable, "-m", "bridge", "bench"]


def started(place: Path) -> list[str]:
    """Return the daemons whose PID files are below *place*, as process ids."""
    files = place.glob("bridge-bench-*/.local/run/bridge.pid")
    return [words[0] for file in files if (words := file.read_text().split())]


def lives(pid: str) -> bool:
    """Say whether a process is there and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("seconds", [2.9, 601.0, -1.0, float("nan"), float("inf")])
def test_seconds_that_make_no_sense(seconds: float) -> None:
    """A bench that could not end, or not begin, is wrong usage."""
    with pytest.raises(UsageError, match="--seconds: say 3 to 600"):
        bench({}, as_json=False, seconds=seconds)


@pytest.mark.parametrize(("name", "option"), [("config", "--config"), ("pid_file", "--pid-file")])
def test_no_home_but_its_own(name: str, option: str) -> None:
    """A file of the person's takes no part, so naming one is wrong usage."""
    with pytest.raises(UsageError, match=f"leave out {option}"):
        bench({name: "/some/file"}, as_json=True, seconds=10)


@pytest.mark.process
@pytest.mark.timeout(60)
def test_text(tmp_path: Path) -> None:
    """The sheet has a warm and a cold part, comes in time, and nothing is left behind."""
    began = time.perf_counter()
    done = subprocess.run(
        [*COMMAND, "--seconds", "4"],
        cwd=ROOT,
        env=leading_astray(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert time.perf_counter() - began < 4 + 6  # a machine that does other things besides
    for part in ("warm: connections are kept", "cold: a new", "cold start", "what Python itself"):
        assert part in done.stdout
    assert left_behind(tmp_path) == []


@pytest.mark.process
@pytest.mark.timeout(60)
def test_json(tmp_path: Path) -> None:
    """With --json a program reads the same, and nothing else is printed."""
    done = subprocess.run(
        [*COMMAND, "--json", "--seconds", "3"],
        cwd=ROOT,
        env=leading_astray(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    document = json.loads(done.stdout)
    assert set(document["warm"]) == {"small", "first", "event"}
    assert set(document["cold"]) == {"small", "first"}
    small = document["warm"]["small"]
    assert small["bridge"]["p50_us"] > small["direct"]["p50_us"] > 0
    assert document["start"]["answered_ms"] > 0
    assert left_behind(tmp_path) == []


@pytest.mark.process
@pytest.mark.timeout(60)
def test_ended_by_a_signal(tmp_path: Path) -> None:
    """A bench that is told to end takes its daemon and its folder along."""
    with subprocess.Popen(
        [*COMMAND, "--seconds", "60"],
        cwd=ROOT,
        env=leading_astray(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as measuring:
        while not (pids := started(tmp_path)):
            assert measuring.poll() is None
        measuring.send_signal(signal.SIGTERM)
        _, said = measuring.communicate(timeout=30)
    assert (measuring.returncode, said) == (128 + signal.SIGTERM, "")
    assert left_behind(tmp_path) == []
    while any(lives(pid) for pid in pids):  # the very last of it may be a moment later
        continue
