"""People and machines for process tests that the plain :class:`World` does not have."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.world import NOBODY, World, belongs_to, world


@pytest.fixture(name="nobody")
def _nobody() -> Iterator[World]:
    """The machine of a person who is not root, whom file modes bind; everybody may call it."""
    if os.geteuid() != 0:
        pytest.skip("only root can start something as somebody else")
    with tempfile.TemporaryDirectory(prefix="bridge-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with world(folder, uid=NOBODY, stern=True) as machine:
            if machine.bridge("--version").returncode != 0:
                pytest.skip("this checkout cannot be read by a second user")
            machine.log_in()
            machine.configure('[server]\nclients = "any"\n')  # the tester is another user
            belongs_to(machine.home, NOBODY)
            yield machine
