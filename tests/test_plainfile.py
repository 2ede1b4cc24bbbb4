"""Small files are read, and whatever else stands in their place is refused at once."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from bridge import plainfile


def test_a_file_is_read(tmp_path: Path) -> None:
    """All of it, through a link too."""
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_bytes(b"x" * 1000)
    link.symlink_to(file)
    assert plainfile.read(file) == plainfile.read(str(link), 1000) == b"x" * 1000


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A pipe that nobody writes to, a device without end, a folder, a giant, and nothing at all."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    with (tmp_path / "giant").open("w") as giant:
        giant.truncate(1 << 30)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count, not paths
    for name, number in (
        ("fifo", errno.EINVAL),
        ("zero", errno.EINVAL),
        ("folder", errno.EISDIR),
        ("giant", errno.EFBIG),
        ("nothing", errno.ENOENT),
    ):
        with pytest.raises(OSError, match=name) as caught:
            plainfile.read(tmp_path / name)
        assert caught.value.errno == number
        assert caught.value.strerror
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
