"""The rows in force: the catalogue, as environment and configuration change it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.errors import ConfigError
from bridge.providers import Dialect
from bridge.service.catalogue import kimi_row
from bridge.service.settings import load


def test_configuration_changes_the_row(home: Path) -> None:
    """Region, models and headers of the configuration are the row's."""
    file = home / "c.toml"
    file.write_text(
        '[providers.kimi]\nregion = "global"\nmodels = { primary = "big", fast = "small" }\n'
        'headers = { X-Msh-Device-Name = "", X-Team = "blue" }\n'
    )
    row = kimi_row(load({"config": str(file)}), {"X-Msh-Device-Name": "host"})
    assert row.surfaces[Dialect.ANTHROPIC] == "https://api.kimi.ai/coding"
    assert (row.models.primary, row.models.fast) == ("big", "small")
    assert row.headers == {"X-Msh-Device-Name": "", "X-Team": "blue"}


def test_environment_beats_the_region(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The official CLI's variables win, and may not lead to plain http."""
    monkeypatch.setenv("KIMI_CODE_OAUTH_HOST", "https://auth.example")
    row = kimi_row(load({}), {})
    assert row.oauth is not None
    assert row.oauth.host == "https://auth.example"
    monkeypatch.setenv("KIMI_CODE_BASE_URL", "http://api.example/v1")
    with pytest.raises(ConfigError, match="KIMI_CODE_BASE_URL"):
        kimi_row(load({}), {})
