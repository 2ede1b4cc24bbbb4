"""Files are read and weighed as they are, and nothing in a file's place keeps anybody waiting."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bridge.doctor.looking.files import LIMIT, item, nearest, newest, room, settings_file, user
from tests.world import NOBODY


def test_a_settings_file(tmp_path: Path) -> None:
    """A file is its text, without a byte order mark; what is no UTF-8 is no crash."""
    path = tmp_path / "s.json"
    path.write_bytes(b"\xef\xbb\xbf{}\xff")
    assert settings_file(path).text == "{}\ufffd"
    assert settings_file(path).problem == ""


def test_no_settings_file(tmp_path: Path) -> None:
    """What is not there has neither text nor problem."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "none", tmp_path / "file" / "below"):
        assert (settings_file(path).text, settings_file(path).problem) == (None, "")


def test_what_is_no_file(tmp_path: Path) -> None:
    """A folder, a FIFO, a loop of links or a huge file is told, and read by nobody."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "huge").write_bytes(b" " * (LIMIT + 1))
    for name in ("fifo", "folder", "loop", "huge"):
        found = settings_file(tmp_path / name)
        assert found.text is None, name
        assert found.problem, name


def test_an_item(tmp_path: Path) -> None:
    """A file of ours is told with its mode; it is private or steering only where it exists."""
    path = tmp_path / "key"
    path.touch(mode=0o644)
    path.chmod(0o644)
    found = item("key", str(path), str(tmp_path), private=True, steering=True)
    assert (found.path, found.mode, found.owner) == (str(path), 0o644, "")
    assert (found.private, found.steering, found.writable) == (True, True, True)
    missing = item("key", str(tmp_path / "a/b/c"), str(tmp_path), private=True, steering=True)
    assert (missing.path, missing.private, missing.steering) == (str(tmp_path), False, False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_an_item_of_somebody_else(tmp_path: Path) -> None:
    """Another owner is named for files and for folders in the home, and not above it."""
    home = tmp_path / "above" / "home"
    home.mkdir(parents=True)
    (home / "log").touch()
    for path in (home.parent, home, home / "log"):
        os.chown(path, NOBODY, NOBODY)
    assert item("log", str(home / "log"), str(home)).owner == user(NOBODY)
    assert item("log", str(home / "none"), str(home)).owner == user(NOBODY)
    assert item("log", str(home.parent / "none"), str(home)).owner == ""


def test_nearest(tmp_path: Path) -> None:
    """The nearest folder that exists, up to the root."""
    assert nearest(tmp_path / "a" / "b") == tmp_path
    assert nearest(Path("/nonexistent/a")) == Path("/")


def test_room(tmp_path: Path) -> None:
    """A disk has as many bytes free as the system says, for a folder yet to be made, too."""
    found = room(str(tmp_path / "a" / "b"))
    assert found is not None
    assert (found.path, found.free > 0) == (str(tmp_path), True)


def test_newest(tmp_path: Path) -> None:
    """The youngest of the files that exist counts."""
    for name, at in (("a", 100), ("b", 300)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (at, at))
    assert newest([tmp_path / name for name in "abc"]) == 300
    assert newest([tmp_path / "c"]) == 0


def test_user() -> None:
    """A user is named, or numbered where nobody knows the name."""
    assert user(0) == "root"
    assert user(3_999_999_999) == "uid 3999999999"
