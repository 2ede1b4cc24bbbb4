"""What is said of a wrong configuration, and which of several places has the last word."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from bridge.config import Config, parse
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


def complaint(
    text: str,
    environment: Mapping[str, str] = NOTHING,
    options: Mapping[str, object] = NOTHING,
) -> str:
    """Return what is said of *text*, which must be wrong."""
    with pytest.raises(ConfigError) as caught:
        parsed(text, environment, options)
    return str(caught.value)


def test_order_of_places() -> None:
    """An option wins over the environment, the environment over the file."""
    text = "[server]\nport = 1\n\n[log]\nlevel = 'error'\n"
    environment = {"BRIDGE_PORT": "2", "BRIDGE_LOG_LEVEL": "debug"}
    file = parsed(text)
    assert (file.server.port, file.origins["server.port"]) == (1, f"{FILE}:2")
    assert file.origins["log.level"] == f"{FILE}:5"
    env = parsed(text, environment)
    assert (env.server.port, env.origins["server.port"]) == (2, "env BRIDGE_PORT")
    option = parsed(text, environment, {"port": 3, "log_level": None, "foreground": True})
    assert (option.server.port, option.origins["server.port"]) == (3, "option --port")
    assert (option.log_level, option.origins["log.level"]) == ("debug", "env BRIDGE_LOG_LEVEL")


def test_empty_variable() -> None:
    """A variable that is set to nothing counts as not set."""
    assert parsed("", {"BRIDGE_PORT": ""}).origins["server.port"] == "default"


def test_unknown_variable() -> None:
    """A variable that looks like ours is warned of; those that name files are known."""
    config = parsed("", {"BRIDGE_PROT": "1", "BRIDGE_CONFIG": "/c", "BRIDGE_PID_FILE": "/p"})
    assert config.warnings == ("BRIDGE_PROT: unknown variable (did you mean BRIDGE_PORT?)",)


MISTAKES = [
    ("[server]\n\nprot = 1", "3: server.prot: unknown key (did you mean port?)"),
    ("[sever]\nport = 1", "1: sever: unknown table (did you mean server?)"),
    ("port = 1", "1: port: unknown key (did you mean server.port?)"),
    ("[log]\nlevels = 'info'", "2: log.levels: unknown key (did you mean level?)"),
    ("[log]\ncolour = true", "2: log.colour: unknown key (known: level)"),
    ("[providers.kimmi]", "1: providers.kimmi: unknown provider (did you mean kimi?)"),
    ("[providers.minimax]", "1: providers.minimax: unknown provider (known: kimi)"),
    ("providers.kimi.model = 'k'", "1: providers.kimi.model: unknown key (did you mean models?)"),
    ("[providers.kimi.models]\nslow = 'k'", "2: providers.kimi.models.slow: unknown key"),
    ("server = 1", "1: server: expected a table: write [server]"),
    ("[[server]]\nport = 1", "1: server: expected a table: write [server]"),
    ("[server]\nport = '18462'", "2: server.port: expected a whole number from 1 to 65535, not"),
    ("[server]\nport = '18462'", "(write it without quotes)"),
    ("[server]\nport = true", "2: server.port: expected a whole number from 1 to 65535, not true"),
    ("[server]\nport = 0", "not 0"),
    ("[server]\nport = 65536", "not 65536"),
    ("[server]\nport = 80.0", "not 80.0"),
    ("server = { clients = 'same_user' }", "1: server.clients: expected one of"),
    ("server = { clients = 'same_user' }", "(did you mean same-user?)"),
    ("[log]\nlevel = 'INFO'", '"warning", "error", not \'INFO\' (did you mean info?)'),
    ("[log]\nlevel = 3", "2: log.level: expected one of"),
    ("server.drain_seconds = -1", "1: server.drain_seconds: expected a number of seconds from 0"),
    ("server.drain_seconds = nan", "not nan"),
    ("server.drain_seconds = inf", "not a number that large"),
    ("server.idle_seconds = '30'", "server.idle_seconds: expected a number of seconds from 0.1"),
    ("server.max_body = '64 M'", 'expected a number of bytes, or a text such as "64 MiB"'),
    ("server.max_body = 0", "1: server.max_body: expected a number of bytes"),
    ("server.max_body = 0x" + "f" * 5000, "not a number that large"),
    ("server.max_body = '300 MiB'", "server.body_budget (268435456) is less than server.max_body"),
    ("server.hosts = 'box.lan'", "1: server.hosts: expected a list of host names"),
    ("server.hosts = ['*']", "('*' is no host name)"),
    ("server.hosts = ['http://box.lan']", "('http://box.lan' is no host name)"),
    ("server.hosts = ['box.lan:99999']", "('box.lan:99999' is no host name)"),
    ("server.hosts = [1]", "not a list"),
    ("server.default_provider = 'minimax'", "expected \"kimi\", not 'minimax'"),
    ("network.proxy = 'socks5://h:1'", '1: network.proxy: expected a URL such as "http://HOST'),
    ("network.proxy = 'https://h:1'", '1: network.proxy: expected a URL such as "http://HOST'),
    ("network.proxy = 'http://h:x'", "1: network.proxy: expected a URL"),
    ("network.ca_file = 'ca.pem'", "expected an absolute path, or one that begins with ~/, not"),
    ("network.ca_file = {}", "not a table"),
    ("providers.kimi.region = 1979-05-27", "not a date or time"),
    ("providers.kimi.models = 'k3'", "expected a table: write [providers.kimi.models]"),
    ("providers.kimi.models.fast = ''", "(leave the key out to get the default)"),
    ("providers.kimi.models.fast = ' k3'", "providers.kimi.models.fast: expected a model name"),
    ("providers.kimi.headers = ['X-A: b']", "providers.kimi.headers: expected a table of header"),
    ("providers.kimi.headers = { 'X A' = 'b' }", "a header name has only letters, digits and"),
    ("providers.kimi.headers = { X-A = 1 }", "(the value of X-A is no single line of ASCII text)"),
    ("[providers.kimi.headers]\nX-A = 'k\u00fchl'", "the value of X-A is no single line"),
    ("[providers.kimi.headers]\nX-A = 'a\\r'\nX-B=\"\\n\"", "the value of X-B is no single line"),
    (
        "[server]\nport: 1",
        "2: not TOML: expected '=' after a key in a key/value pair: write NAME =",
    ),
    ("[server]\nport = ", "2: not TOML: invalid value"),
    ("[log]\nlevel = debug", "2: not TOML: invalid value: text is written in quotes"),
    ("[log]\nlevel = info", "2: not TOML: expected newline"),
    ("[log]\nlevel = 'info", "2: not TOML: "),
    (
        "[server]\nport = 1\nport = 2",
        "3: not TOML: cannot overwrite a value: this key stands twice",
    ),
    ("[log]\n[server]\n[log]", "3: not TOML: cannot declare"),
    ("[server\nport = 1", "1: not TOML: expected ']'"),
    ("server = " + "[" * 5000, "1: the values are nested too deeply"),
]


@pytest.mark.parametrize(("text", "part"), MISTAKES)
def test_mistake(text: str, part: str) -> None:
    """A mistake is answered with file, line, key and the way out."""
    said = complaint(text)
    assert said.startswith(f"{FILE}:")
    assert part in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("environment", "options", "said"),
    [
        ({"BRIDGE_PORT": "abc"}, {}, "BRIDGE_PORT: expected a whole number from 1 to 65535, not"),
        ({"BRIDGE_PORT": "1e999"}, {}, "BRIDGE_PORT: expected a whole number"),
        ({"BRIDGE_CLIENTS": "all"}, {}, 'BRIDGE_CLIENTS: expected one of "same-user"'),
        ({}, {"port": 0}, "--port: expected a whole number from 1 to 65535, not 0"),
        ({}, {"log_level": "warn"}, "--log-level: expected one of"),
        ({}, {"max_body": "1 GiB"}, "--max-body: server.body_budget (268435456) is less"),
    ],
)
def test_mistake_outside_of_the_file(
    environment: Mapping[str, str], options: Mapping[str, object], said: str
) -> None:
    """A mistake in a variable or an option is reported by its name and not by the file's."""
    assert complaint("", environment, options).startswith(said)


def test_all_mistakes_at_once() -> None:
    """Every mistake is told in the order of the lines, and those outside of the file come last."""
    text = '[log]\nlevel = "loud"\n[server]\nprot = 1\nport = "x"\n'
    lines = complaint(text, {"BRIDGE_PORT": "y"}).splitlines()
    places = [line.removeprefix(f"{FILE}:").split(":")[0] for line in lines]
    assert places == ["2", "4", "5", "BRIDGE_PORT"]


def test_wrong_key_under_an_override() -> None:
    """A wrong value in the file is told even where an option hides it."""
    assert "not 0" in complaint("server.port = 0", {}, {"port": 80})


@pytest.mark.parametrize(
    "text",
    [
        "network.proxy = 'ftp://ada:hunter2@proxy.lan'",
        "providers.kimi.headers = { Authorization = 'hunter2\u00e9' }",
        "providers.kimi.headers = { 'Authorization: hunter2' = '' }",
        "providers.kimi.headers = 'hunter2'",
    ],
)
def test_secret_in_a_mistake(text: str) -> None:
    """What may hold a password is not repeated in a complaint."""
    assert "hunter2" not in complaint(text)


def test_control_characters_in_a_key() -> None:
    """A key cannot smuggle a command to the terminal that shows the complaint."""
    assert "\x1b" not in complaint('"\\u001b[2J" = 1')
