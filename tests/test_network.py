"""The client: proxies, authorities and limits, the same for login, refresh and traffic."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import ssl
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

import pytest

from bridge.errors import ConfigError
from bridge.network import Client, Outbound, _tls, outbound
from bridge.providers import Auth, Dialect, Models, Provider
from bridge.wire.connection import Connection
from bridge.wire.failure import ConnectTimeout, Disconnected, ProxyRefused
from bridge.wire.whole import Question
from bridge.wire.whole import ask as asked
from tests.fakes.clock import FakeClock
from tests.fakes.exchange import Exchange
from tests.fakes.loopback import LoopbackServer
from tests.fakes.tls import NAME, CertificateAuthority, TlsServer, TunnelProxy
from tests.wire.farside import turns


class Echo(LoopbackServer):
    """A server that answers with what *answers* says, by path."""

    async def answer(self, exchange: Exchange) -> None:
        """Answer as the path wants it."""
        path = exchange.request.path
        if path == "/gzip":
            await exchange.answers(200, {"content-encoding": "gzip"}, gzip.compress(b"plain"))
        elif path == "/elsewhere":
            await exchange.answers(302, {"location": f"{self.url}/", "set-cookie": "a=b"})
        else:
            await exchange.answers(200, {}, b"here")


class TlsEcho(TlsServer, Echo):
    """The same over TLS."""

    def __init__(self, authority: CertificateAuthority) -> None:
        super().__init__()
        self.context = authority.server_context


async def ask(client: Client, url: str, connect_seconds: float = 5.0) -> tuple[int, bytes]:
    """Post to *url* as login and refresh do, and return status and body."""
    return await answered(client, await client.open(urlsplit(url), connect_seconds), url)


async def answered(client: Client, connection: Connection, url: str) -> tuple[int, bytes]:
    """Post to *url* on *connection* and return status and body."""
    question = Question("POST", urlsplit(url), [("X-One", "1"), ("X-One", "2")], b"body")
    answer = await asked(
        connection,
        question,
        client.clock,
        silence_seconds=5.0,
        until=client.clock.monotonic() + 5.0,
        limit=1000,
    )
    return answer.status, answer.content


# --- requests


async def test_request_goes_out_as_it_is() -> None:
    """Raw path, repeated headers and body leave unchanged, on a connection of their own."""
    async with Echo() as server:
        client = Client(Outbound({}))
        assert await ask(client, f"{server.url}/a%2Fb?q=%20%C3%BC&r") == (200, b"here")
        request = await server.received(1)
        assert request.target == "/a%2Fb?q=%20%C3%BC&r"
        assert request.body == b"body"
        names = [name.lower() for name, _ in request.headers]
        assert sorted(names) == ["connection", "content-length", "host", "x-one", "x-one"]
        assert request.header("connection") == "close"
        await client.close()


async def test_answer_comes_as_it_is() -> None:
    """Nothing is decompressed, no redirect followed, no cookie kept."""
    async with Echo() as server:
        client = Client(Outbound({}))
        _, body = await ask(client, f"{server.url}/gzip")
        assert gzip.decompress(body) == b"plain"
        assert await ask(client, f"{server.url}/elsewhere") == (302, b"")
        await ask(client, server.url)
        assert (await server.received(3)).header("cookie") == ""
        assert len(server.requests) == 3
        await client.close()


async def test_a_connection_of_its_own() -> None:
    """What traffic has kept warm is never taken, and what is opened is not kept for traffic."""
    async with Echo() as server:
        client = Client(Outbound({}))
        kept = await opens(client, server.url)
        own = await client.open(urlsplit(server.url))
        assert own is not kept
        await answered(client, own, server.url)
        assert not own.usable
        assert await opens(client, server.url) is not own
        await client.close()


async def test_https_with_an_authority_of_ones_own(tmp_path: Path) -> None:
    """A server is trusted because of ``ca_file``, and refused without it or with another."""
    authority, other = (CertificateAuthority(tmp_path / name) for name in ("a", "b"))
    async with TlsEcho(authority) as server:
        url = server.url.replace("http://127.0.0.1", "https://localhost")
        trusting = Client(Outbound({}, ca_file=str(authority.file)))
        assert await ask(trusting, url) == (200, b"here")
        await trusting.close()
        for ca_file in (None, str(other.file)):
            client = Client(Outbound({}, ca_file=ca_file))
            with pytest.raises(ssl.SSLCertVerificationError):
                await ask(client, url)
            await client.close()
        assert len(server.requests) == 1


async def test_https_for_another_name(tmp_path: Path) -> None:
    """A certificate for another name is refused, authority or not."""
    authority = CertificateAuthority(tmp_path)
    async with TlsEcho(authority) as server:
        client = Client(Outbound({}, ca_file=str(authority.file)))
        with pytest.raises(ssl.SSLCertVerificationError):
            await ask(client, server.url.replace("http://", "https://"))
        await client.close()


async def test_unusable_authority(tmp_path: Path) -> None:
    """A ``ca_file`` that is missing or no PEM is named, with what it should be."""
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    for path in (nonsense, tmp_path / "missing.pem", tmp_path):
        with pytest.raises(ConfigError, match=f"{path} cannot be used .*: name a readable PEM"):
            Client(Outbound({}, ca_file=str(path)))


# --- single providers


def company(url: str, ca_file: Path | None, proxy: str | None = None) -> Provider:
    """Return a row at *url* that names an authority and a proxy for itself."""
    return Provider(
        name="company",
        auth=Auth.KEY,
        surfaces=MappingProxyType({Dialect.ANTHROPIC: url}),
        models=Models("m", "m"),
        ca_file=str(ca_file) if ca_file else None,
        proxy=proxy,
    )


async def opens(client: Client, url: str) -> Connection:
    """Return a connection to *url* as traffic gets it."""
    return await client.pool.take(urlsplit(url), 5.0)


async def test_an_authority_of_one_provider(tmp_path: Path) -> None:
    """An authority that one row names vouches for its host, for traffic and login, and no other."""
    authority = CertificateAuthority(tmp_path)
    async with TlsEcho(authority) as server, TlsEcho(authority) as other:
        url, elsewhere = (
            each.url.replace("http://127.0.0.1", "https://localhost") for each in (server, other)
        )
        client = Client(outbound({}, providers=[company(url, authority.file)]))
        assert await ask(client, url) == (200, b"here")
        assert (await opens(client, url)).usable
        with pytest.raises(ssl.SSLCertVerificationError):
            await ask(client, elsewhere)
        with pytest.raises(ssl.SSLCertVerificationError):
            await opens(client, elsewhere)
        await client.close()


async def test_an_authority_of_one_provider_comes_and_goes(tmp_path: Path) -> None:
    """A reload that names one, or takes it away, counts from the next connection on."""
    authority = CertificateAuthority(tmp_path)
    async with TlsEcho(authority) as server:
        url = server.url.replace("http://127.0.0.1", "https://localhost")
        client = Client(Outbound({}))
        for _ in range(2):
            with pytest.raises(ssl.SSLCertVerificationError):
                await opens(client, url)
            client.retune(outbound({}, providers=[company(url, authority.file)]))
            connection = await opens(client, url)
            client.retune(Outbound({}))
            assert connection.usable  # what is under way keeps it
        await client.close()
        assert not connection.usable


async def test_an_own_authority_beside_everybodys(tmp_path: Path) -> None:
    """Where all have an authority and one has another, that one's counts for it."""
    usual, own = (CertificateAuthority(tmp_path / name) for name in ("usual", "own"))
    async with TlsEcho(usual) as server, TlsEcho(own) as private:
        url, inside = (
            each.url.replace("http://127.0.0.1", "https://localhost") for each in (server, private)
        )
        rows = [company(inside, own.file)]
        client = Client(outbound({}, ca_file=str(usual.file), providers=rows))
        for place in (url, inside):
            assert await ask(client, place) == (200, b"here")
            assert (await opens(client, place)).usable
        await client.close()


def test_unusable_authority_of_a_provider(tmp_path: Path) -> None:
    """A missing file is told with the host it is for."""
    rows = [company("https://api.example.test", tmp_path / "none.pem")]
    with pytest.raises(ConfigError, match=r"ca_file of api\.example\.test: .* cannot be used"):
        Client(outbound({}, providers=rows))


async def test_a_proxy_of_one_provider(tmp_path: Path) -> None:
    """One provider's traffic and login go through its proxy, which nobody else uses."""
    authority = CertificateAuthority(tmp_path)
    async with TlsEcho(authority) as server, TunnelProxy(server.port) as proxy:
        url = f"https://{NAME}/v1"
        client = Client(outbound({}, providers=[company(url, authority.file, proxy.url)]))
        assert await ask(client, url) == (200, b"here")
        assert (await opens(client, url)).usable
        with pytest.raises((socket.gaierror, ConnectTimeout)):
            await ask(client, "https://other.example.test/", connect_seconds=0.5)
        assert len(proxy.tunnels) > 1  # login's and traffic's
        assert {head.split(" ")[1] for head in proxy.tunnels} == {f"{NAME}:443"}
        await client.close()


# --- proxies


async def test_proxy_is_used(tmp_path: Path) -> None:
    """A name is asked through the proxy's tunnel, with the proxy's password and end-to-end TLS."""
    authority = CertificateAuthority(tmp_path)
    async with TlsEcho(authority) as server, TunnelProxy(server.port) as proxy:
        client = Client(outbound({"HTTPS_PROXY": proxy.url}, ca_file=str(authority.file)))
        assert await ask(client, f"https://{NAME}/v1") == (200, b"here")
        assert len(proxy.tunnels) == 1
        assert proxy.tunnels[0].startswith(f"CONNECT {NAME}:443 HTTP/1.1\r\n")
        assert "Proxy-Authorization: Basic " in proxy.tunnels[0]
        assert (await server.received(1)).header("proxy-authorization") == ""
        assert (await server.received(1)).header("host") == NAME
        await client.close()


async def test_proxy_is_left_out() -> None:
    """What ``NO_PROXY`` names, and loopback, never reaches the proxy."""
    async with Echo() as server, TunnelProxy(server.port) as proxy:
        client = Client(outbound({"ALL_PROXY": proxy.url, "NO_PROXY": "example.test"}))
        assert await ask(client, server.url) == (200, b"here")
        with pytest.raises((socket.gaierror, ConnectTimeout)):
            await ask(client, f"https://{NAME}/", connect_seconds=0.5)
        assert proxy.tunnels == []
        await client.close()


async def test_connecting_is_bounded_as_a_whole() -> None:
    """A proxy that takes the connection and never opens the tunnel is given up in time."""
    async with TunnelProxy(1) as proxy:
        proxy.silent = True
        clock = FakeClock()
        client = Client(outbound({"HTTPS_PROXY": proxy.url}), clock)
        opening = asyncio.create_task(client.open(urlsplit(f"https://{NAME}/"), 3.0))
        while not proxy.tunnels:
            await turns(1)
        clock.advance(3.0)
        with pytest.raises(ConnectTimeout):
            await opening
        await client.close()


async def test_a_connection_that_ends_at_once() -> None:
    """What is closed before anything could be asked is told from an answer that was lost."""

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(lead, "127.0.0.1", 0)
    async with server:
        proxy = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = Client(outbound({"http_proxy": proxy}))
        with pytest.raises(Disconnected):
            await client.open(urlsplit(f"http://{NAME}/"))
        await client.close()


async def test_retune_counts_from_the_next_request_on() -> None:
    """New settings hold for new requests; what is under way keeps its connection."""
    async with Echo() as server:
        client = Client(Outbound({}))
        connection = await client.open(urlsplit(server.url))
        async with TunnelProxy(server.port) as proxy:
            client.retune(outbound({"HTTPS_PROXY": proxy.url}))
            proxy.status = 403
            with pytest.raises(ProxyRefused, match="403"):
                await ask(client, f"https://{NAME}/")
        assert await answered(client, connection, server.url) == (200, b"here")
        await client.close()


async def test_retune_that_is_none() -> None:
    """The same settings change nothing, and unusable ones leave the old in force."""
    async with Echo() as server:
        client = Client(Outbound({}))
        await ask(client, server.url)
        client.retune(Outbound({}))
        with pytest.raises(ConfigError):
            client.retune(Outbound({}, ca_file="/nowhere.pem"))
        assert await ask(client, server.url) == (200, b"here")
        await client.close()


def test_certificates_are_checked() -> None:
    """The context that connections are opened with asks for a certificate and for its name."""
    context = _tls(None)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
