"""Settings: file, environment and options become one configuration."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bridge.errors import BridgeError, ConfigError
from bridge.service.settings import catalogue, load


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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[network]\nca_file = '{}'\n", "c.toml:2: network.ca_file: {} does not exist: mend"),
        ("[providers.glm]\nca_file = '{}'", "c.toml:2: providers.glm.ca_file: {} does not exist"),
    ],
)
def test_a_file_of_authorities_must_exist(home: Path, text: str, said: str) -> None:
    """A file that is missing is told at once, by line and key, and not at the first request."""
    file, authorities = home / "c.toml", home / "ca.pem"
    file.write_text(text.format(authorities))
    with pytest.raises(ConfigError) as caught:
        load({"config": str(file)})
    assert said.format(authorities) in str(caught.value)
    authorities.touch()
    load({"config": str(file)})


def test_all_missing_files_at_once(home: Path) -> None:
    """Each missing file has a line of its own, as every other mistake has."""
    file = home / "c.toml"
    file.write_text("network.ca_file = '/nope/1'\nproviders.kimi.ca_file = '/nope/2'\n")
    with pytest.raises(ConfigError) as caught:
        load({"config": str(file)})
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == [
        "network.ca_file",
        "providers.kimi.ca_file",
    ]


def test_a_wrong_edit_is_refused_whole(home: Path) -> None:
    """Settings read again are the whole file's or none: the old ones stay as they were."""
    file = home / "c.toml"
    file.write_text("[providers.glm]\ntitle = 'one'\n")
    settings = load({"config": str(file)})
    file.write_text("[providers.glm]\ntitle = 'two'\nauth = 'none'\n")
    with pytest.raises(ConfigError, match=r"c.toml:3: providers.glm.auth"):
        settings.reread()
    assert settings.config.providers["glm"].title == "one"


def test_what_a_reload_does_not_bring_about(home: Path) -> None:
    """Only another port needs a restart; rows and limits do not."""
    file = home / "c.toml"
    file.write_text("[server]\nport = 1001\n")
    old = load({"config": str(file)})
    file.write_text("[server]\nport = 1001\nhosts = ['h']\n[providers.kimi]\nregion='global'\n")
    assert old.restart_needed(old.reread()) == ()
    file.write_text("[server]\nport = 1002\n")
    assert old.restart_needed(old.reread()) == ("server.port",)


def test_the_catalogue_is_installed() -> None:
    """The catalogue comes with the package."""
    assert "[providers.kimi]" in catalogue()
