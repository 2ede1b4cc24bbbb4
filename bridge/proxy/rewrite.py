"""Chooses where a request goes and writes the head with which it goes there.

Pure. The target is looked at as text and never decoded on its way out, so that what the client
encoded arrives encoded; a target that could mean another place to somebody behind us is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Final, Self
from urllib.parse import SplitResult, unquote, urljoin, urlsplit, urlunsplit

from bridge.errors import ConfigError, Refused
from bridge.providers import RESERVED_NAMES, Dialect, Provider
from bridge.proxy.head import Head, Manner
from bridge.proxy.surface import Asked, Surface, find, join, lack

#: How many targets are remembered with their routes.
REMEMBERED: Final = 256

_OPENAI: Final = (Surface.CHAT.value, Surface.RESPONSES.value)
_PORTS: Final = {"https": 443, "http": 80}

_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+")
#: Also with a path parameter (``..;x``), which some servers cut off before they look.
_DOT_SEGMENT: Final = re.compile(r"(?:^|[/\\])\.{1,2}(?:[/\\;]|$)")


@dataclass(frozen=True, slots=True)
class Routes:
    """The providers by the prefix that names them, and the one that answers without a prefix.

    *chosen* remembers the routes of late, by method, target and the dialect's mark.
    """

    providers: Mapping[str, Provider]
    default: Provider
    chosen: dict[tuple[str, str, bool], Route] = field(
        default_factory=dict, repr=False, compare=False
    )

    @classmethod
    def of(cls, providers: Iterable[Provider], *, default: str) -> Self:
        """Return routes to *providers*, each under its name and its aliases.

        Raises ``ConfigError`` when a prefix means two providers or a path of our own, or when no
        provider is called *default*.
        """
        by_prefix: dict[str, Provider] = {}
        for provider in providers:
            for prefix in dict.fromkeys((provider.name, *provider.aliases)):
                _check_prefix(prefix, provider, by_prefix.get(prefix))
                by_prefix[prefix] = provider
        if default not in by_prefix:
            raise ConfigError(
                f"server.default_provider: there is no provider {default!r}: "
                f"name one of {_names(by_prefix)}"
            )
        return cls(MappingProxyType(by_prefix), by_prefix[default])


@dataclass(frozen=True)
class Route:
    """Where one request goes, and all that ask the same way after it.

    *path* is what stands behind the provider's prefix and *query* what follows the question mark,
    both raw; *asked* is what the path asks for and *dialect* the language of the surface that is to
    answer. *missing* says why the provider cannot, empty where it can.
    """

    provider: Provider
    path: str
    query: str
    asked: Asked
    dialect: Dialect
    missing: str = ""

    def check(self) -> None:
        """Raise ``Refused`` where the provider has no such surface."""
        if not self.missing:
            return
        # Codex repeats everything but a 400, and Claude Code a 400 but not a 403.
        if self.asked.surface is Surface.RESPONSES:
            raise Refused(self.missing, status=400, kind="invalid_request_error")
        raise Refused(self.missing)

    @cached_property
    def url(self) -> str:
        """The URL at the provider. Raises ``Refused`` where it has no such surface."""
        self.check()
        url = join(self.provider.surfaces[self.dialect], self.asked, self.dialect)
        return f"{url}?{self.query}" if self.query else url

    @cached_property
    def place(self) -> SplitResult:
        """The URL in its parts."""
        return urlsplit(self.url)

    @cached_property
    def start(self) -> bytes:
        """What follows the method in the head of the request at the provider, up to ``Host``."""
        place = self.place
        target = urlunsplit(("", "", place.path or "/", place.query, ""))
        return f" {target} HTTP/1.1\r\nHost: {place.netloc}\r\n".encode()

    @cached_property
    def manner(self) -> Manner:
        """How headers go to the provider."""
        return Manner.of(self.provider)

    @cached_property
    def only_counts(self) -> bool:
        """Whether asking twice changes nothing, although the method does not promise it."""
        return self.asked.counts_tokens

    @cached_property
    def is_estimated(self) -> bool:
        """Whether tokens are to be counted that the provider does not count."""
        return self.asked.counts_tokens and not self.provider.counts_tokens


def choose(head: Head, routes: Routes) -> Route:
    """Return the route of a request.

    A first path segment that names no provider belongs to the path, and the default provider
    answers. Raises ``Refused``: 400 for a target that is no plain path, 403 for a surface behind a
    name that nobody has (what was meant for one provider must not go to another).
    """
    # An agent asks for the same few targets all day.
    asked = (head.method, head.target, head.has(b"anthropic-version"))
    route = routes.chosen.get(asked)
    if route is None:
        route = _choose(head, routes)
        if len(routes.chosen) >= REMEMBERED:
            routes.chosen.clear()
        routes.chosen[asked] = route
    return route


def _choose(head: Head, routes: Routes) -> Route:
    path, _, query = head.target.partition("?")
    _check(head, path)
    path = "/" + path.lstrip("/")
    first, _, rest = path[1:].partition("/")
    provider = routes.providers.get(first)
    if provider is not None:
        path = "/" + rest.lstrip("/")
    else:
        provider = routes.default
    asked = find(path)
    if asked.surface is Surface.OTHER and find(f"/{rest}").surface is not Surface.OTHER:
        raise Refused(
            f"there is no provider {first[:40]!r}: begin the path with one of "
            f"{_names(routes.providers)}, or with /v1 for {routes.default.name}"
        )
    dialect = asked.surface.dialect or _either(head, provider)
    missing = lack(provider, asked.surface, dialect, routes.providers.values())
    return Route(provider, path, query, asked, dialect, missing)


def dialect_of(head: Head, route: Route | None = None) -> Dialect:
    """Return the language in which an error to *head* is worded, whatever became of its *route*."""
    path = head.target.partition("?")[0]
    if any(surface in path for surface in _OPENAI):
        return Dialect.OPENAI
    if head.value("anthropic-version") or Surface.MESSAGES.value in path:
        return Dialect.ANTHROPIC
    return Dialect.OPENAI if route is None else route.dialect


def redirect_leaves(url: str, location: str) -> bool:
    """Say whether *location*, answered by *url*, leads away from the origin of *url*.

    A location that cannot be read leads away.
    """
    try:
        # Clients read a backslash as a slash, so that "/\HOST" names a host.
        there = _origin(urljoin(url, location.strip().replace("\\", "/")))
    except ValueError:
        return True
    return there != _origin(url)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


def _either(head: Head, provider: Provider) -> Dialect:
    """Return the language of a path that is in both: the client's, if *provider* speaks it."""
    wanted, other = Dialect.OPENAI, Dialect.ANTHROPIC
    if head.value("anthropic-version"):
        wanted, other = other, wanted
    return wanted if wanted in provider.surfaces else other


def _names(prefixes: Iterable[str]) -> str:
    return ", ".join(sorted(prefixes))


def _check_prefix(prefix: str, provider: Provider, other: Provider | None) -> None:
    key = f"providers.{provider.name}" + ("" if prefix == provider.name else ".aliases")
    if prefix in RESERVED_NAMES:
        raise ConfigError(f"{key}: {prefix!r} is a path of bridge's own: choose another name")
    if other is not None:
        raise ConfigError(f"{key}: {prefix!r} means {other.name} already: choose another name")


def _check(head: Head, path: str) -> None:
    if head.method in {"CONNECT", "TRACE"}:
        # TRACE would show the provider's credential to whoever asks.
        raise _bad_target(f"cannot be reached with {head.method}: use it as a base URL")
    if not path.startswith("/"):
        raise _bad_target("is no path: bridge is not a forward proxy, use it as a base URL")
    if not _PRINTABLE.fullmatch(head.target) or "#" in head.target or "\\" in path:
        raise _bad_target("has a character that must be percent-encoded")
    if _DOT_SEGMENT.search(_decoded(path)):
        raise _bad_target("has a dot segment: write the path that is meant")


def _decoded(path: str) -> str:
    """Return *path* decoded as often as anybody behind us might decode it."""
    for _ in range(4):
        if "%" not in path:
            break
        path = unquote(path, "latin-1")
    return path


def _bad_target(reason: str) -> Refused:
    return Refused(f"the request target {reason}", status=400, kind="invalid_request_error")
