"""As many descriptors as there may be."""

from __future__ import annotations

import subprocess
import sys

import pytest

ASK = (
    "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard})); "
    "from bridge.service.limits import allow_descriptors; print(allow_descriptors())"
)


@pytest.mark.parametrize(("soft", "hard", "then"), [(64, 256, 256), (256, 256, 256)])
def test_the_limit_is_raised_as_far_as_it_goes(soft: int, hard: int, then: int) -> None:
    """What a shell allows is less than what a process may have where it asks."""
    program = ASK.format(soft=soft, hard=hard)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert int(done.stdout) == then
