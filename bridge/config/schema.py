"""Lists the keys of the configuration: where each stands, what it accepts, and its default.

Pure. Every provider has the same keys, under its own name; the row of Kimi alone knows variables
of the official CLI.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

from bridge.config import fields
from bridge.config.kinds import (
    FILE,
    FLAG,
    HOSTS,
    MIB,
    OWN_PROXY,
    PROXY,
    SIZE,
    Kind,
    choice,
    seconds,
    text,
    whole,
)
from bridge.config.toml import KeyPath
from bridge.providers import KIMI_REGIONS, Auth, KeyHeader, KeyPlace

T_co = TypeVar("T_co", covariant=True)

#: What stands for the name of a provider in the keys that all of them have.
ANY: Final = "NAME"


@dataclass(frozen=True, slots=True)
class Key(Generic[T_co]):
    """One key: where it stands, what it accepts, and what holds where nobody sets it.

    *option* is its name on the command line and, in capitals with ``BRIDGE_`` before it, in the
    environment; *variables* are others that override it, the first that is not empty wins.
    """

    path: KeyPath
    kind: Kind[T_co]
    default: T_co
    option: str = ""
    variables: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The key with its tables, as one writes it: ``server.port``."""
        return ".".join(self.path)

    @property
    def variable(self) -> str:
        """The environment variable of ours that overrides the key, or an empty string."""
        return f"BRIDGE_{self.option.upper()}" if self.option else ""

    def of(self, provider: str) -> Key[T_co]:
        """Return the key that every provider has, under the name of this one."""
        kind, variables = self.kind, self.variables
        if provider == "kimi":
            kind, variables = _KIMI.get(self.path[2:], (kind, variables))
        path = (self.path[0], provider, *self.path[2:])
        return replace(self, path=path, kind=kind, variables=variables)


PORT: Final = Key(("server", "port"), whole(1, 65535), 18462, "port")
CLIENTS: Final[Key[str | None]] = Key(
    ("server", "clients"), choice("same-user", "key", "any"), None, "clients"
)
DEFAULT_PROVIDER: Final = Key(
    ("server", "default_provider"), text("the name of a provider"), "kimi", "default_provider"
)
DRAIN: Final = Key(("server", "drain_seconds"), seconds(0, 86_400), 30.0, "drain_seconds")
IDLE: Final = Key(("server", "idle_seconds"), seconds(0.1, 604_800), 1800.0, "idle_seconds")
MAX_BODY: Final = Key(("server", "max_body"), SIZE, 64 * MIB, "max_body")
BODY_BUDGET: Final = Key(("server", "body_budget"), SIZE, 256 * MIB, "body_budget")
SERVER_HOSTS: Final = Key(("server", "hosts"), HOSTS, ())
LOG_LEVEL: Final = Key(
    ("log", "level"), choice("debug", "info", "warning", "error"), "info", "log_level"
)
NETWORK_PROXY: Final[Key[str | None]] = Key(("network", "proxy"), PROXY, None)
NETWORK_CA_FILE: Final[Key[str | None]] = Key(("network", "ca_file"), FILE, None)

KEYS: Final[tuple[Key[object], ...]] = (
    PORT,
    CLIENTS,
    DEFAULT_PROVIDER,
    DRAIN,
    IDLE,
    MAX_BODY,
    BODY_BUDGET,
    SERVER_HOSTS,
    LOG_LEVEL,
    NETWORK_PROXY,
    NETWORK_CA_FILE,
)

_ROW: Final = ("providers", ANY)
_MODEL: Final = text("a model name")

TITLE: Final = Key((*_ROW, "title"), text("a line of text"), "")
ALIASES: Final = Key((*_ROW, "aliases"), fields.NAMES, ())
AUTH: Final = Key((*_ROW, "auth"), choice(*Auth), str(Auth.KEY))
REGION: Final = Key((*_ROW, "region"), choice(*KIMI_REGIONS), "")
OAUTH_HOST: Final = Key((*_ROW, "oauth_host"), fields.OAUTH_HOST, "")
ANTHROPIC: Final = Key((*_ROW, "anthropic"), fields.ANTHROPIC, "")
OPENAI: Final = Key((*_ROW, "openai"), fields.OPENAI, "")
RESPONSES: Final = Key((*_ROW, "responses"), FLAG, default=False)
COUNTS_TOKENS: Final = Key((*_ROW, "counts_tokens"), FLAG, default=True)
KEY: Final[Key[tuple[KeyPlace, ...]]] = Key((*_ROW, "key"), fields.KEY, ())
KEY_HEADER: Final = Key((*_ROW, "key_header"), choice(*KeyHeader), str(KeyHeader.BEARER))
KEY_PREFIXES: Final = Key((*_ROW, "key_prefixes"), fields.PREFIXES, ())
PRIMARY: Final = Key((*_ROW, "models", "primary"), _MODEL, "")
FAST: Final = Key((*_ROW, "models", "fast"), _MODEL, "")
OPUS: Final = Key((*_ROW, "models", "opus"), _MODEL, "")
SONNET: Final = Key((*_ROW, "models", "sonnet"), _MODEL, "")
HAIKU: Final = Key((*_ROW, "models", "haiku"), _MODEL, "")
CONTEXT: Final[Key[int | None]] = Key((*_ROW, "context"), whole(1000, 100_000_000), None)
TIMEOUT: Final = Key((*_ROW, "timeout_seconds"), seconds(1, 86_400), 3000.0)
HEADERS: Final[Key[Mapping[str, str]]] = Key(
    (*_ROW, "headers"), fields.HEADERS, MappingProxyType({})
)
QUIRKS: Final[Key[Mapping[str, bool]]] = Key(
    (*_ROW, "quirks"), fields.QUIRK_TABLE, MappingProxyType({})
)
ROW_PROXY: Final[Key[str | None]] = Key((*_ROW, "proxy"), OWN_PROXY, None)
ROW_CA_FILE: Final[Key[str | None]] = Key((*_ROW, "ca_file"), FILE, None)

#: The keys that every provider has.
FIELDS: Final[tuple[Key[object], ...]] = (
    TITLE,
    ALIASES,
    AUTH,
    REGION,
    OAUTH_HOST,
    ANTHROPIC,
    OPENAI,
    RESPONSES,
    COUNTS_TOKENS,
    KEY,
    KEY_HEADER,
    KEY_PREFIXES,
    PRIMARY,
    FAST,
    OPUS,
    SONNET,
    HAIKU,
    CONTEXT,
    TIMEOUT,
    HEADERS,
    QUIRKS,
    ROW_PROXY,
    ROW_CA_FILE,
)

_BASE_URL: Final = ("KIMI_CODE_BASE_URL",)
#: What is different in the row of Kimi: the variables of the official CLI count as they do there.
_KIMI: Final[Mapping[KeyPath, tuple[Kind[Any], tuple[str, ...]]]] = {
    ("openai",): (fields.KIMI_OPENAI, _BASE_URL),
    ("anthropic",): (fields.KIMI_ANTHROPIC, _BASE_URL),
    ("oauth_host",): (fields.OAUTH_HOST, ("KIMI_CODE_OAUTH_HOST", "KIMI_OAUTH_HOST")),
}

#: What people write who know other programs.
SYNONYMS: Final = MappingProxyType(
    {
        **dict.fromkeys(("api_key", "apikey", "auth_token", "secret", "token"), "key"),
        **dict.fromkeys(("base_url", "endpoint", "url"), "anthropic or openai"),
        **dict.fromkeys(("context_window", "max_context"), "context"),
        **dict.fromkeys(("default_model", "model"), "models"),
        **dict.fromkeys(("timeout", "timeout_ms"), "timeout_seconds"),
        **dict.fromkeys(("keys", "key_file", "env_key"), "key"),
        **dict.fromkeys(("default", "provider"), "default_provider"),
    }
)


def keys_of(provider: str) -> Iterator[Key[object]]:
    """Yield the keys of *provider*."""
    for key in FIELDS:
        yield key.of(provider)
