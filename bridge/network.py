"""Opens the one HTTP client through which login, refresh and traffic go out.

One place acts on outbound proxies, extra certificate authorities and pooling, so that a setting
which holds for one of the three holds for all.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import lru_cache
from typing import Final
from urllib.parse import SplitResult

import aiohttp
from yarl import URL

from bridge.clock import Clock, SystemClock
from bridge.errors import ConfigError
from bridge.way import Outbound, outbound
from bridge.wire.pool import Pool
from bridge.wire.tls import Authorities, Context

__all__ = ["Client", "Outbound", "outbound"]

CONNECT_SECONDS: Final = 10.0
READ_BUFFER: Final = 256 * 1024


class Client:
    """The outgoing HTTP client: pools of connections, and the settings they are opened with.

    Traffic goes through *pool*; login and refresh, a few requests an hour whose answers are read
    whole, through :meth:`request`. Made inside a running event loop and closed with
    :meth:`close`. Safe for concurrent use.
    """

    def __init__(self, outbound: Outbound, clock: Clock | None = None) -> None:
        self._tls = _authorities(outbound)
        self._outbound = outbound
        self._session = _session()
        self._retired: list[aiohttp.ClientSession] = []
        self.pool = Pool(clock or SystemClock(), self._tls, _remembered(outbound))

    def retune(self, outbound: Outbound) -> None:
        """Let requests from now on go out by *outbound*; those under way keep their connections.

        Raises ``ConfigError`` and changes nothing where *outbound* cannot be used.
        """
        if outbound == self._outbound:
            return
        self._tls = _authorities(outbound)
        self._outbound = outbound
        self._retired.append(self._session)
        self._session = _session()
        self.pool.retune(self._tls, _remembered(outbound))

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
            ssl=self._tls.of((target.host or "", target.port or 0)),
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


def _remembered(outbound: Outbound) -> Callable[[SplitResult], SplitResult | None]:
    """Return the routes of *outbound*, worked out once for each URL of late."""
    return lru_cache(maxsize=256)(outbound.route)


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0,
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


def _authorities(outbound: Outbound) -> Authorities:
    """Return whose word counts for each place: everybody's, and some one's own."""
    own = {
        there: _tls(way.ca_file, f"ca_file of {there[0]}")
        for there, way in outbound.ways.items()
        if way.ca_file
    }
    return Authorities(_tls(outbound.ca_file), own)


def _tls(ca_file: str | None, key: str = "network.ca_file") -> ssl.SSLContext:
    context = Context()
    if ca_file:
        try:
            context.load_verify_locations(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"{key}: {ca_file} cannot be used ({error}): name a readable PEM file"
            ) from None
    return context
