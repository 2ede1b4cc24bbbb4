"""Whose files they are: ours are used, others' are named and left alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from bridge.credentials.ownership import LIMIT, check_file, make_folder
from bridge.errors import CredentialUnreadable

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def test_own_file_passes(tmp_path: Path) -> None:
    """A file of ours of a sensible size is fine, whatever its mode."""
    path = tmp_path / "file"
    path.touch(0o644)
    check_file(path, path.stat())


@pytest.mark.parametrize(
    ("index", "value", "reason"),
    [
        (stat.ST_MODE, stat.S_IFIFO | 0o600, "is not a file: remove it"),
        (stat.ST_MODE, stat.S_IFDIR | 0o700, "is not a file: remove it"),
        (stat.ST_UID, os.geteuid() + 54321, r"belongs to uid \d+, not to .*: run bridge as"),
        (stat.ST_SIZE, LIMIT + 1, "larger than any credential: restore it"),
    ],
    ids=["fifo", "folder", "foreign", "huge"],
)
def test_other_file_is_refused(tmp_path: Path, index: int, value: int, reason: str) -> None:
    """Anything else is refused with its name, the reason and the next step."""
    path = tmp_path / "file"
    path.touch()
    status = list(path.stat())
    status[index] = value
    with pytest.raises(CredentialUnreadable, match=reason) as caught:
        check_file(path, os.stat_result(status))
    assert str(path) in str(caught.value)


def test_folder_is_made_for_this_user_alone(tmp_path: Path) -> None:
    """Share folder and credential folder are made private, and making them again is harmless."""
    folder = tmp_path / "share" / "credentials"
    make_folder(folder)
    make_folder(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700


def test_existing_folder_keeps_its_mode(tmp_path: Path) -> None:
    """What the official CLI made is left as it is."""
    folder = tmp_path / "credentials"
    folder.mkdir(0o755)
    folder.chmod(0o755)
    make_folder(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


@as_root
def test_root_makes_no_folder_in_a_users_home(tmp_path: Path) -> None:
    """Where the nearest existing folder is another user's, root makes none in it."""
    os.chown(tmp_path, NOBODY, NOBODY)
    with pytest.raises(CredentialUnreadable, match="belongs to nobody and this is root"):
        make_folder(tmp_path / "share" / "credentials")
    assert list(tmp_path.iterdir()) == []
