"""``bridge demo`` as a person runs it, and as it must fail when something does not work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from bridge.demo.acts import ACTS
from bridge.demo.stage import Fault

ROOT = Path(__file__).resolve().parents[2]
#: Says what the play is to be, as the command line does.
PLAY = "import sys; from bridge.demo.play import main; sys.exit(main(sys.argv[1:]))"

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]


def _environment(place: Path) -> dict[str, str]:
    """Return an environment that would lead the play astray if it were not isolated."""
    astray = {
        "HOME": str(place / "home"),
        "TMPDIR": str(place),
        "HTTP_PROXY": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
        "BRIDGE_PORT": "1",
        "BRIDGE_CONFIG": "/nonexistent",
        "KIMI_SHARE_DIR": str(place / "kimi"),
        "XDG_STATE_HOME": str(place / "state"),
    }
    return {**os.environ, **astray, "COLUMNS": "80"}


def _left_behind(place: Path) -> list[str]:
    """Return what is in *place* that was not there before."""
    return sorted(path.name for path in place.iterdir())


def _daemons(place: Path) -> list[str]:
    """Return the processes whose home is below *place*."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
        except OSError:
            continue
        if f"HOME={place}/bridge-demo-".encode() in environment:
            found.append(process.name)
    return found


def test_demo(tmp_path: Path) -> None:
    """The demo ends with 0, shows every act, and leaves neither process nor file behind."""
    done = subprocess.run(
        [sys.executable, "-m", "bridge", "demo"],
        cwd=ROOT,
        env=_environment(tmp_path),
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
    assert _left_behind(tmp_path) == []
    assert _daemons(tmp_path) == []


@pytest.mark.parametrize(
    ("fault", "act", "reason"),
    [
        (Fault.LOGIN, 1, "bridge login ended with 1"),
        (Fault.REFRESH, 4, "after the expiry the client got HTTP 401"),
        (Fault.END, 6, "the broken answer looked like a whole one"),
    ],
)
def test_sabotage(tmp_path: Path, fault: Fault, act: int, reason: str) -> None:
    """An act that does not work is named with its reason, and the demo ends with 1."""
    done = subprocess.run(
        [sys.executable, "-c", PLAY, "--sabotage", fault],
        cwd=ROOT,
        env=_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 1
    assert f"FAILED act {act} ({ACTS[act - 1].title}): {reason}" in done.stdout
    assert ("INFO daemon started" in done.stdout) == (act > 1)
    assert _left_behind(tmp_path) == []
    assert _daemons(tmp_path) == []


def test_ended_by_a_signal(tmp_path: Path) -> None:
    """A demo that is told to end in the middle takes its daemon and its folder along."""
    with subprocess.Popen(
        [sys.executable, "-m", "bridge", "demo"],
        cwd=ROOT,
        env=_environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as play:
        assert play.stdout is not None
        for line in play.stdout:
            if "content_block_start" in line:
                break
        assert _daemons(tmp_path)
        play.send_signal(signal.SIGTERM)
        _, err = play.communicate(timeout=30)
    assert (play.returncode, err) == (128 + signal.SIGTERM, "")
    assert _left_behind(tmp_path) == []
    assert _daemons(tmp_path) == []


def test_temporary_folder() -> None:
    """The play makes its home where temporary files belong, and for its owner alone."""
    with tempfile.TemporaryDirectory(prefix="bridge-demo-") as folder:
        assert Path(folder).stat().st_mode & 0o077 == 0
