"""Opens a connection: name, address, outbound proxy, TLS.

Addresses are raced (happy eyeballs, RFC 8305) and remembered for a minute, TLS is verified against
the system's and the configured authorities, and an outbound proxy is asked by CONNECT, so that
whatever way a request takes, only its provider can read it.
"""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import Callable
from typing import Final, cast
from urllib.parse import SplitResult, unquote

import aiohappyeyeballs
import httptools

from bridge.clock import Clock, within
from bridge.wire.connection import Connection
from bridge.wire.failure import ConnectTimeout, ProxyRefused
from bridge.wire.tls import Authorities

#: Seconds for which the addresses of a name are believed.
DNS_SECONDS: Final = 60.0
#: RFC 8305 section 5: how long the first address may take before the second is tried too.
EYEBALLS_SECONDS: Final = 0.25

Addresses = list[aiohappyeyeballs.AddrInfoType]


class Connector:
    """Opens connections; *connect_seconds* bounds each, from name to the end of TLS."""

    def __init__(self, clock: Clock, tls: Authorities, connect_seconds: float) -> None:
        self._clock = clock
        self._tls = tls
        self._connect_seconds = connect_seconds
        self._known: dict[tuple[str, int], tuple[float, Addresses]] = {}

    async def open(
        self, url: SplitResult, proxy: SplitResult | None, made: Callable[[], Connection]
    ) -> Connection:
        """Return a new connection to the origin of *url*, through *proxy* if there is one.

        Raises ``OSError`` (``ssl.SSLError`` and ``socket.gaierror`` among them), ``ConnectTimeout``
        or ``ProxyRefused``.
        """
        opening = asyncio.create_task(self._open(url, proxy, made))
        try:
            if not await within(self._clock, self._connect_seconds, opening):
                raise ConnectTimeout("no connection in time")
        except BaseException:
            # It may have come about at this very moment.
            opening.add_done_callback(_discard)
            opening.cancel()
            raise
        return opening.result()

    async def _open(
        self, url: SplitResult, proxy: SplitResult | None, made: Callable[[], Connection]
    ) -> Connection:
        host, port = place(url)
        if proxy is None:
            raw = await self._connected(host, port)
        else:
            raw = await self._tunnelled(f"{_bracketed(host)}:{port}", proxy)
        secured = self._tls.of((host, port)) if url.scheme == "https" else None
        # From here on the socket is its transport's to close, also where no connection comes about.
        _, connection = await asyncio.get_running_loop().create_connection(
            made, sock=raw, ssl=secured, server_hostname=host if secured else None
        )
        return connection

    async def _tunnelled(self, authority: str, proxy: SplitResult) -> socket.socket:
        if proxy.scheme != "http":
            raise ProxyRefused("TLS to the proxy itself is not spoken here")
        try:
            raw = await self._connected(*place(proxy))
            try:
                await _tunnel(raw, authority, proxy)
            except BaseException:  # cancelled as well: nobody else holds the socket yet
                raw.close()
                raise
        except OSError as error:
            raise ProxyRefused("it cannot be reached") from error
        return raw

    async def _connected(self, host: str, port: int) -> socket.socket:
        addresses = await self._addresses(host, port)
        try:
            raw = await aiohappyeyeballs.start_connection(
                addresses, happy_eyeballs_delay=EYEBALLS_SECONDS, interleave=1
            )
        except OSError:
            self._known.pop((host, port), None)
            raise
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return raw

    async def _addresses(self, host: str, port: int) -> Addresses:
        until, addresses = self._known.get((host, port), (0.0, []))
        if self._clock.monotonic() < until:
            return addresses
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError:
            raise socket.gaierror(socket.EAI_NONAME, "no name at all") from None
        addresses = cast("Addresses", found)
        self._known[host, port] = (self._clock.monotonic() + DNS_SECONDS, addresses)
        return addresses


def place(url: SplitResult) -> tuple[str, int]:
    """Return host and port of *url*."""
    return url.hostname or "", url.port or (443 if url.scheme == "https" else 80)


async def _tunnel(raw: socket.socket, authority: str, proxy: SplitResult) -> None:
    """Ask *proxy* at the other end of *raw* for a way to *authority* (RFC 9110 section 9.3.6)."""
    loop = asyncio.get_running_loop()
    head = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n"
    if proxy.username is not None:
        pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        head += f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode()}\r\n"
    await loop.sock_sendall(raw, f"{head}\r\n".encode())
    answer = _TunnelAnswer()
    # One byte at a time: what follows the head belongs to TLS, and a proxy's head is short.
    while answer.status is None:
        byte = await loop.sock_recv(raw, 1)
        if not byte:
            raise ProxyRefused("it closed the connection")
        answer.feed(byte)
    if not 200 <= answer.status < 300:
        raise ProxyRefused(f"HTTP {answer.status}")


class _TunnelAnswer:
    """The head of a proxy's answer to CONNECT; *status* is ``None`` until it is here."""

    def __init__(self) -> None:
        self.status: int | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._size = 0

    def feed(self, byte: bytes) -> None:
        """Read on. Raises ``ProxyRefused`` for what is no head."""
        self._size += 1
        try:
            self._parser.feed_data(byte)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            raise ProxyRefused("its answer is not HTTP") from None
        if self._size > 64 * 1024:
            raise ProxyRefused("its answer has no end")

    def on_headers_complete(self) -> None:
        """Take the status."""
        self.status = self._parser.get_status_code()


def _discard(opening: asyncio.Task[Connection]) -> None:
    """Close a connection that nobody waits for any more."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().fail(ConnectTimeout("too late"))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
