"""Names what can go wrong on the way out; ``proxy.fault`` words it for a client."""

from __future__ import annotations


class WireError(Exception):
    """An exchange with an upstream did not come about, or broke off."""


class ConnectTimeout(WireError):
    """No connection came about in time."""


class ProxyRefused(WireError):
    """The outbound proxy did not let us through."""


class Disconnected(WireError):
    """The upstream closed or reset the connection.

    *reused* says that the connection had served before, so that the upstream may have closed it
    for being idle at the very moment when the request went out.
    """

    def __init__(self, reason: str, *, reused: bool = False) -> None:
        super().__init__(reason)
        self.reused = reused


class Silent(WireError):
    """The upstream has said nothing for too long."""


class NotHttp(WireError):
    """What the upstream sends breaks the rules of HTTP/1.1."""
