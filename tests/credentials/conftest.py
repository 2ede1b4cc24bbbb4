"""Fixtures of the credential tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.credentials.store import Store
from tests.fakes.clock import FakeClock
from tests.fakes.credential import credential_file


@pytest.fixture(name="clock")
def _clock() -> FakeClock:
    """A clock that stands still until it is advanced."""
    return FakeClock()


@pytest.fixture(name="store")
def _store(tmp_path: Path, clock: FakeClock) -> Store:
    """The store of a user who has never logged in: not even the folder is there."""
    return Store(credential_file(tmp_path), clock)
