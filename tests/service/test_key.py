"""The caller key: made once, private, the same for ever."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from bridge.errors import ServiceError
from bridge.service.key import caller_key


def test_made_once(tmp_path: Path) -> None:
    """The first start makes a key of its owner's alone, and later starts find the same."""
    path = tmp_path / "state" / "bridge" / "key"
    key = caller_key(path)
    assert len(key) > 40
    assert caller_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert os.listdir(path.parent) == ["key"]  # noqa: PTH208 - names are what is compared


def test_many_at_once(tmp_path: Path) -> None:
    """Starts that race for the first key agree on one."""
    keys: set[str] = set()
    threads = [
        threading.Thread(target=lambda: keys.add(caller_key(tmp_path / "key"))) for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 1


def test_an_empty_file_is_no_key(tmp_path: Path) -> None:
    """A file left empty by a full disk is filled, not used."""
    path = tmp_path / "key"
    path.touch(mode=0o600)
    assert len(caller_key(path)) > 40


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        ("my-tiny-key", 0o600, "too short"),
        ("x" * 40, 0o644, "can be read by others"),
        ("schlüssel" * 5, 0o600, "no text"),
    ],
)
def test_keys_that_cannot_be_trusted(tmp_path: Path, content: str, mode: int, words: str) -> None:
    """A key that others know, or that is none, stops the start and names the file."""
    path = tmp_path / "key"
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(ServiceError, match=words) as caught:
        caller_key(path)
    assert str(path) in str(caught.value)
    assert content not in str(caught.value)


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    """What is no file is said to be none."""
    (tmp_path / "key").mkdir()
    with pytest.raises(ServiceError, match="key"):
        caller_key(tmp_path / "key")


def test_nowhere_to_put_it(tmp_path: Path) -> None:
    """A folder that cannot be made is named with the reason."""
    (tmp_path / "file").touch()
    with pytest.raises(ServiceError, match="cannot be used"):
        caller_key(tmp_path / "file" / "key")
