"""Each act of the demo notices when what it shows does not happen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bridge.demo.acts import ACTS
from bridge.demo.stage import Fault
from tests.demo.surroundings import ROOT, daemons, leading_astray, left_behind

#: Plays with the words of a command line.
PLAY = "import sys; from bridge.demo.play import main; sys.exit(main(sys.argv[1:]))"

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]


@pytest.mark.parametrize(
    ("fault", "failures"),
    [
        (Fault.LOGIN, {1: "bridge login ended with 1"}),
        (
            Fault.REFRESH,
            {  # On a very busy machine the token's three seconds are over before act 4.
                4: "after the expiry the client got HTTP 401",
                3: "HTTP 401",
                2: "bridge --check kimi ended with 150",
            },
        ),
        (Fault.END, {6: "the broken answer looked like a whole one"}),
    ],
    ids=["login", "refresh", "end"],
)
def test_sabotage(tmp_path: Path, fault: Fault, failures: dict[int, str]) -> None:
    """An act that does not work is named with its reason, and the demo ends with 1."""
    done = subprocess.run(
        [sys.executable, "-c", PLAY, "--sabotage", fault],
        cwd=ROOT,
        env=leading_astray(tmp_path),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 1
    said = {
        act: f"FAILED act {act} ({ACTS[act - 1].title}): {reason}"
        for act, reason in failures.items()
    }
    failed = [act for act, line in said.items() if line in done.stdout]
    assert len(failed) == 1, done.stdout
    assert ("INFO daemon started" in done.stdout) == (failed[0] > 1)
    assert left_behind(tmp_path) == []
    assert daemons(tmp_path) == []
