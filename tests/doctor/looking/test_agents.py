"""The settings files of agents are found where the agents look for them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bridge.doctor.judging.document import File
from bridge.doctor.looking.agents import claude, codex, opencode


def written(*paths: Path) -> None:
    """Write a file at each of *paths*."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")


def there(files: Iterable[File]) -> list[str]:
    """Return the paths of the files that exist."""
    return [file.path for file in files if file.text is not None]


def test_claude(tmp_path: Path) -> None:
    """The machine's, the person's and the folder's files count; one only in the home folder."""
    home, here, managed = tmp_path / "home", tmp_path / "project", tmp_path / "managed"
    wanted = [
        managed / "managed-settings.json",
        managed / "managed-settings.d" / "10-a.json",
        home / ".claude" / "settings.json",
        home / ".claude.json",
        here / ".claude" / "settings.json",
        here / ".claude" / "settings.local.json",
        home / ".claude" / "settings.local.json",
    ]
    written(*wanted, here / "sub" / ".claude" / "settings.json")
    found = claude({"HOME": str(home)}, here, managed)
    assert there(each.file for each in found) == [str(path) for path in wanted]
    assert [each.managed for each in found] == [True, True, *[False] * 5]
    assert [each.home_only for each in found] == [*[False] * 6, True]


def test_claude_in_the_home_folder(tmp_path: Path) -> None:
    """There, the person's files are the folder's too, and each counts once."""
    home = tmp_path / "home"
    written(home / ".claude" / "settings.json", home / ".claude" / "settings.local.json")
    found = claude({"HOME": str(home)}, home, tmp_path)
    assert len(there(each.file for each in found)) == 2
    assert not any(each.home_only for each in found)


def test_claude_with_a_folder_of_its_own(tmp_path: Path) -> None:
    """CLAUDE_CONFIG_DIR takes the place of both, the folder and the file beside it."""
    home, own = tmp_path / "home", tmp_path / "own"
    written(home / ".claude" / "settings.json", home / ".claude.json")
    written(own / "settings.json", own / ".claude.json")
    found = claude({"HOME": str(home), "CLAUDE_CONFIG_DIR": str(own)}, tmp_path, tmp_path)
    assert there(each.file for each in found) == [f"{own}/settings.json", f"{own}/.claude.json"]


def test_codex(tmp_path: Path) -> None:
    """Codex's file and those of its profiles, in its own folder or CODEX_HOME."""
    for folder, extra in (
        (tmp_path / ".codex", {}),
        (tmp_path / "x", {"CODEX_HOME": f"{tmp_path}/x"}),
    ):
        wanted = [folder / "config.toml", folder / "mine.config.toml"]
        written(*wanted, folder / "auth.json")
        assert there(codex({"HOME": str(tmp_path), **extra})) == [str(path) for path in wanted]


def test_opencode(tmp_path: Path) -> None:
    """The general files, those of the folder and of the ones above, and what variables name."""
    home, here = tmp_path / "home", tmp_path / "work" / "project"
    wanted = [
        home / ".config" / "opencode" / "config.json",
        home / ".config" / "opencode" / "opencode.json",
        home / ".opencode" / "opencode.jsonc",
        tmp_path / "work" / "opencode.json",
        here / "opencode.jsonc",
        here / ".opencode" / "opencode.json",
        tmp_path / "folder" / "opencode.json",
        here / "named.json",
    ]
    written(*wanted)
    environment = {
        "HOME": str(home),
        "OPENCODE_CONFIG_DIR": str(tmp_path / "folder"),
        "OPENCODE_CONFIG": "named.json",
    }
    assert there(opencode(environment, here)) == [str(path) for path in wanted]
    elsewhere = {"HOME": str(home), "XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    written(tmp_path / "xdg" / "opencode" / "opencode.json")
    found = there(opencode(elsewhere, tmp_path))
    assert f"{tmp_path}/xdg/opencode/opencode.json" in found
    assert str(wanted[0]) not in found
