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
from urllib.parse import unquote, urljoin, urlsplit

from bridge.errors import ConfigError, Refused
from bridge.providers import Dialect, Provider
from bridge.proxy.head import Head, Pair, outbound_headers

#: How many targets are remembered with their routes.
REMEMBERED: Final = 256

_ANTHROPIC: Final = ("/messages",)
_OPENAI: Final = ("/chat/completions", "/responses")
_MODELS: Final = ("/models",)
_SPOKEN: Final = {Dialect.ANTHROPIC: "Anthropic Messages", Dialect.OPENAI: "the OpenAI API"}
_PORTS: Final = {"https": 443, "http": 80}

_VERSIONS: Final = re.compile(r"(?:/+v1(?=/|$))*")
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
        """Return routes to *providers*, each under its name.

        Raises ``ConfigError`` when none of them is called *default*.
        """
        by_name = {provider.name: provider for provider in providers}
        if default not in by_name:
            raise ConfigError(
                f"server.default_provider: there is no provider {default!r}: "
                f"name one of {', '.join(sorted(by_name))}"
            )
        return cls(MappingProxyType(by_name), by_name[default])


@dataclass(frozen=True)
class Route:
    """Where one request goes, and all that ask the same way after it.

    *path* is what was asked for behind the provider's prefix and *query* what follows the question
    mark, both raw; *dialect* is the language of the surface, and so of our errors.
    """

    provider: Provider
    path: str
    query: str
    dialect: Dialect

    @cached_property
    def url(self) -> str:
        """The URL at the provider. Raises ``Refused`` (403) where it has no such surface."""
        base = self.provider.surfaces.get(self.dialect)
        if base is None:
            raise Refused(
                f"{self.provider.name} does not speak {_SPOKEN[self.dialect]}: "
                "choose another provider for this client"
            )
        url = join(base, self.path, self.dialect)
        return f"{url}?{self.query}" if self.query else url

    @cached_property
    def only_counts(self) -> bool:
        """Whether asking twice changes nothing, although the method does not promise it."""
        return _is_below(_behind_version(self.path), ("/messages/count_tokens",))


def choose(head: Head, routes: Routes) -> Route:
    """Return the route of a request.

    A first path segment that names no provider belongs to the path, and the default provider
    answers. Raises ``Refused`` (400) for a target that is no plain path.
    """
    # An agent asks for the same few targets all day.
    asked = (head.method, head.target, bool(head.value("anthropic-version")))
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
    return Route(provider, path, query, _dialect(head, path, provider))


def dialect_of(head: Head) -> Dialect:
    """Return the language in which an error to *head* is worded, whatever became of its route."""
    path = head.target.partition("?")[0]
    if any(place in path for place in _OPENAI):
        return Dialect.OPENAI
    if head.value("anthropic-version") or any(place in path for place in _ANTHROPIC):
        return Dialect.ANTHROPIC
    return Dialect.OPENAI


def join(base: str, path: str, dialect: Dialect) -> str:
    """Return *path* below *base* with exactly one version, whatever the client sent.

    An OpenAI base ends in its version and an Anthropic base does not. A path that is of no known
    surface gets no ``/v1`` which the client did not ask for.
    """
    behind = _behind_version(path)
    if dialect is Dialect.OPENAI:
        return base + behind
    wants_version = behind != path or _is_below(behind, _ANTHROPIC + _MODELS)
    return f"{base}/v1{behind}" if wants_version else base + behind


def outbound(head: Head, route: Route, credential: str, caller_key: str) -> tuple[str, list[Pair]]:
    """Return URL and headers with which *head* goes along *route*.

    Raises ``Refused`` where the provider has no such surface or a header cannot be carried.
    """
    return route.url, outbound_headers(head, route.provider, credential, caller_key)


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


def _dialect(head: Head, path: str, provider: Provider) -> Dialect:
    behind = _behind_version(path)
    if _is_below(behind, _ANTHROPIC):
        return Dialect.ANTHROPIC
    if _is_below(behind, _OPENAI):
        return Dialect.OPENAI
    anthropic = _is_below(behind, _MODELS) and bool(head.value("anthropic-version"))
    wanted, other = Dialect.OPENAI, Dialect.ANTHROPIC
    if anthropic:
        wanted, other = other, wanted
    return wanted if wanted in provider.surfaces else other


def _behind_version(path: str) -> str:
    """Return *path* without the ``/v1`` it begins with, however often; unchanged without one."""
    versions = _VERSIONS.match(path)
    if versions is None or not versions.end():
        return path
    return "/" + path[versions.end() :].lstrip("/")


def _is_below(path: str, places: Iterable[str]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)


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
