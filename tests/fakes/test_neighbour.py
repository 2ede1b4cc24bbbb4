"""The fake neighbour treats the shared credential as the official CLI does."""

from __future__ import annotations

import fcntl
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.authorization import AuthorizationProcess, write_credential
from tests.fakes.clock import EPOCH
from tests.fakes.credential import KEYS, credential_file, lock_file, read_credential
from tests.fakes.neighbour import Neighbour

NOW = EPOCH + 10 * 365 * 86_400  # for tokens that are fresh on any machine that runs this


@pytest.fixture(name="server")
def _server() -> Iterator[AuthorizationProcess]:
    with AuthorizationProcess() as server:
        yield server


@pytest.fixture(name="share_dir")
def _share_dir(server: AuthorizationProcess, tmp_path: Path) -> Path:
    """A share directory whose credential has expired."""
    write_credential(tmp_path, server.seed(), 0, extra="unknown")
    return tmp_path


def test_the_file_is_as_the_official_cli_writes_it(tmp_path: Path) -> None:
    """The credential is one line with six keys in order, mode 0600, replaced as a whole."""
    answer = {"access_token": "a", "refresh_token": "r", "expires_in": 900, "scope": "kimi-code"}
    path = write_credential(tmp_path, {**answer, "token_type": "Bearer"}, EPOCH)
    assert path.read_text() == (
        '{"access_token": "a", "refresh_token": "r", "expires_at": 1800000900.0, '
        '"scope": "kimi-code", "token_type": "Bearer", "expires_in": 900.0}'
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(KeyError):
        write_credential(tmp_path, answer, EPOCH)
    assert list(path.parent.iterdir()) == [path]


def test_refreshes_what_is_due_and_drops_unknown_keys(
    server: AuthorizationProcess, share_dir: Path
) -> None:
    """An expired token is replaced by a living one, in a file with the six keys only."""
    with Neighbour(share_dir, server.url) as neighbour:
        assert neighbour.wait() == {"refreshed": 1}
    found = read_credential(share_dir)
    assert found is not None
    assert tuple(found) == KEYS
    assert server.valid(found["access_token"])
    assert stat.S_IMODE(credential_file(share_dir).stat().st_mode) == 0o600
    assert stat.S_IMODE(lock_file(share_dir).stat().st_mode) == 0o600


def test_leaves_a_fresh_token_alone(server: AuthorizationProcess, tmp_path: Path) -> None:
    """A token with more than half of its life left is used as it is."""
    write_credential(tmp_path, server.seed(), NOW)
    with Neighbour(tmp_path, server.url, rounds=2) as neighbour:
        assert neighbour.wait() == {"fresh": 2}
    assert not lock_file(tmp_path).exists()


def test_two_neighbours_refresh_once_between_them(
    server: AuthorizationProcess, share_dir: Path
) -> None:
    """Who waits for the lock finds the new token in the file, and adopts it."""
    second = Neighbour(share_dir, server.url, patience=0.01, impatient_after=1000)
    with Neighbour(share_dir, server.url, stop_at="locked") as first:
        first.until("locked")
        with second:
            second.until("waiting")
            first.go_on()
            assert first.wait() == {"refreshed": 1}
            assert second.wait() == {"waiting": 1, "adopted": 1}
    assert server.state()["spent_presented"] == 0


def test_goes_ahead_unlocked_when_it_has_waited_long_enough(
    server: AuthorizationProcess, share_dir: Path
) -> None:
    """A lock held for too long does not stop it: it refreshes all the same."""
    with lock_file(share_dir).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with Neighbour(share_dir, server.url, patience=0.001) as neighbour:
            assert neighbour.wait() == {"waiting": 1, "unlocked": 1, "refreshed": 1}


def test_a_refused_token_stays_in_the_file(server: AuthorizationProcess, share_dir: Path) -> None:
    """A refusal changes nothing on disk, and the spent token has been presented once."""
    before = credential_file(share_dir).read_bytes()
    with Neighbour(share_dir, server.url) as neighbour:
        neighbour.wait()
    credential_file(share_dir).write_bytes(before)
    with Neighbour(share_dir, server.url) as neighbour:
        assert neighbour.until("refused")["status"] == 400
    assert credential_file(share_dir).read_bytes() == before
    assert server.state()["spent_presented"] == 1


def test_says_that_nobody_is_logged_in(server: AuthorizationProcess, tmp_path: Path) -> None:
    """Without a credential it asks the server for nothing."""
    with Neighbour(tmp_path, server.url) as neighbour:
        assert neighbour.wait() == {"logged-out": 1}
