"""Unit files are written whole or not at all, and only where nobody else's are in the way."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from bridge.errors import BridgeError, ServiceError
from bridge.units.folder import Folder
from bridge.units.order import Made


class Ear:
    """Hears what is told."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def __call__(self, what: str) -> None:
        """Hear *what*."""
        self.heard.append(what)


def made(content: bytes) -> Made | None:
    """Ours begin with a hash."""
    return Made("p", "v") if content.startswith(b"#") else None


def test_write(tmp_path: Path) -> None:
    """A file is for all to read, in folders for its owner; the same again is no change."""
    ear = Ear()
    folder = Folder(tmp_path / "a/b", made, ear)
    assert folder.content("x") is None
    assert folder.write("x", b"#1") is True
    assert folder.write("x", b"#1") is False
    assert folder.write("x", b"#2") is True
    path = tmp_path / "a/b/x"
    assert path.read_bytes() == b"#2"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [each.name for each in path.parent.iterdir()] == ["x"]
    assert ear.heard == [f"write {path}", f"write {path}"]
    assert folder.made("x") == Made("p", "v")


def test_remove(tmp_path: Path) -> None:
    """What is there is removed, links to nowhere included; the rest is passed over."""
    folder = Folder(tmp_path, made, Ear())
    folder.write("x", b"#")
    (tmp_path / "link").symlink_to("nowhere")
    assert folder.remove("x", "link", "missing") is True
    assert folder.remove("x", "link", "missing") is False
    assert list(tmp_path.iterdir()) == []


def test_dry(tmp_path: Path) -> None:
    """Dry, everything is told and nothing done."""
    ear = Ear()
    (tmp_path / "x").write_bytes(b"#")
    folder = Folder(tmp_path, made, ear, is_dry=True)
    assert folder.write("x", b"#2") is True
    assert folder.remove("x") is True
    assert (tmp_path / "x").read_bytes() == b"#"
    assert ear.heard == [f"write {tmp_path}/x", f"remove {tmp_path}/x"]


def test_of_others(tmp_path: Path) -> None:
    """A file of somebody else's cannot be claimed."""
    (tmp_path / "x").write_bytes(b"mine")
    folder = Folder(tmp_path, made, Ear())
    with pytest.raises(ServiceError, match="was not written by bridge service install"):
        folder.claim("x")
    folder.claim("missing")
    assert folder.made("x") is None


def test_what_is_in_the_way(tmp_path: Path) -> None:
    """A disk or folder that refuses is one line with the file's name, and leaves nothing behind."""
    folder = Folder(tmp_path, made, Ear())
    (tmp_path / "x").mkdir()
    for act in (
        lambda: folder.content("x"),
        lambda: folder.write("x", b"#"),
        lambda: folder.remove("x"),
    ):
        with pytest.raises(ServiceError, match=f"{tmp_path}/x cannot be read or written"):
            act()
    (tmp_path / "file").touch()
    with pytest.raises(ServiceError):
        Folder(tmp_path / "file/below", made, Ear()).write("x", b"#")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "x"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can leave root's files elsewhere")
def test_somebody_elses_home(tmp_path: Path) -> None:
    """Root leaves no file in another user's home."""
    tmp_path.chmod(0o755)
    os.chown(tmp_path, 1000, 1000)
    with pytest.raises(BridgeError, match="this is root"):
        Folder(tmp_path / "units", made, Ear()).write("x", b"#")
    assert list(tmp_path.iterdir()) == []
