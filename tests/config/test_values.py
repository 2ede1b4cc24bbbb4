"""What a configuration says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.config import parse, paths
from bridge.errors import ConfigError
from bridge.service.settings import catalogue
from tests.configured import FILE, configured


def test_no_text() -> None:
    """No file is a good configuration: every key has its default and says so."""
    config = configured()
    assert config.server.port == 18462
    assert config.server.clients is None
    assert config.server.max_body == 64 * 1024 * 1024
    assert config.server.body_budget == 256 * 1024 * 1024
    assert config.server.idle_seconds == 1800
    assert config.server.default_provider == "kimi"
    assert set(config.origins.values()) == {"default", "built-in", "region cn"}
    assert config.warnings == ()


def test_every_key() -> None:
    """A file that sets every general key is taken at its word."""
    config = configured(
        """
        [server]
        port = 8080
        clients = "key"
        default_provider = "minimax"
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
        """
    )
    assert (config.server.port, config.server.clients, config.log_level) == (8080, "key", "debug")
    assert (config.server.drain_seconds, config.server.idle_seconds) == (1.5, 60.0)
    assert (config.server.max_body, config.server.body_budget) == (1 << 20, 2_000_000)
    assert config.server.hosts == ("box.lan", "box.lan:8080", "[fd00::1]:80")
    assert config.server.default_provider == "minimax"
    assert config.network.proxy == "http://ada:secret@proxy.lan:3128"
    assert config.network.ca_file == "/home/ada/ca.pem"
    general = {k: v for k, v in config.origins.items() if not k.startswith("providers.")}
    assert not {place for place in general.values() if not place.startswith(FILE)}


def test_an_alias_by_default() -> None:
    """The default provider may be called by its other name."""
    assert configured("server.default_provider = 'zai'").server.default_provider == "glm"


def test_secrets() -> None:
    """Neither a traceback nor an entry has a proxy's password, a header or words of a command."""
    config = configured(
        'network.proxy = "http://ada:hunter2@p:1"\n'
        "[providers.kimi]\n"
        'headers = { A = "hunter2" }\nproxy = "http://ada:hunter2@p:1"\n'
        "[providers.minimax]\n"
        'key = [{ command = ["pass", "hunter2"] }, { env = "M" }]\n'
    )
    assert "hunter2" not in repr(config)
    shown = {".".join(entry.path): entry.shown for entry in config.entries}
    assert shown["network.proxy"] == "http://***@p:1"
    assert shown["providers.kimi.headers"] == {"A": "***"}
    assert shown["providers.minimax.key"] == [{"command": ["pass", "***"]}, {"env": "M"}]


def test_values_are_frozen() -> None:
    """Nobody changes a configuration in force; a reload makes another."""
    with pytest.raises(FrozenInstanceError):
        configured().server.port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("BRIDGE_PORT", "8080", 8080),
        ("BRIDGE_CLIENTS", "any", "any"),
        ("BRIDGE_DRAIN_SECONDS", "2.5", 2.5),
        ("BRIDGE_DEFAULT_PROVIDER", "glm", "glm"),
        ("BRIDGE_MAX_BODY", "1 MiB", 1 << 20),
        ("BRIDGE_BODY_BUDGET", "100000000", 100_000_000),
        ("BRIDGE_IDLE_SECONDS", "5", 5.0),
    ],
)
def test_variable_of_each_scalar(variable: str, text: str, value: object) -> None:
    """Each scalar of the server has a variable that is called BRIDGE_ and its name."""
    server = configured("", {variable: text}).server
    assert getattr(server, variable.removeprefix("BRIDGE_").lower()) == value


def test_byte_order_mark() -> None:
    """The mark that some editors put first does no harm."""
    assert configured("\ufeff[server]\nport = 5").server.port == 5


def test_home_in_a_path_without_a_home() -> None:
    """A path under ~ needs a home folder, and the complaint says so."""
    text = "network.ca_file = '~/ca.pem'"
    with pytest.raises(ConfigError, match="HOME is not set"):
        parse(text, file=FILE, environment={}, options={}, catalogue=catalogue())


_NAMES = (
    "server",
    "port",
    "log",
    "level",
    "providers",
    "kimi",
    "models",
    "headers",
    "key",
    "env",
    "x",
    "[server]",
    "[providers.x]",
)
_MARKS = ("[", "]", "[[", "]]", "{", "}", "=", ",", ".", "#", " ", "\n", "\r\n", "\\", "\x00")
_TEXTS = ("'", '"', "'''", '"""', "'key'", "'https://h'", "\u00e9", "\ufeff")
_NUMBERS = ("1", "-1", "0x1f", "1.5", "nan", "true", "1979-05-27")
WORDS = st.sampled_from(_NAMES + _MARKS + _TEXTS + _NUMBERS)
_FIELDS = sorted({path.rpartition(".")[2] for path in configured().origins})
_VALUES = ("1", "true", "'a'", "'https://h/v1'", "[]", "['a']", "{}", "{env='A'}", "[{file='/a'}]")
#: Tables of providers with any value behind any field: valid TOML that is almost right.
_ROWS = st.dictionaries(
    st.sampled_from(("kimi", "glm", "zai", "new", "health", "mini max")),
    st.dictionaries(st.sampled_from(_FIELDS), st.sampled_from(_VALUES)),
).map(
    lambda rows: "\n".join(
        f'[providers."{name}"]\n' + "\n".join(f"{key} = {value}" for key, value in fields.items())
        for name, fields in rows.items()
    )
)


@given(
    st.one_of(
        st.text(),
        st.lists(WORDS, max_size=40).map(" ".join),
        st.lists(WORDS).map("".join),
        _ROWS,
    )
)
def test_any_text(text: str) -> None:
    """Whatever the text, it becomes a configuration or a complaint that names a line."""
    try:
        said = str(configured(text).server.port)
    except ConfigError as error:
        said = str(error)
    count = len(text.splitlines()) or 1
    for line in said.split("\n"):
        place, _, rest = line.removeprefix(f"{FILE}:").partition(": ")
        assert 1 <= int(place) <= (max(count, text.count("\n") + 1) if rest else 65535)


@given(st.dictionaries(st.sampled_from(("KIMI_CODE_BASE_URL", "BRIDGE_PORT")), st.text()))
def test_any_variable(environment: Mapping[str, str]) -> None:
    """Whatever a variable holds, it counts or is complained of by its name."""
    try:
        configured("", environment)
    except ConfigError as error:
        assert all(line.split(":")[0] in environment for line in str(error).split("\n"))  # noqa: PT017


def test_paths() -> None:
    """The places of the files come from the environment in one piece."""
    places = paths({"HOME": "/home/ada", "XDG_STATE_HOME": "/state", "KIMI_SHARE_DIR": "/kimi"})
    assert places.config == "/home/ada/.config/bridge/config.toml"
    assert places.key == "/state/bridge/key"
    assert places.log == "/state/bridge/bridge.log"
    assert places.pid_file == "/home/ada/.local/run/bridge.pid"
    assert places.kimi_share == "/kimi"
