"""Says which way leads to a place: directly or through which proxy, and by whose authorities.

Pure. What a provider has for itself holds for its hosts, so that whoever asks for one need not know
whose it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, urlsplit

from bridge.errors import ConfigError
from bridge.providers import Provider

#: Host and port.
Place = tuple[str, int]

_PORTS: Final = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Way:
    """What one provider has for itself: *proxy*, empty for none at all, and *ca_file*."""

    proxy: str | None = field(default=None, repr=False)
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class Outbound:
    """How to reach the world: *proxies* by scheme (``https``, ``http``), *no_proxy*, *ca_file*.

    *ways* says it for single places where it is otherwise.
    """

    proxies: Mapping[str, str] = field(repr=False)
    no_proxy: str = ""
    ca_file: str | None = None
    ways: Mapping[Place, Way] = field(default_factory=dict)

    def proxy_for(self, url: str) -> str | None:
        """Return the proxy that requests to *url* go through, or ``None`` for a direct connection.

        Loopback is never proxied, as the key of a local server is nobody else's business. A
        provider's own proxy is meant for it, whatever ``NO_PROXY`` says.
        """
        return self._proxy_for(urlsplit(url))

    def route(self, url: SplitResult) -> SplitResult | None:
        """Return the proxy that a connection to *url* goes through, as :meth:`proxy_for` does."""
        proxy = self._proxy_for(url)
        return urlsplit(proxy) if proxy else None

    def _proxy_for(self, url: SplitResult) -> str | None:
        there = host, _ = _place(url)
        if host in {"127.0.0.1", "localhost", "::1"}:
            return None
        way = self.ways.get(there)
        if way is not None and way.proxy is not None:
            return way.proxy or None
        proxy = self.proxies.get(url.scheme)
        if not proxy or _is_exempt(host, self.no_proxy):
            return None
        return proxy


def outbound(
    environment: Mapping[str, str],
    proxy: str | None = None,
    ca_file: str | None = None,
    providers: Iterable[Provider] = (),
) -> Outbound:
    """Return the outbound settings that configuration (*proxy*, *ca_file*) and *environment* give.

    The configuration wins; ``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY`` (in either case) and
    ``SSL_CERT_FILE`` follow. What *providers* have for themselves holds for their hosts. Raises
    ``ConfigError`` for a proxy that is not an ``http://`` URL, and for a host that two providers
    would reach in different ways.
    """

    def variable(name: str) -> str:
        return environment.get(name.lower()) or environment.get(name) or ""

    https = proxy or variable("HTTPS_PROXY") or variable("ALL_PROXY")
    plain = proxy or environment.get("http_proxy") or variable("ALL_PROXY")
    for url in filter(None, (https, plain)):
        if not _usable(url):
            raise ConfigError(
                "network.proxy: the proxy of the configuration or of HTTPS_PROXY is none that "
                "bridge can use: write http://HOST:PORT"
            )
    return Outbound(
        {"https": https, "http": plain},
        variable("NO_PROXY"),
        ca_file or environment.get("SSL_CERT_FILE") or None,
        _ways(providers),
    )


def _is_exempt(host: str, no_proxy: str) -> bool:
    """Whether *no_proxy* names *host* or a domain it is in.

    As ``urllib.request`` has it, which costs a daemon 4 MB for these lines.
    """
    if no_proxy == "*":
        return True
    names = (name.strip().lstrip(".").lower() for name in no_proxy.split(",") if name.strip())
    return any(host == name or host.endswith(f".{name}") for name in names)


def _usable(proxy: str) -> bool:
    # Never shown, not even in part: what is malformed may hold a password anywhere.
    try:
        url = urlsplit(proxy)
        host, _ = _place(url)
    except ValueError:
        return False
    sane = host.isprintable() and not set(host) & {" ", "\\"}
    return url.scheme == "http" and bool(host) and sane


def _place(url: SplitResult) -> Place:
    """Return where *url* leads to; raises ``ValueError`` for a port that is none."""
    return url.hostname or "", url.port or _PORTS.get(url.scheme, 0)


def _ways(providers: Iterable[Provider]) -> Mapping[Place, Way]:
    """Return the ways of *providers* that are not everybody's, by place."""
    ways: dict[Place, tuple[Way, Provider]] = {}
    for provider in providers:
        way = Way(provider.proxy, provider.ca_file)
        if way.proxy and not _usable(way.proxy):
            raise ConfigError(
                f"providers.{provider.name}.proxy: it is no proxy that bridge can use: "
                "write http://HOST:PORT"
            )
        bases = [*provider.surfaces.values(), *([provider.oauth.host] if provider.oauth else [])]
        for there in map(_place, map(urlsplit, bases)):
            other, whose = ways.setdefault(there, (way, provider))
            if other != way:
                raise ConfigError(
                    f"providers.{provider.name}: {there[0]} is also the host of "
                    f"providers.{whose.name}: give both the same proxy and ca_file"
                )
    return {there: way for there, (way, _) in ways.items() if way != Way()}
