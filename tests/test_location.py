"""Where the files are."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from bridge import location
from bridge.errors import ConfigError

HOME = {"HOME": "/home/ada"}


def test_defaults() -> None:
    """With a home folder and nothing else, every place is known."""
    assert location.config_file(HOME) == "/home/ada/.config/bridge/config.toml"
    assert location.key_file(HOME) == "/home/ada/.local/state/bridge/key"
    assert location.log_file(HOME) == "/home/ada/.local/state/bridge/bridge.log"
    assert location.pid_file(HOME) == "/home/ada/.local/run/bridge.pid"
    assert location.kimi_share(HOME) == "/home/ada/.kimi"


def test_xdg_folders() -> None:
    """The XDG folders replace those under the home folder."""
    environment = {**HOME, "XDG_CONFIG_HOME": "/etc/xdg/", "XDG_STATE_HOME": "/var/state"}
    assert location.config_file(environment) == "/etc/xdg/bridge/config.toml"
    assert location.key_file(environment) == "/var/state/bridge/key"
    assert location.log_file(environment) == "/var/state/bridge/bridge.log"


@pytest.mark.parametrize("folder", ["", "config", "./config", "~/config"])
def test_relative_xdg_folder(folder: str) -> None:
    """A relative XDG folder is ignored, as its specification demands."""
    environment = {**HOME, "XDG_CONFIG_HOME": folder}
    assert location.config_file(environment) == "/home/ada/.config/bridge/config.toml"


def test_own_variables() -> None:
    """BRIDGE_CONFIG, BRIDGE_PID_FILE and KIMI_SHARE_DIR name their places directly."""
    environment = {
        **HOME,
        "BRIDGE_CONFIG": "~/bridge.toml",
        "BRIDGE_PID_FILE": "/run/b.pid",
        "KIMI_SHARE_DIR": "/srv/kimi",
    }
    assert location.config_file(environment) == "/home/ada/bridge.toml"
    assert location.pid_file(environment) == "/run/b.pid"
    assert location.kimi_share(environment) == "/srv/kimi"


def test_empty_share_folder() -> None:
    """An empty KIMI_SHARE_DIR counts as none, as it does for the official CLI."""
    assert location.kimi_share({**HOME, "KIMI_SHARE_DIR": ""}) == "/home/ada/.kimi"


@pytest.mark.parametrize(
    ("variable", "place"),
    [
        ("BRIDGE_CONFIG", location.config_file),
        ("BRIDGE_PID_FILE", location.pid_file),
        ("KIMI_SHARE_DIR", location.kimi_share),
    ],
)
def test_relative_variable(variable: str, place: Callable[[Mapping[str, str]], str]) -> None:
    """A place relative to who knows what is refused by the name of its variable."""
    with pytest.raises(ConfigError, match=f"{variable}: 'x' is relative"):
        place({**HOME, variable: "x"})


@pytest.mark.parametrize("environment", [{}, {"HOME": ""}, {"HOME": "ada"}])
def test_no_home(environment: dict[str, str]) -> None:
    """Without an absolute home folder nothing is guessed."""
    with pytest.raises(ConfigError, match="HOME"):
        location.pid_file(environment)


def test_home_of_root() -> None:
    """A trailing slash, or a home folder that is nothing but one, does no harm."""
    assert location.pid_file({"HOME": "/"}) == "/.local/run/bridge.pid"
    assert location.pid_file({"HOME": "/home/ada/"}) == "/home/ada/.local/run/bridge.pid"


def test_imports() -> None:
    """Knowing the places imports nothing that a bare interpreter has not loaded anyway."""
    code = (
        "import sys; before = set(sys.modules); import bridge.location; "
        "print(sorted(set(sys.modules) - before))"
    )
    out = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=Path(location.__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout.strip() == "['__future__', 'bridge', 'bridge.errors', 'bridge.location']"
