"""Finds the settings files of agents, as each agent looks for them from this folder.

Observed with Claude Code 2.1.329 (which counts ``~/.claude.json`` and the files of the working
folder, and of the folders above it none), Codex 0.169 and OpenCode 1.18.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from bridge.doctor.judging.claude import Settings
from bridge.doctor.judging.document import File
from bridge.doctor.looking.files import settings_file


def claude(
    environment: Mapping[str, str], here: Path, managed: Path | None = None
) -> list[Settings]:
    """Return Claude Code's settings files for sessions in the folder *here*.

    *managed* is where those of the machine are, if not in their usual place.
    """
    home = Path(environment.get("HOME", "/"))
    own = Path(environment.get("CLAUDE_CONFIG_DIR") or home / ".claude")
    found = {
        path: Settings(settings_file(path), managed=True) for path in _managed(managed or _MANAGED)
    }
    beside = (
        Path(environment["CLAUDE_CONFIG_DIR"]) if environment.get("CLAUDE_CONFIG_DIR") else home
    )
    for path in (own / "settings.json", beside / ".claude.json"):
        found[path] = Settings(settings_file(path))
    for name in ("settings.json", "settings.local.json"):
        path = here / ".claude" / name
        found.setdefault(path, Settings(settings_file(path)))
    local = home / ".claude" / "settings.local.json"
    found.setdefault(local, Settings(settings_file(local), home_only=True))
    return list(found.values())


def codex(environment: Mapping[str, str]) -> list[File]:
    """Return Codex's configuration files: its own and those of its profiles."""
    home = Path(environment.get("HOME", "/"))
    folder = Path(environment.get("CODEX_HOME") or home / ".codex")
    return [
        settings_file(path) for path in (folder / "config.toml", *_listed(folder, "*.config.toml"))
    ]


def opencode(environment: Mapping[str, str], here: Path) -> list[File]:
    """Return OpenCode's configuration files for sessions in the folder *here*."""
    home = Path(environment.get("HOME", "/"))
    general = Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "opencode"
    paths = [general / name for name in ("config.json", "opencode.json", "opencode.jsonc")]
    folders = [home / ".opencode"]
    for above in reversed((here, *here.parents)):
        folders += [above, above / ".opencode"]
    if environment.get("OPENCODE_CONFIG_DIR"):
        folders.append(Path(environment["OPENCODE_CONFIG_DIR"]))
    paths += [folder / name for folder in folders for name in ("opencode.json", "opencode.jsonc")]
    if environment.get("OPENCODE_CONFIG"):
        paths.append(here / environment["OPENCODE_CONFIG"])
    return [settings_file(path) for path in dict.fromkeys(paths)]


def _managed(folder: Path) -> Iterator[Path]:
    yield folder / "managed-settings.json"
    yield from _listed(folder / "managed-settings.d", "*.json")


def _listed(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(folder.glob(pattern))
    except OSError:  # a folder that may not be listed has nothing to say to the agent either
        return []


_MANAGED = Path(
    "/Library/Application Support/ClaudeCode" if sys.platform == "darwin" else "/etc/claude-code"
)
