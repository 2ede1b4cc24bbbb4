"""What a person can get wrong in five minutes, and what they are told: place, key, way out."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.configured import FILE, complaint

ROW = "[providers.my-gateway]\nopenai = 'https://h/v1'\nkey = { env = 'MY_KEY' }\n"

#: A text that is wrong in one place, and a part of the one line that is said of it.
MISTAKES = [
    # spelling
    ("[server]\n\nprot = 1", "3: server.prot: unknown key (did you mean port?)"),
    ("[sever]\nport = 1", "1: sever: unknown table (did you mean server?)"),
    ("port = 1", "1: port: unknown key (did you mean server.port?)"),
    ("[log]\nlevels = 'info'", "2: log.levels: unknown key (did you mean level?)"),
    ("[log]\ncolour = true", "2: log.colour: unknown key (known: level)"),
    ("[server]\nprovider = 'glm'", "2: server.provider: unknown key (did you mean default_"),
    ("[provider.glm]\ntitle = 'x'", "1: provider: unknown table (did you mean providers?)"),
    ("[glm]\ntitle = 'x'", "1: glm: unknown table (did you mean providers.glm?)"),
    ("[providers.kimmi]", "1: providers.kimmi: unknown provider (did you mean kimi?)"),
    ("[providers.minmax]\nkey = { env = 'K' }", "unknown provider (did you mean minimax?)"),
    ("[providers.zai]\nkey = { env = 'K' }", "zai is another name of glm: write [providers.glm]"),
    ("providers.kimi.model = 'k'", "1: providers.kimi.model: unknown key (did you mean models?)"),
    ("[providers.glm]\napi_key = 'k'", "2: providers.glm.api_key: unknown key (did you mean key?)"),
    ("[providers.glm]\nbase_url = 'k'", "unknown key (did you mean anthropic or openai?)"),
    ("[providers.glm]\ntimeout = 5", "unknown key (did you mean timeout_seconds?)"),
    ("[providers.glm]\ncontext_window = 5", "unknown key (did you mean context?)"),
    ("[providers.kimi.models]\nslow = 'k'", "2: providers.kimi.models.slow: unknown key (known:"),
    ("[providers.glm.models]\nsonet = 'k'", "unknown key (did you mean sonnet?)"),
    # shape
    ("server = 1", "1: server: expected a table: write [server]"),
    ("[[server]]\nport = 1", "1: server: expected a table: write [server]"),
    ("[[providers]]\nname = 'glm'", "1: providers: expected a table: write [providers.NAME]"),
    ("[[providers.glm]]\ntitle = 'x'", "1: providers.glm: expected a table: write [providers.glm]"),
    ("providers.kimi.models = 'k3'", "write [providers.kimi.models] or models = { primary = … }"),
    ("[providers]\nmine = 'https://h'", "2: providers.mine: expected a table: write [providers."),
    # numbers, words and sizes
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
    ("server.default_provider = 'minmax'", "there is no provider 'minmax' (did you mean minimax?)"),
    ("server.default_provider = 'llama'", "there is no provider 'llama' (known: kimi, minimax,"),
    ("server.default_provider = 3", "server.default_provider: expected the name of a provider"),
    # the way out
    ("network.proxy = 'socks5://h:1'", '1: network.proxy: expected a URL such as "http://HOST'),
    ("network.proxy = 'https://h:1'", '1: network.proxy: expected a URL such as "http://HOST'),
    ("network.proxy = 'http://h:x'", "1: network.proxy: expected a URL"),
    ("network.proxy = ''", "1: network.proxy: expected a URL"),
    ("network.ca_file = 'ca.pem'", "expected an absolute path, or one that begins with ~/, not"),
    ("network.ca_file = {}", "not a table"),
    ("providers.glm.proxy = 'h:1'", 'providers.glm.proxy: expected a URL such as "http://HOST:'),
    # a provider's places
    (f"{ROW}anthropic = 'http://h'", "would carry the credential unencrypted: use https:// (http"),
    (f"{ROW}anthropic = 'h.example/api'", "'h.example/api' is no base URL: write https://HOST"),
    (f"{ROW}anthropic = '/'", "4: providers.my-gateway.anthropic: '/' is no base URL: write https"),
    (f"{ROW}anthropic = 'https://u:p@h'", "4: providers.my-gateway.anthropic: a base URL has no "),
    (f"{ROW}anthropic = 'https://h?key=k'", "has no user, password, query or fragment"),
    (f"{ROW}anthropic = 'https://h/v1/messages'", "write the base URL only, without /messages"),
    ("providers.glm.openai = 'https://h/v1/chat/completions'", "without /chat/completions"),
    (f"{ROW}anthropic = ['https://h']", 'expected a URL such as "https://HOST/PATH", or ""'),
    ("[providers.new]", ' or openai = "https://HOST/v1", and key = { env = "NAME" }'),
    ("[providers.new]\nkey = { env = 'K' }", "1: providers.new: a provider needs anthropic = "),
    (
        "[providers.new]\nopenai = 'https://h/v1'",
        "1: providers.new: a provider needs a key: write key",
    ),
    ("[providers.cerebras]\nopenai = ''", "1: providers.cerebras: a provider needs"),
    (f"{ROW}[providers.glm]\nopenai = ''\nresponses = true", 'it needs openai = "https://HOST'),
    ("providers.kimi.region = 'eu'", 'providers.kimi.region: expected one of "cn", "global", not'),
    ("providers.kimi.region = 1979-05-27", "not a date or time"),
    ("providers.minimax.region = 'cn'", "providers.minimax.region: only kimi has regions"),
    ("providers.glm.oauth_host = 'https://h'", "only kimi has a login: leave it out"),
    # names
    ("[providers.health]\nkey = { env = 'K' }", "1: providers.health: this name is a path of"),
    ("[providers.'My Gateway']", "1: providers.My Gateway: a provider's name has only a to z"),
    (f"{ROW}aliases = ['glm']", "providers.my-gateway.aliases: glm is a provider: choose"),
    (f"{ROW}aliases = ['zai']", "providers.my-gateway.aliases: zai is another name of glm:"),
    (f"{ROW}aliases = ['v1']", "this name is a path of bridge's own: choose another"),
    ("providers.kimi.aliases = 'k'", 'expected a list of names such as ["other-name"], not'),
    # credentials
    ("providers.glm.auth = 'oauth'", 'only kimi has a login: write auth = "key"'),
    ("providers.glm.auth = 'passthrough'", "only anthropic gets the caller's own credential"),
    ("providers.glm.auth = 'none'", 'expected one of "oauth", "key", "passthrough", not'),
    ("providers.kimi.key = { env = 'K' }", 'kimi uses the login: write auth = "key" too, or'),
    ("providers.anthropic.key = { env = 'K' }", "uses the caller's own credential: write auth ="),
    ("providers.glm.key_header = 'bearer'", 'expected one of "authorization", "x-api-key", not'),
    ("providers.glm.key = 'abcdef'", "a key does not belong in this file: put it into a file of"),
    ("providers.glm.key = ['abcdef']", "a key does not belong in this file: put it into a file of"),
    ("providers.glm.key = '$GLM_KEY'", 'write the name of the variable as { env = "NAME" }'),
    ("providers.glm.key = '~/glm.key'", 'write the path as { file = "PATH" }'),
    ("providers.glm.key = { files = '/k' }", "(did you mean file?)"),
    ("providers.glm.key = { value = 'K' }", 'expected { env = "NAME" }, { file = "PATH" } or {'),
    ("providers.glm.key = { env = '$K' }", "env is the name of a variable, without $"),
    ("providers.glm.key = { file = 'glm.key' }", "file is an absolute path, or one that begins"),
    ("providers.glm.key = { command = 'pass show k' }", "command is a list of texts such as"),
    ("providers.glm.key = { command = [] }", "command is a list of texts such as"),
    ("providers.glm.key = { env = 'K', file = '/k' }", "one place in each pair of braces"),
    ("providers.glm.key = []", "(name at least one)"),
    ("providers.glm.key_prefixes = 'sk-'", 'expected a list of texts such as ["sk-"]'),
    # models, headers and the rest
    ("providers.kimi.models.fast = ''", "(leave the key out to get the default)"),
    ("providers.kimi.models.fast = ' k3'", "providers.kimi.models.fast: expected a model name"),
    (f"{ROW}models = {{ fast = 'small' }}", "providers.my-gateway.models: name the primary model"),
    ("providers.kimi.headers = ['X-A: b']", "providers.kimi.headers: expected a table of header"),
    ("providers.kimi.headers = { 'X A' = 'b' }", "a header name has only letters, digits and"),
    ("providers.kimi.headers = { X-A = 1 }", "(the value of X-A is no single line of ASCII text)"),
    ("[providers.kimi.headers]\nX-A = 'k\u00fchl'", "the value of X-A is no single line"),
    ("[providers.kimi.headers]\nX-A = 'a\\r'\nX-B=\"\\n\"", "the value of X-B is no single line"),
    (
        "providers.glm.headers = { Authorization = 'b' }",
        "Authorization carries a credential: write",
    ),
    ("providers.glm.headers = { Host = 'b' }", "Host is bridge's own to send: leave it out"),
    ("providers.glm.context = '128k'", "expected a whole number from 1000 to 100000000, not"),
    ("providers.glm.timeout_seconds = '50m'", "expected a number of seconds from 1 to 86400, not"),
    ("providers.glm.counts_tokens = 'true'", "expected true or false, not 'true' (write it with"),
    ("providers.glm.responses = 1", "expected true or false, not 1"),
    ("providers.glm.quirks = ['no_images']", "expected a table such as { no_images = true }"),
    ("providers.glm.quirks = { no_image = true }", "(did you mean no_images?)"),
    ("providers.glm.quirks = { zzz = true }", "(known: no_tool_reference,"),
    ("providers.glm.quirks = { no_images = 1 }", "(no_images is true or false)"),
    # TOML
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
    """A mistake is answered with file, line, key and the way out, on one line."""
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
        ({"BRIDGE_DEFAULT_PROVIDER": "zia"}, {}, "BRIDGE_DEFAULT_PROVIDER: there is no provider"),
        ({"KIMI_CODE_OAUTH_HOST": "http://k.example"}, {}, "KIMI_CODE_OAUTH_HOST: 'http://k"),
        ({"KIMI_OAUTH_HOST": "k"}, {}, "KIMI_OAUTH_HOST: 'k' is no base URL"),
        ({"KIMI_CODE_BASE_URL": "/"}, {}, "KIMI_CODE_BASE_URL: '/' is no base URL: write https"),
        ({"KIMI_CODE_BASE_URL": "http://u:p@k"}, {}, "KIMI_CODE_BASE_URL: a base URL has no user"),
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


@pytest.mark.parametrize(
    "text",
    [
        "network.proxy = 'ftp://ada:hunter2@proxy.lan'",
        "providers.glm.proxy = 'ftp://ada:hunter2@proxy.lan'",
        "providers.kimi.headers = { X-A = 'hunter2\u00e9' }",
        "providers.kimi.headers = { Authorization = 'hunter2' }",
        "providers.kimi.headers = { 'Authorization: hunter2' = '' }",
        "providers.kimi.headers = 'hunter2'",
        "providers.glm.key = 'hunter2'",
        "providers.glm.key = ['hunter2']",
        "providers.glm.key = { value = 'hunter2' }",
        "providers.glm.key = { env = 'sk-hunter2' }",
        "providers.glm.key = { file = 'hunter2' }",
        "providers.glm.key = { command = 'echo hunter2' }",
        "providers.glm.key = { command = ['', 'hunter2'] }",
        "providers.glm.api_key = 'hunter2'",
        "providers.glm.key_prefixes = 'hunter2'",
        "providers.glm.anthropic = 'https://ada:hunter2@h'",
        "providers.glm.anthropic = 'https://h?key=hunter2'",
        "providers.glm.anthropic = ['https://ada:hunter2@h']",
    ],
)
def test_secret_in_a_mistake(text: str) -> None:
    """What may hold a password or a key is not repeated in a complaint."""
    assert "hunter2" not in complaint(text)


def test_control_characters_in_a_key() -> None:
    """A key cannot smuggle a command to the terminal that shows the complaint."""
    assert "\x1b" not in complaint('"\\u001b[2J" = 1')
    assert "\x1b" not in complaint('[providers."\\u001b[2J"]\nopenai = "https://\\u001b"')


def test_there_are_enough_of_them() -> None:
    """The list is long: a person has many ways to go wrong."""
    assert len({text for text, _ in MISTAKES}) >= 100
