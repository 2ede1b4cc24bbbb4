"""Chooses where a request goes and writes the head with which it goes there.

Pure. The target is looked at as text and never decoded on its way out, so that what the client
encoded arrives encoded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Final, Self
from urllib.parse import SplitResult, urlsplit, urlunsplit

from bridge.errors import ConfigError, Refused
from bridge.providers import RESERVED_NAMES, Dialect, Provider
from bridge.proxy.head import Head, Manner
from bridge.proxy.surface import Asked, Surface, find, join, lack
from bridge.proxy.target import check_target, first_segment, redirect_leaves

#: How many targets are remembered with their routes.
REMEMBERED: Final = 256

_OPENAI: Final = (Surface.CHAT.value, Surface.RESPONSES.value)


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
    answer. *missing* says why the provider cannot, empty where it can. *providers* are all, by
    their prefixes.
    """

    provider: Provider
    path: str
    query: str
    asked: Asked
    dialect: Dialect
    missing: str = ""
    providers: Mapping[str, Provider] = field(
        default_factory=lambda: MappingProxyType({}), repr=False, compare=False
    )

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

    def leads_away(self, target: str, location: str) -> bool:
        """Say whether *location*, answered to a request for *target*, leads to somebody else.

        That is: away from the origin of the URL, or, read by the client as a place of ours, to
        another provider, whose credential it would get there.
        """
        if redirect_leaves(self.url, location):
            return True
        led = self.providers.get(first_segment(target, location), self.provider)
        return led is not self.provider

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
    check_target(head)
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
    return Route(provider, path, query, asked, dialect, missing, routes.providers)


def dialect_of(head: Head, route: Route | None = None) -> Dialect:
    """Return the language in which an error to *head* is worded, whatever became of its *route*."""
    path = head.target.partition("?")[0]
    if any(surface in path for surface in _OPENAI):
        return Dialect.OPENAI
    if head.value("anthropic-version") or Surface.MESSAGES.value in path:
        return Dialect.ANTHROPIC
    return Dialect.OPENAI if route is None else route.dialect


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
