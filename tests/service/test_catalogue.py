"""The rows in force: the settings' own, with the headers of this device."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.errors import ConfigError, UsageError
from bridge.providers import Dialect
from bridge.service.catalogue import named, rows
from bridge.service.settings import Settings, load

DEVICE = {"X-Msh-Platform": "bridge", "X-Msh-Device-Name": "host"}


def settings(home: Path, text: str = "") -> Settings:
    """The settings of a file that says *text*."""
    file = home / "c.toml"
    file.write_text(text)
    return load({"config": str(file)})


def test_all_rows(home: Path) -> None:
    """Every provider is there under its name alone, the catalogue's first."""
    mine = "[providers.a]\nopenai = 'https://h/v1'\nkey = { env = 'A' }\n"
    known = rows(settings(home, mine), {})
    assert [*known] == [
        *("kimi", "minimax", "deepseek", "glm", "openrouter", "cerebras", "anthropic", "a")
    ]
    assert all(row.name == name for name, row in known.items())


def test_headers_of_the_device(home: Path) -> None:
    """Kimi alone gets them, and the configuration has the last word on each."""
    text = "[providers.kimi]\nheaders = { x-msh-device-name = '', X-Team = 'blue' }\n"
    known = rows(settings(home, text), DEVICE)
    assert known["kimi"].headers == {
        "X-Msh-Platform": "bridge",
        "x-msh-device-name": "",
        "X-Team": "blue",
    }
    assert not any(row.headers for name, row in known.items() if name != "kimi")


def test_configuration_changes_the_row(home: Path) -> None:
    """Region and models of the configuration are the row's."""
    text = '[providers.kimi]\nregion = "global"\nmodels = { primary = "big", fast = "small" }\n'
    row = rows(settings(home, text), {})["kimi"]
    assert row.surfaces[Dialect.ANTHROPIC] == "https://api.kimi.ai/coding"
    assert (row.models.primary, row.models.fast) == ("big", "small")


def test_environment_beats_the_region(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The official CLI's variables win, and may not lead to plain http."""
    monkeypatch.setenv("KIMI_CODE_OAUTH_HOST", "https://auth.example")
    row = rows(load({}), {})["kimi"]
    assert row.oauth is not None
    assert row.oauth.host == "https://auth.example"
    monkeypatch.setenv("KIMI_CODE_BASE_URL", "http://api.example/v1")
    with pytest.raises(ConfigError, match="KIMI_CODE_BASE_URL"):
        load({})


def test_named(home: Path) -> None:
    """A provider is found by its name and its aliases; the nearest name helps with any other."""
    known = rows(settings(home), {})
    assert named(known, "glm") is known["glm"]
    assert named(known, "zai") is known["glm"]
    with pytest.raises(UsageError, match=r"there is no provider minmax: did you mean minimax\?"):
        named(known, "minmax")
    with pytest.raises(UsageError, match="there is no provider llama: known are kimi, minimax"):
        named(known, "llama")
