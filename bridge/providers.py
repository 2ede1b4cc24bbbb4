"""Says what a provider is: where it is asked, how it is proved to be us, and which models it has.

A provider is a row of data. The rows themselves stand in ``catalogue.toml`` and in the user's
configuration, which ``config`` reads in one language.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, Literal
from urllib.parse import urlsplit

from bridge.errors import ConfigError

#: Authorization host and API base of Kimi's two deployments; a login of one means nothing to the
#: other.
KIMI_REGIONS: Final = MappingProxyType(
    {
        "cn": ("https://auth.kimi.com", "https://api.kimi.com/coding/v1"),
        "global": ("https://auth.kimi.ai", "https://api.kimi.ai/coding/v1"),
    }
)
#: Public client id of the official CLIs (no secret, no PKCE, no scope), the same in both regions.
KIMI_CLIENT_ID: Final = "17e5f671-d194-4dfb-9706-5516cb48c098"

#: Names that are paths of our own, or of every provider's, and so never a provider's name.
RESERVED_NAMES: Final = frozenset(
    {"health", "metrics", "status", "api", "v1", "messages", "chat", "responses", "models", "hello"}
)
#: What a provider is known to do otherwise than the API it speaks; data for whoever must know.
QUIRKS: Final = MappingProxyType(
    {
        "no_tool_reference": "refuses tool_reference blocks: clients leave their tool search out",
        "no_images": "takes text only",
        "positive_temperature": "refuses a temperature of 0",
        "renames_model": "answers with another model name than it was asked for",
        "thinks_first": "begins an answer with a thinking block that nobody asked for",
    }
)

#: The names by which Claude Code asks for a size of model.
Tier = Literal["opus", "sonnet", "haiku"]

_PRINTABLE: Final = re.compile(r"[!-~]+")
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class Dialect(enum.StrEnum):
    """The language that a client speaks, and so the one its errors are worded in."""

    ANTHROPIC = "anthropic"
    OPENAI = "openai"


class Auth(enum.StrEnum):
    """How a provider knows us."""

    OAUTH = "oauth"
    KEY = "key"
    PASSTHROUGH = "passthrough"


class KeyHeader(enum.StrEnum):
    """The header that carries the credential upstream."""

    BEARER = "authorization"
    API_KEY = "x-api-key"


@dataclass(frozen=True, slots=True)
class OAuth:
    """The authorization server of a provider (RFC 8628): its host, and the client we are to it."""

    host: str
    client_id: str

    @property
    def device_authorization_endpoint(self) -> str:
        """The URL at which a device flow starts."""
        return f"{self.host}/api/oauth/device_authorization"

    @property
    def token_endpoint(self) -> str:
        """The URL at which a device code or a refresh token becomes an access token."""
        return f"{self.host}/api/oauth/token"


@dataclass(frozen=True, slots=True)
class Models:
    """The model names that a client is told to use: *primary* for work, *fast* for small calls.

    *opus*, *sonnet* and *haiku* are what Claude Code's tiers mean here, empty where nothing else
    than the two is said; ask :meth:`tier`.
    """

    primary: str
    fast: str
    opus: str = ""
    sonnet: str = ""
    haiku: str = ""

    def tier(self, name: Tier) -> str:
        """Return the model of a tier: as it is said, else *fast* for haiku and *primary*."""
        said = {"opus": self.opus, "sonnet": self.sonnet, "haiku": self.haiku}[name]
        return said or (self.fast if name == "haiku" else self.primary)


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """One place where the key of a provider is looked for: exactly one of the three is set.

    *env* names a variable, *file* a path (which may begin with ``~/``), *command* a program and its
    arguments, of which nothing is ever logged.
    """

    env: str = ""
    file: str = ""
    command: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Provider:
    """One row of the catalogue.

    *surfaces* maps a dialect to the base URL of that surface, without a trailing slash. An
    Anthropic base does not end in ``/v1`` and an OpenAI base ends in its version, as the official
    SDKs have it; *responses* says that the OpenAI surface has Responses beside Chat. *headers* are
    added to every request; an empty value removes the header instead.

    *keys* are the places where a key is looked for, the first that yields wins; a right key begins
    with one of *key_prefixes*, where these are known. *context* is the context window in tokens,
    *timeout_seconds* how long a client should wait for an answer, *counts_tokens* whether the
    Anthropic surface counts tokens, *quirks* which of ``QUIRKS`` it has. *proxy*, empty for none at
    all, and *ca_file* hold for this provider alone.
    """

    name: str
    auth: Auth
    surfaces: Mapping[Dialect, str]
    models: Models
    title: str = ""
    aliases: tuple[str, ...] = ()
    key_header: KeyHeader = KeyHeader.BEARER
    keys: tuple[KeyPlace, ...] = ()
    key_prefixes: tuple[str, ...] = ()
    oauth: OAuth | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    responses: bool = False
    context: int | None = None
    timeout_seconds: float = 3000.0
    counts_tokens: bool = True
    quirks: Mapping[str, bool] = field(default_factory=lambda: MappingProxyType({}))
    proxy: str | None = field(default=None, repr=False)
    ca_file: str | None = None

    def __post_init__(self) -> None:
        for url in self.surfaces.values():
            checked_url(url, f"providers.{self.name}")
        if self.oauth is not None:
            checked_url(self.oauth.host, f"providers.{self.name}.oauth_host")


def checked_url(url: str, key: str) -> str:
    """Return *url* if a credential may go there: https, or http to loopback.

    Raises ``ConfigError`` naming *key*.
    """
    if mistake := url_mistake(url):
        raise ConfigError(f"{key}: {mistake}")
    return url


def url_mistake(url: str) -> str:
    """Return why no credential may go to *url*, or an empty string if it may.

    The text shows nothing of a URL that may hold a password.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:  # its text may show what is between // and @
        return "this is no URL: write https://HOST/PATH"
    if "@" in parts.netloc or parts.query or parts.fragment:
        return "a base URL has no user, password, query or fragment: write https://HOST/PATH"
    if not host or not _PRINTABLE.fullmatch(url):
        return f"{url!r} is no base URL: write https://HOST/PATH"
    if parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK):
        return ""
    if parts.scheme == "http":
        return (
            f"{url!r} would carry the credential unencrypted: use https:// "
            "(http:// is for loopback only)"
        )
    return f"{url!r} is no base URL: write https://HOST/PATH"


def with_headers(provider: Provider, headers: Mapping[str, str]) -> Provider:
    """Return *provider* with *headers* changed or added; names compare without case."""
    lowered = {name.lower() for name in headers}
    kept = {name: value for name, value in provider.headers.items() if name.lower() not in lowered}
    return replace(provider, headers=MappingProxyType({**kept, **headers}))
