"""Settings: file, environment and options become one configuration."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bridge.errors import BridgeError, ConfigError
from bridge.service.settings import load


def test_no_file_is_a_good_configuration(home: Path) -> None:
    """Nothing needs to be configured."""
    settings = load({})
    assert settings.config.server.port == 18462
    assert settings.paths.config == f"{home}/.config/bridge/config.toml"


def test_options_win(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An option beats the environment, which beats the file."""
    file = home / "my.toml"
    file.write_text("[server]\nport = 1001\ndrain_seconds = 7\n")
    monkeypatch.setenv("BRIDGE_PORT", "1002")
    assert load({"config": str(file)}).config.server.port == 1002
    settings = load({"config": str(file), "port": 1003})
    assert settings.config.server.port == 1003
    assert settings.config.server.drain_seconds == 7


def test_reread(home: Path) -> None:
    """Settings read again have what the file says by then."""
    file = home / "my.toml"
    file.write_text("[log]\nlevel = 'debug'\n")
    settings = load({"config": str(file)})
    file.write_text("[log]\nlevel = 'error'\n")
    assert settings.config.log_level == "debug"
    assert settings.reread().config.log_level == "error"


def test_a_file_asked_for_by_name_must_exist(home: Path) -> None:
    """A missing file is only fine where nobody named it."""
    with pytest.raises(ConfigError, match=r"gone.toml does not exist"):
        load({"config": str(home / "gone.toml")})


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_a_file_that_cannot_be_read(home: Path, content: bytes | None) -> None:
    """A file that is no text, or no file, is named with the reason."""
    file = home / "my.toml"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"my.toml cannot be read"):
        load({"config": str(file)})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be in somebody else's home")
def test_root_in_somebody_elses_home(home: Path) -> None:
    """Under sudo nothing is written into the home of another user."""
    os.chown(home, 65534, 65534)
    with pytest.raises(BridgeError, match="without sudo"):
        load({})
