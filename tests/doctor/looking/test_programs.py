"""Which program a name leads to is found out by looking at the files themselves."""

from __future__ import annotations

from pathlib import Path

from bridge.doctor.judging.program import Found, Kind
from bridge.doctor.looking.programs import programs
from tests.world import installed


def script(path: Path, text: str = "#!/bin/sh\n") -> Path:
    """Write an executable script to *path*."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_ours(tmp_path: Path) -> None:
    """The installed script is ours, and so is a link to it."""
    named = installed()
    folder = str(Path(named).parent)
    found = programs({"PATH": folder}, named)
    assert found.runs
    assert found.bridge == Found(named, Kind.OURS)
    assert found.kimi_bridge == Found(installed("kimi-bridge"), Kind.OURS)
    link = tmp_path / "kimi-bridge"
    link.symlink_to(installed("kimi-bridge"))
    found = programs({"PATH": str(tmp_path)}, str(link))
    assert (found.runs, found.bridge) == (True, None)
    assert found.kimi_bridge == Found(str(link), Kind.OURS)


def test_a_stranger_and_a_sibling(tmp_path: Path) -> None:
    """What runs bridge.cli is another installation of it; anything else is a stranger."""
    stranger = script(tmp_path / "sbin" / "bridge")
    sibling = script(
        tmp_path / "old" / "bridge", "#!/x/python\nfrom bridge.cli import main\nmain()\n"
    )
    for path, kind in ((stranger, Kind.STRANGER), (sibling, Kind.SIBLING)):
        folders = f"{path.parent}:{Path(installed()).parent}"
        assert programs({"PATH": folders}, installed()).bridge == Found(str(path), kind)


def test_nothing_there(tmp_path: Path) -> None:
    """A path that leads nowhere, or to a folder, does not run."""
    for named in (tmp_path / "none", tmp_path):
        found = programs({"PATH": str(tmp_path)}, str(named))
        assert (found.runs, found.bridge, found.kimi_bridge) == (False, None, None)
