"""Opens the one HTTP client through which login, refresh and traffic go out.

One place decides about outbound proxies, extra certificate authorities and pooling, so that a
setting which holds for one of the three holds for all.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import SplitResult, urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined] # not in typeshed

import aiohttp
from yarl import URL

from bridge.clock import Clock, SystemClock
from bridge.errors import ConfigError
from bridge.wire.pool import Pool

CONNECT_SECONDS: Final = 10.0
READ_BUFFER: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Outbound:
    """How to reach the world: *proxies* by scheme (``https``, ``http``), *no_proxy*, *ca_file*."""

    proxies: Mapping[str, str]
    no_proxy: str = ""
    ca_file: str | None = None

    def proxy_for(self, url: URL) -> str | None:
        """Return the proxy that requests to *url* go through, or ``None`` for a direct connection.

        Loopback is never proxied, as the key of a local server is nobody else's business.
        """
        host = url.host or ""
        if host in {"127.0.0.1", "localhost", "::1"}:
            return None
        proxy = self.proxies.get(url.scheme)
        if not proxy or proxy_bypass_environment(host, {"no": self.no_proxy}):
            return None
        return proxy

    def route(self, url: SplitResult) -> SplitResult | None:
        """Return the proxy that traffic to *url* goes through, as :meth:`proxy_for` does."""
        proxy = self.proxy_for(URL(url.geturl(), encoded=True))
        return urlsplit(proxy) if proxy else None


def outbound(
    environment: Mapping[str, str], proxy: str | None = None, ca_file: str | None = None
) -> Outbound:
    """Return the outbound settings that configuration (*proxy*, *ca_file*) and *environment* give.

    The configuration wins; ``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY`` (in either case) and
    ``SSL_CERT_FILE`` follow. Raises ``ConfigError`` for a proxy that is not an ``http://`` URL.
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
    )


class Client:
    """The outgoing HTTP client: pools of connections, and the settings they are opened with.

    Traffic goes through *pool*; login and refresh, a few requests an hour whose answers are read
    whole, through :meth:`request`. Made inside a running event loop and closed with
    :meth:`close`. Safe for concurrent use.
    """

    def __init__(self, outbound: Outbound, clock: Clock | None = None) -> None:
        tls = _tls(outbound.ca_file)
        self._outbound = outbound
        self._session = _session(tls)
        self._retired: list[aiohttp.ClientSession] = []
        self.pool = Pool(clock or SystemClock(), tls, _remembered(outbound))

    def retune(self, outbound: Outbound) -> None:
        """Let requests from now on go out by *outbound*; those under way keep their connections.

        Raises ``ConfigError`` and changes nothing where *outbound* cannot be used.
        """
        if outbound == self._outbound:
            return
        tls = _tls(outbound.ca_file)
        self._retired.append(self._session)
        self._outbound, self._session = outbound, _session(tls)
        self.pool.retune(tls, _remembered(outbound))

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: list[tuple[str, str]],
        body: bytes,
        idle_seconds: float | None,
        connect_seconds: float = CONNECT_SECONDS,
    ) -> aiohttp.ClientResponse:
        """Send one request and return when the head of its answer is here.

        The URL goes out as it is, without re-encoding; redirects are not followed and nothing is
        decompressed. *connect_seconds* bounds all that comes before the request (name, proxy,
        connection, TLS), *idle_seconds* each silence before and after the head; there is no total
        limit. Raises ``aiohttp.ClientError``, ``TimeoutError`` or ``OSError``.
        """
        target = URL(url, encoded=True)
        return await self._session.request(
            method,
            target,
            headers=headers,
            data=body or None,
            proxy=self._outbound.proxy_for(target),
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(
                total=None, connect=connect_seconds, sock_connect=None, sock_read=idle_seconds
            ),
        )

    async def close(self) -> None:
        """Close every connection; call once no request is under way."""
        await self.pool.close()
        for session in (*self._retired, self._session):
            await session.close()


def _usable(proxy: str) -> bool:
    # Never shown, not even in part: what is malformed may hold a password anywhere.
    try:
        url = URL(proxy)
    except ValueError:
        return False
    return url.scheme == "http" and bool(url.host)


def _remembered(outbound: Outbound) -> Callable[[SplitResult], SplitResult | None]:
    """Return the routes of *outbound*, worked out once for each URL of late."""
    return lru_cache(maxsize=256)(outbound.route)


def _session(tls: ssl.SSLContext) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0,
            ssl=tls,
            # A kept connection may be closed by the server just as the request goes out, and then
            # nobody knows whether a refresh token was spent.
            force_close=True,
            ttl_dns_cache=60,
        ),
        auto_decompress=False,
        read_bufsize=READ_BUFFER,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        max_line_size=64 * 1024,
        max_field_size=64 * 1024,
    )


def _tls(ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file:
        try:
            context.load_verify_locations(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"network.ca_file: {ca_file} cannot be used ({error}): name a readable PEM file"
            ) from None
    return context
