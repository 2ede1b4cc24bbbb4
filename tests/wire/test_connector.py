"""From a URL to a connection: names, addresses, proxies, TLS, and what is left behind: nothing."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import pytest

from bridge.wire.connection import Connection
from bridge.wire.connector import DNS_SECONDS, Connector, place
from bridge.wire.failure import ConnectTimeout, ProxyRefused
from bridge.wire.tls import Authorities
from tests.fakes.clock import FakeClock
from tests.fakes.tls import NAME, CertificateAuthority
from tests.ports import free_port
from tests.wire.farside import OK, FarSide, Line, Rack, asked, descriptors, fewer_than, turns

SECONDS = 10.0


def connector(clock: FakeClock, authority: CertificateAuthority | None = None) -> Connector:
    """Return a connector that believes the system, and *authority*."""
    tls = ssl.create_default_context()
    if authority is not None:
        tls.load_verify_locations(authority.file)
    return Connector(clock, Authorities(tls), SECONDS)


@asynccontextmanager
async def opened(
    url: SplitResult,
    proxy: SplitResult | None = None,
    authority: CertificateAuthority | None = None,
) -> AsyncIterator[Connection]:
    """A connection to the origin of *url*."""
    rack = Rack()
    connection = await connector(rack.clock, authority).open(url, proxy, rack.made)
    try:
        yield connection
    finally:
        connection.fail(ConnectionError("the test is over"))


async def exchanged(far: FarSide, connection: Connection) -> bytes:
    """Carry one exchange and return the head as *far* heard it."""
    line = await far.accepts()
    answering = asyncio.create_task(line.answers())
    assert (await asked(connection)).content == b"ok"
    return await answering


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.example.test/v1", ("api.example.test", 443)),
        ("http://localhost/v1", ("localhost", 80)),
        ("https://API.example.test:8443", ("api.example.test", 8443)),
        ("http://[::1]:8080/", ("::1", 8080)),
    ],
)
def test_a_url_says_where(url: str, expected: tuple[str, int]) -> None:
    """Host without brackets, and the port of the scheme where none is named."""
    assert place(urlsplit(url)) == expected


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_an_address_is_connected_to(host: str) -> None:
    """IPv4 or IPv6, as a literal; without delay for small writes, and kept alive."""
    async with FarSide(host=host) as far, opened(far.url) as connection:
        await exchanged(far, connection)
        assert connection._transport is not None
        raw: socket.socket = connection._transport.get_extra_info("socket")
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


async def test_a_name_is_connected_to_at_whichever_address_answers() -> None:
    """``localhost`` may be two addresses, of which one listens."""
    async with (
        FarSide() as far,
        opened(urlsplit(f"http://localhost:{far.port}/")) as connection,
    ):
        await exchanged(far, connection)


async def test_nobody_listens() -> None:
    """The kernel's own word comes out."""
    with pytest.raises(ConnectionRefusedError):
        async with opened(urlsplit(f"http://127.0.0.1:{free_port()}/")):
            pass


@pytest.mark.parametrize("host", ["nowhere.invalid", "a..b", "a" * 64 + ".example.test"])
async def test_a_name_that_nobody_knows(host: str) -> None:
    """Also one that can be none."""
    with pytest.raises(socket.gaierror):
        async with opened(urlsplit(f"https://{host}/")):
            pass


async def test_addresses_are_believed_for_a_minute() -> None:
    """Then they are asked for anew; at once, when none of them answers."""
    rack = Rack()
    way = connector(rack.clock)
    async with FarSide() as far:
        url = urlsplit(f"http://moved.invalid:{far.port}/")
        known = await asyncio.get_running_loop().getaddrinfo(
            "127.0.0.1", far.port, type=socket.SOCK_STREAM
        )
        dead = await asyncio.get_running_loop().getaddrinfo(
            "127.0.0.1", free_port(), type=socket.SOCK_STREAM
        )
        until = rack.clock.monotonic() + DNS_SECONDS
        way._known[place(url)] = (until, [*dead, *known])
        (await way.open(url, None, rack.made)).fail(ConnectionError())
        rack.clock.advance(DNS_SECONDS)
        with pytest.raises(socket.gaierror):
            await way.open(url, None, rack.made)
        until = rack.clock.monotonic() + DNS_SECONDS
        way._known[place(url)] = (until, dead)  # type: ignore[assignment]
        with pytest.raises(ConnectionRefusedError):
            await way.open(url, None, rack.made)
        with pytest.raises(socket.gaierror):
            await way.open(url, None, rack.made)


async def test_an_authority_of_ones_own(tmp_path: Path) -> None:
    """Who is vouched for is connected to, by the name in the URL."""
    authority = CertificateAuthority(tmp_path)
    names: list[str | None] = []
    context = authority.server_context
    context.sni_callback = lambda _, name, __: names.append(name)
    async with FarSide(context) as far, opened(far.url, None, authority) as connection:
        await exchanged(far, connection)
    assert names == ["localhost"]


async def test_an_authority_that_nobody_named(tmp_path: Path) -> None:
    """The reason is in the error, and no request leaves."""
    authority = CertificateAuthority(tmp_path)
    async with FarSide(authority.server_context) as far:
        with pytest.raises(ssl.SSLCertVerificationError) as caught:
            async with opened(far.url):
                pass
        assert "self" in caught.value.verify_message or "issuer" in caught.value.verify_message
        assert far.lines == []


async def test_a_certificate_for_another_name(tmp_path: Path) -> None:
    """To be vouched for is not enough."""
    authority = CertificateAuthority(tmp_path)
    async with FarSide(authority.server_context) as far:
        with pytest.raises(ssl.SSLCertVerificationError, match=r"127\.0\.0\.1"):
            async with opened(urlsplit(f"https://127.0.0.1:{far.port}/"), None, authority):
                pass


async def test_no_tls_at_all() -> None:
    """Somebody else listens where TLS is spoken."""
    async with FarSide() as far:
        opening = asyncio.create_task(
            connector(FakeClock()).open(
                urlsplit(f"https://localhost:{far.port}/"), None, Rack().made
            )
        )
        line = await far.accepts()
        await line.says(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with pytest.raises(ssl.SSLError):
            await opening
        await line.is_left()


@pytest.mark.parametrize("through_proxy", [False, True])
async def test_connecting_has_an_end(through_proxy: bool) -> None:
    """Ten seconds for all of it, whoever is silent; nothing stays open."""
    clock, rack = FakeClock(), Rack()
    async with FarSide() as far:
        url = urlsplit(f"https://localhost:{far.port}/")
        proxy = urlsplit(f"http://127.0.0.1:{far.port}") if through_proxy else None
        opening = asyncio.create_task(connector(clock).open(url, proxy, rack.made))
        line = await far.accepts()
        both = descriptors()
        clock.advance(SECONDS - 0.1)
        await turns(3)
        assert not opening.done()
        clock.advance(0.1)
        with pytest.raises(ConnectTimeout):
            await opening
        await fewer_than(both)
        await line.is_left()
    assert rack.back == []


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("timed_out", [False, True])
async def test_giving_up_at_any_moment_leaves_nothing_open(
    secure: bool, timed_out: bool, tmp_path: Path
) -> None:
    """Cancelled or out of time after any number of turns of the loop: the far side sees the end."""
    authority = CertificateAuthority(tmp_path)
    made: list[Connection] = []
    async with FarSide(authority.server_context if secure else None) as far:
        url = urlsplit(f"http{'s' if secure else ''}://localhost:{far.port}/")
        clock, rack = FakeClock(), Rack()
        way = connector(clock, authority)
        (await way.open(url, None, rack.made)).fail(ConnectionError())  # from now on it is known
        await (await far.accepts()).is_left()
        await turns(5)
        before = descriptors()
        number, is_open = 0, False
        while not is_open:
            number += 1
            opening = asyncio.create_task(way.open(url, None, rack.made))
            await turns(number)
            is_open = opening.done()
            if timed_out:
                clock.advance(SECONDS)
            else:
                opening.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectTimeout):
                made.append(await opening)
        for connection in made:
            connection.fail(ConnectionError())
        while descriptors() > before:
            await turns(1)
            for line in far.lines:
                await line.is_left()
                line.closes()
    assert number > 3


@pytest.mark.parametrize("credentials", ["", "user%40x:p%3Aw@", "user@"])
async def test_a_tunnel_through_a_proxy(credentials: str, tmp_path: Path) -> None:
    """The proxy hears where to, and its own credentials; TLS is with the origin, not with it."""
    authority = CertificateAuthority(tmp_path)
    url = urlsplit(f"https://{NAME}/coding/v1?secret")
    async with FarSide(authority.server_context) as origin, FarSide() as far:
        proxy = urlsplit(f"http://{credentials}127.0.0.1:{far.port}")
        rack = Rack()
        opening = asyncio.create_task(connector(rack.clock, authority).open(url, proxy, rack.made))
        line = await far.accepts()
        head = (await line.hears()).decode().split("\r\n")
        # What follows the head at once belongs to the tunnel: nothing of it is lost.
        there, back = await asyncio.open_connection("127.0.0.1", origin.port)
        await line.says(
            b"HTTP/1.1 200 Connection established\r\nVia: x\r\nContent-Length: 0\r\n\r\n"
        )
        copying = [
            asyncio.create_task(copied(line.reader, back)),
            asyncio.create_task(copied(there, line.writer)),
        ]
        connection = await opening
        assert b"secret" not in await exchanged(origin, connection)
        connection.fail(ConnectionError())
        await asyncio.gather(*copying)
    assert head[:2] == [f"CONNECT {NAME}:443 HTTP/1.1", f"Host: {NAME}:443"]
    pair = {"": None, "user@": b"user:"}.get(credentials, b"user@x:p:w")
    expected = [f"Proxy-Authorization: Basic {base64.b64encode(pair).decode()}"] if pair else []
    assert head[2:] == [*expected, "", ""]


async def test_a_tunnel_to_an_address() -> None:
    """An IPv6 literal keeps its brackets."""
    async with FarSide() as far:
        proxy = urlsplit(f"http://127.0.0.1:{far.port}")
        rack = Rack()
        opening = asyncio.create_task(
            connector(rack.clock).open(urlsplit("http://[::1]:81/"), proxy, rack.made)
        )
        line = await far.accepts()
        assert (await line.hears()).startswith(b"CONNECT [::1]:81 HTTP/1.1\r\nHost: [::1]:81\r\n")
        await line.says(b"HTTP/1.1 200 OK\r\n\r\n")
        connection = await opening
        answering = asyncio.create_task(line.answers(OK))
        assert (await asked(connection)).content == b"ok"
        await answering
        connection.fail(ConnectionError())


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n",
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nnever",
        b"HTTP/1.1 302 Found\r\nLocation: http://login.example.test/\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 000 Nothing\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"\x16\x03\x01",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
    ],
)
async def test_a_proxy_that_does_not_let_us_through(said: bytes) -> None:
    """Whatever it says instead of yes, nothing more is said to it."""
    async with FarSide() as far:
        proxy = urlsplit(f"http://user:pw@127.0.0.1:{far.port}")
        opening = asyncio.create_task(
            connector(FakeClock()).open(urlsplit(f"https://{NAME}/"), proxy, Rack().made)
        )
        line = await far.accepts()
        await line.hears()
        both = descriptors()
        with contextlib.suppress(ConnectionError):
            await line.says(said)
        with pytest.raises(ProxyRefused) as caught:
            await opening
        assert "pw" not in str(caught.value)
        await fewer_than(both)
        assert await heard_no_more(line)


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\n"])
@pytest.mark.parametrize("reset", [False, True])
async def test_a_proxy_that_hangs_up(begun: bytes, reset: bool) -> None:
    """It is the proxy's fault and not the provider's."""
    async with FarSide() as far:
        proxy = urlsplit(f"http://127.0.0.1:{far.port}")
        opening = asyncio.create_task(
            connector(FakeClock()).open(urlsplit(f"https://{NAME}/"), proxy, Rack().made)
        )
        line = await far.accepts()
        await line.hears()
        await line.says(begun)
        if reset:
            line.breaks()
        else:
            line.closes()
        with pytest.raises(ProxyRefused):
            await opening


@pytest.mark.parametrize("place", ["http://127.0.0.1:{}", "http://nowhere.invalid:{}"])
async def test_a_proxy_that_is_not_there(place: str) -> None:
    """It is the proxy that cannot be reached."""
    with pytest.raises(ProxyRefused):
        async with opened(urlsplit(f"https://{NAME}/"), urlsplit(place.format(free_port()))):
            pass


async def test_a_proxy_behind_tls_hears_no_password() -> None:
    """TLS to the proxy itself is not spoken, so nothing is said to it in the clear either."""
    async with FarSide() as far:
        proxy = urlsplit(f"https://user:pw@127.0.0.1:{far.port}")
        with pytest.raises(ProxyRefused):
            async with opened(urlsplit(f"https://{NAME}/"), proxy):
                pass
        assert far.lines == []


async def heard_no_more(line: Line) -> bool:
    """Say whether the near side closes without another word."""
    with contextlib.suppress(ConnectionError):
        return await line.reader.read() == b""
    return True


async def copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on all that comes, and its end."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
