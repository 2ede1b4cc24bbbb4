"""Opens the one way out that login, refresh and traffic take.

One place acts on outbound proxies, extra certificate authorities and pooling, so that a setting
which holds for one of the three holds for all.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final
from urllib.parse import SplitResult

from bridge.clock import Clock, SystemClock
from bridge.errors import ConfigError
from bridge.way import Outbound, outbound
from bridge.wire.connection import Connection
from bridge.wire.connector import Connector
from bridge.wire.failure import Disconnected, Silent
from bridge.wire.outbox import Outbox
from bridge.wire.pool import Pool
from bridge.wire.tls import Authorities, Context

__all__ = ["Client", "Outbound", "outbound"]

CONNECT_SECONDS: Final = 10.0


class Client:
    """The outgoing client: a pool of connections, and the settings they are opened with.

    Traffic goes through *pool*; login and refresh, a few requests an hour whose answers are read
    whole, each on a connection that :meth:`open` gives. *clock* is what all of them go by. Made
    inside a running event loop and closed with :meth:`close`. Safe for concurrent use.
    """

    def __init__(self, outbound: Outbound, clock: Clock | None = None) -> None:
        self.clock = clock or SystemClock()
        self._tls = _authorities(outbound)
        self._outbound = outbound
        self._outbox = Outbox()
        self.pool = Pool(self.clock, self._tls, _remembered(outbound))

    def retune(self, outbound: Outbound) -> None:
        """Let requests from now on go out by *outbound*; those under way keep their connections.

        Raises ``ConfigError`` and changes nothing where *outbound* cannot be used.
        """
        if outbound == self._outbound:
            return
        self._tls = _authorities(outbound)
        self._outbound = outbound
        self.pool.retune(self._tls, _remembered(outbound))

    async def open(self, url: SplitResult, connect_seconds: float = CONNECT_SECONDS) -> Connection:
        """Return a new connection to the origin of *url*, for one request and to be closed then.

        Never one that was kept: the server may close that just as the request goes out, and then
        nobody knows whether a refresh token was spent. *connect_seconds* bounds all of it (name,
        proxy, connection, TLS). Raises what :meth:`Connector.open` raises, or ``Disconnected``; no
        request can have left then.
        """
        connector = Connector(self.clock, self._tls, connect_seconds)
        made = partial(Connection, self.clock, _leave, self._outbox)
        connection = await connector.open(url, self._outbound.route(url), made)
        if not connection.usable:
            raise Disconnected("closed")
        return connection

    async def close(self) -> None:
        """Close every connection of the pool; call once no request is under way."""
        await self.pool.close()


def _leave(connection: Connection) -> None:
    """Close *connection* although it could serve again."""
    connection.fail(Silent("left"))


def _remembered(outbound: Outbound) -> Callable[[SplitResult], SplitResult | None]:
    """Return the routes of *outbound*, worked out once for each URL of late."""
    return lru_cache(maxsize=256)(outbound.route)


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
