"""What a configuration says, and what is said of a wrong one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.config import Config, parse, paths
from bridge.errors import ConfigError

FILE = "~/.config/bridge/config.toml"
NOTHING: Mapping[str, str] = {}


def parsed(
    text: str,
    environment: Mapping[str, str] = NOTHING,
    options: Mapping[str, object] = NOTHING,
) -> Config:
    """Parse *text* for a person whose home is /home/ada."""
    return parse(text, file=FILE, environment={"HOME": "/home/ada", **environment}, options=options)


def test_no_text() -> None:
    """No file is a good configuration: every key has its default and says so."""
    config = parsed("")
    assert config.server.port == 18462
    assert config.server.clients is None
    assert config.server.max_body == 64 * 1024 * 1024
    assert config.server.body_budget == 256 * 1024 * 1024
    assert config.server.idle_seconds == 1800
    assert config.kimi.region == "cn"
    assert set(config.origins.values()) == {"default"}
    assert config.warnings == ()


def test_every_key() -> None:
    """A file that sets every key is taken at its word."""
    config = parsed(
        """
        [server]
        port = 8080
        clients = "key"
        default_provider = "kimi"
        drain_seconds = 1.5
        idle_seconds = 60
        max_body = "1 MiB"
        body_budget = 2_000_000
        hosts = ["Box.lan", "box.lan:8080", "[fd00::1]:80"]
        [log]
        level = "debug"
        [network]
        proxy = "http://ada:secret@proxy.lan:3128"
        ca_file = "~/ca.pem"
        [providers.kimi]
        region = "global"
        headers = { X-Msh-Platform = "kimi_cli", X-Msh-Device-Name = "" }
        models = { primary = "k3", fast = "kimi-for-coding" }
        """
    )
    assert (config.server.port, config.server.clients, config.log_level) == (8080, "key", "debug")
    assert (config.server.drain_seconds, config.server.idle_seconds) == (1.5, 60.0)
    assert (config.server.max_body, config.server.body_budget) == (1 << 20, 2_000_000)
    assert config.server.hosts == ("box.lan", "box.lan:8080", "[fd00::1]:80")
    assert config.network.proxy == "http://ada:secret@proxy.lan:3128"
    assert config.network.ca_file == "/home/ada/ca.pem"
    assert config.kimi.region == "global"
    assert config.kimi.headers == {"X-Msh-Platform": "kimi_cli", "X-Msh-Device-Name": ""}
    assert (config.kimi.models.primary, config.kimi.models.fast) == ("k3", "kimi-for-coding")
    assert not {place for place in config.origins.values() if not place.startswith(FILE)}


def test_one_model_alone() -> None:
    """Naming the primary model leaves the fast one as it was."""
    models = parsed('providers.kimi.models.primary = "k3"').kimi.models
    assert (models.primary, models.fast) == ("k3", "kimi-k2.5")


def test_secrets_in_repr() -> None:
    """A configuration that ends in a traceback shows neither proxy password nor header value."""
    config = parsed(
        'network.proxy = "http://ada:hunter2@p:1"\nproviders.kimi.headers = { A = "hunter2" }'
    )
    assert "hunter2" not in repr(config)


def test_values_are_frozen() -> None:
    """Nobody changes a configuration in force; a reload makes another."""
    with pytest.raises(FrozenInstanceError):
        parsed("").server.port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("BRIDGE_PORT", "8080", 8080),
        ("BRIDGE_CLIENTS", "any", "any"),
        ("BRIDGE_DRAIN_SECONDS", "2.5", 2.5),
        ("BRIDGE_DEFAULT_PROVIDER", "kimi", "kimi"),
        ("BRIDGE_MAX_BODY", "1 MiB", 1 << 20),
        ("BRIDGE_BODY_BUDGET", "100000000", 100_000_000),
        ("BRIDGE_IDLE_SECONDS", "5", 5.0),
    ],
)
def test_variable_of_each_scalar(variable: str, text: str, value: object) -> None:
    """Each scalar of the server has a variable that is called BRIDGE_ and its name."""
    server = parsed("", {variable: text}).server
    assert getattr(server, variable.removeprefix("BRIDGE_").lower()) == value


def test_byte_order_mark() -> None:
    """The mark that some editors put first does no harm."""
    assert parsed("\ufeff[server]\nport = 5").server.port == 5


def test_home_in_a_path_without_a_home() -> None:
    """A path under ~ needs a home folder, and the complaint says so."""
    with pytest.raises(ConfigError, match="HOME is not set"):
        parse("network.ca_file = '~/ca.pem'", file=FILE, environment={}, options={})


_NAMES = (
    "server",
    "port",
    "log",
    "level",
    "providers",
    "kimi",
    "models",
    "headers",
    "x",
    "[server]",
)
_MARKS = ("[", "]", "[[", "]]", "{", "}", "=", ",", ".", "#", " ", "\n", "\r\n", "\\", "\x00")
_TEXTS = ("'", '"', "'''", '"""', "'key'", "\u00e9", "\ufeff")
_NUMBERS = ("1", "-1", "0x1f", "1.5", "nan", "true", "1979-05-27")
WORDS = st.sampled_from(_NAMES + _MARKS + _TEXTS + _NUMBERS)


@given(
    st.one_of(st.text(), st.lists(WORDS, max_size=40).map(" ".join), st.lists(WORDS).map("".join))
)
def test_any_text(text: str) -> None:
    """Whatever the text, it becomes a configuration or a complaint that names a line."""
    try:
        said = str(parsed(text).server.port)
    except ConfigError as error:
        said = str(error)
    assert all(line.startswith(f"{FILE}:") or 1 <= int(line) <= 65535 for line in said.split("\n"))


def test_paths() -> None:
    """The places of the files come from the environment in one piece."""
    places = paths({"HOME": "/home/ada", "XDG_STATE_HOME": "/state", "KIMI_SHARE_DIR": "/kimi"})
    assert places.config == "/home/ada/.config/bridge/config.toml"
    assert places.key == "/state/bridge/key"
    assert places.log == "/state/bridge/bridge.log"
    assert places.pid_file == "/home/ada/.local/run/bridge.pid"
    assert places.kimi_share == "/kimi"
