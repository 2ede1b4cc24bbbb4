"""One grant request over HTTP: what cannot have happened, what may have, what is never said."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from bridge.errors import AnswerLost, AuthorizationServerError
from bridge.network import Client, Outbound, outbound
from bridge.oauth.endpoint import (
    CONNECT_SECONDS,
    EXCHANGE_SECONDS,
    LIMIT,
    LONGEST_RETRY_AFTER,
    READ_SECONDS,
    HttpEndpoint,
)
from bridge.oauth.grant import GrantReply, GrantRequest
from tests.fakes.clock import FakeClock
from tests.fakes.exchange import Exchange
from tests.fakes.loopback import LoopbackServer
from tests.fakes.tls import NAME, CertificateAuthority, TlsServer, TunnelProxy
from tests.wire.farside import turns

SECRET = "REFRESHsecret"  # planted, to be looked for
FORM = {"grant_type": "refresh_token", "refresh_token": SECRET, "client_id": "client"}

Answering = Callable[[Exchange], Awaitable[None]]


class Server(LoopbackServer):
    """A server that answers by *answering*."""

    def __init__(self, answering: Answering) -> None:
        super().__init__()
        self.answering = answering

    async def answer(self, exchange: Exchange) -> None:
        """Answer as the test wants it."""
        await self.answering(exchange)


class SecureServer(TlsServer, Server):
    """The same over TLS."""

    def __init__(self, answering: Answering, authority: CertificateAuthority) -> None:
        super().__init__(answering)
        self.context = authority.server_context


def request(host: str) -> GrantRequest:
    """Return a refresh to be posted to *host*."""
    return GrantRequest(f"{host}/api/oauth/token", FORM, {"X-Msh-Platform": "bridge"})


@contextlib.asynccontextmanager
async def endpoint(
    settings: Outbound | None = None,
    clock: FakeClock | None = None,
    read_seconds: float = READ_SECONDS,
) -> AsyncIterator[HttpEndpoint]:
    """Open an endpoint for the length of the block; without a *clock* time stands still."""
    client = Client(settings or Outbound({}), clock or FakeClock())
    try:
        yield HttpEndpoint(client, read_seconds=read_seconds)
    finally:
        await client.close()


async def sent(answering: Answering) -> GrantReply:
    """Return the reply of a server that answers by *answering*."""
    async with Server(answering) as server, endpoint() as way:
        return await way.send(request(server.url))


async def plain(exchange: Exchange) -> None:
    """Answer with a small document."""
    await exchange.answers_json(200, {"access_token": "new"})


# --- the request


async def test_request_on_the_wire() -> None:
    """The form is posted as RFC 6749 has it, with its headers, asking for plain JSON."""
    async with Server(plain) as server, endpoint() as way:
        reply = await way.send(request(server.url))
        arrived = await server.received(1)
    assert (reply.status, reply.document) == (200, {"access_token": "new"})
    assert (arrived.method, arrived.target) == ("POST", "/api/oauth/token")
    assert arrived.form == FORM
    assert arrived.header("content-type") == "application/x-www-form-urlencoded"
    assert arrived.header("accept") == "application/json"
    assert arrived.header("accept-encoding") == "identity"
    assert arrived.header("x-msh-platform") == "bridge"
    assert arrived.header("content-length") == str(len(arrived.body))
    assert arrived.header("host") == server.url.removeprefix("http://")
    assert arrived.header("connection") == "close"
    assert len(arrived.headers) == 7


async def test_nothing_is_sent_twice() -> None:
    """Whatever becomes of the answer, one request is all that leaves."""
    async with Server(breaks) as server, endpoint() as way:
        with pytest.raises(AnswerLost):
            await way.send(request(server.url))
        assert len(server.requests) == 1


async def test_each_request_has_its_own_connection() -> None:
    """No request goes out on a kept connection, which may die with a refresh token on its way."""
    async with Server(plain) as server, endpoint() as way:
        for _ in range(3):
            await way.send(request(server.url))
        assert [arrived.connection for arrived in server.requests] == [1, 2, 3]


# --- answers


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b'{"error": "authorization_pending"}'),
        (200, b"<html>welcome to the hotel</html>"),
        (500, b""),
        (200, b"\xff\x00"),
        (302, b"moved"),
    ],
)
async def test_answer_is_returned_as_it_came(status: int, body: bytes) -> None:
    """Whatever a server says is handed on; what it means is not decided here."""

    async def answer(exchange: Exchange) -> None:
        await exchange.answers(status, {"location": "/elsewhere"}, body)

    reply = await sent(answer)
    assert (reply.status, reply.body, reply.retry_after) == (status, body, None)


async def test_answer_of_unknown_length() -> None:
    """An answer in chunks, or until the connection closes, is read to its end."""
    for framing in ("chunked", "close"):

        async def answer(exchange: Exchange, framing: str = framing) -> None:
            await exchange.head(200, framing="chunked" if framing == "chunked" else "close")
            for part in (b'{"access', b'_token":', b' "new"}'):
                await exchange.says(part)
            await exchange.ends()

        assert (await sent(answer)).access_token == "new"


async def ends_without_goodbye(exchange: Exchange, body: bytes) -> None:
    """Answer with *body* and no length, and end without TLS's own goodbye."""
    await exchange.raw(b"HTTP/1.1 200 OK\r\n\r\n" + body)
    exchange.breaks()


@pytest.mark.parametrize("body", [b'{"access_token": "ne', b'{"access_token": "new"', b"", b"[]"])
async def test_answer_without_length_and_cut(body: bytes, tmp_path: Path) -> None:
    """Where only the connection's end could be the answer's, a document that has none is lost."""

    async def answer(exchange: Exchange) -> None:
        await ends_without_goodbye(exchange, body)

    with pytest.raises(AnswerLost, match=r"the connection was (closed|reset)"):
        await sent_over_tls(answer, tmp_path)


async def test_answer_without_length_and_whole(tmp_path: Path) -> None:
    """A token that is all here is not thrown away because nobody said goodbye."""

    async def answer(exchange: Exchange) -> None:
        await ends_without_goodbye(exchange, b'{"access_token": "new"}')

    assert (await sent_over_tls(answer, tmp_path)).access_token == "new"


async def sent_over_tls(answering: Answering, folder: Path) -> GrantReply:
    """Return the reply of a TLS server that answers by *answering*."""
    authority = CertificateAuthority(folder)
    settings = Outbound({}, ca_file=str(authority.file))
    async with SecureServer(answering, authority) as server, endpoint(settings) as way:
        return await way.send(request(f"https://localhost:{server.port}"))


async def test_long_head() -> None:
    """A head as long as no server's is still read: a lost answer is a lost login."""

    async def answer(exchange: Exchange) -> None:
        await exchange.answers(200, {"x": "x" * 200_000}, b'{"access_token": "new"}')

    assert (await sent(answer)).access_token == "new"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("99999999999", LONGEST_RETRY_AFTER),
        ("9" * 400, LONGEST_RETRY_AFTER),
        ("1.5", None),
        ("-1", None),
        ("\u00b2", None),
        ("", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
    ],
)
async def test_retry_after(value: str, seconds: float | None) -> None:
    """``Retry-After`` in seconds is read, within reason; anything else is as good as none."""

    async def answer(exchange: Exchange) -> None:
        await exchange.answers(503, {"retry-after": value})

    assert (await sent(answer)).retry_after == seconds


async def test_huge_answer_is_not_read() -> None:
    """An answer of ten megabytes is given up at the limit, and its server hears of it."""
    stopped = asyncio.Event()

    async def answer(exchange: Exchange) -> None:
        await exchange.head(200, framing="length", length=10_000_000)
        try:
            for _ in range(1000):
                await exchange.says(b"x" * 10_000)
        except ConnectionError:
            stopped.set()
            raise

    async with Server(answer) as server, endpoint() as way:
        reply = await way.send(request(server.url))
        assert (reply.status, reply.body) == (200, b"")
        await stopped.wait()


async def test_answer_at_the_limit_is_read() -> None:
    """The limit itself is still read."""

    async def answer(exchange: Exchange) -> None:
        await exchange.answers(200, {}, b"x" * LIMIT)

    assert len((await sent(answer)).body) == LIMIT


# --- nothing can have happened


async def unreachable(way: HttpEndpoint, host: str) -> str:
    """Return what is said of *host*, which must not be reached."""
    with pytest.raises(AuthorizationServerError) as caught:
        await way.send(request(host))
    assert not isinstance(caught.value, AnswerLost)
    text = str(caught.value)
    assert text.startswith(f"{host} cannot be reached (")
    assert text.endswith("): check the network, then try again")
    assert "secret" not in text
    return text


async def test_connection_refused() -> None:
    """A closed port is named with the system's reason."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        async with endpoint() as way:
            text = await unreachable(way, f"http://127.0.0.1:{port}")
    assert "Connect call failed" in text


async def test_name_that_nobody_knows() -> None:
    """A name that cannot be resolved is named."""
    async with endpoint() as way:
        await unreachable(way, "https://nowhere.invalid")


async def test_certificate_of_a_stranger(tmp_path: Path) -> None:
    """A server that no authority vouches for never sees the request; the reason is told."""
    authority = CertificateAuthority(tmp_path)
    async with SecureServer(plain, authority) as server, endpoint() as way:
        text = await unreachable(way, server.url.replace("http://127.0.0.1", "https://localhost"))
        assert "certificate" in text
        assert server.requests == []


async def test_no_tls_at_all() -> None:
    """A server that answers TLS with plain words is told from one that is not there."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, endpoint() as way:
        port = server.sockets[0].getsockname()[1]
        text = await unreachable(way, f"https://127.0.0.1:{port}")
    assert "WRONG_VERSION_NUMBER" in text


async def test_proxy_that_refuses() -> None:
    """A proxy that opens no tunnel is told by its status, without its address or password."""
    async with TunnelProxy(1) as proxy:
        proxy.status = 407
        async with endpoint(outbound({"HTTPS_PROXY": proxy.url})) as way:
            text = await unreachable(way, f"https://{NAME}")
    assert "the proxy answered 407" in text


async def test_proxy_that_is_not_there() -> None:
    """A proxy that is down is told, without its password."""
    async with endpoint(outbound({"HTTPS_PROXY": "http://user:PROXYsecret@127.0.0.1:1"})) as way:
        assert "the proxy: it cannot be reached" in await unreachable(way, f"https://{NAME}")


async def is_asked(proxy: TunnelProxy) -> None:
    """Return once *proxy* has been asked for a tunnel."""
    while not proxy.tunnels:
        await turns(1)


async def test_proxy_that_is_silent() -> None:
    """No connection within three seconds is none: the official CLI waits no longer for the lock."""
    clock = FakeClock()
    async with TunnelProxy(1) as proxy:
        proxy.silent = True
        async with endpoint(outbound({"HTTPS_PROXY": proxy.url}), clock) as way:
            asking = asyncio.create_task(unreachable(way, f"https://{NAME}"))
            await is_asked(proxy)
            assert clock.deadlines == [CONNECT_SECONDS]
            clock.advance(CONNECT_SECONDS)
            assert "no connection in time" in await asking


async def test_cancelled_before_there_is_a_connection() -> None:
    """Who gives up while the proxy is silent leaves no connection to it."""
    clock = FakeClock()
    async with TunnelProxy(1) as proxy:
        proxy.silent = True
        async with endpoint(outbound({"HTTPS_PROXY": proxy.url}), clock) as way:
            task = asyncio.create_task(way.send(request(f"https://{NAME}")))
            await is_asked(proxy)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            while proxy._tasks:  # each ends when it is left
                await turns(1)


async def test_through_the_proxy_of_a_company(tmp_path: Path) -> None:
    """With proxy and authority set, a login goes the same way as everything else."""
    authority = CertificateAuthority(tmp_path)
    async with (
        SecureServer(plain, authority) as server,
        TunnelProxy(server.port) as proxy,
        endpoint(outbound({"HTTPS_PROXY": proxy.url, "SSL_CERT_FILE": str(authority.file)})) as way,
    ):
        reply = await way.send(request(f"https://{NAME}"))
        assert reply.access_token == "new"
        assert proxy.tunnels[0].startswith(f"CONNECT {NAME}:443 ")
        assert (await server.received(1)).form == FORM


# --- nobody knows what happened


async def breaks(exchange: Exchange) -> None:
    """Reset the connection instead of an answer."""
    exchange.breaks()


async def closes(exchange: Exchange) -> None:
    """Close the connection in good order instead of an answer."""
    exchange.closes()


async def breaks_in_the_head(exchange: Exchange) -> None:
    """Reset the connection within the head."""
    await exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Le")
    exchange.closes()


async def breaks_in_the_body(exchange: Exchange) -> None:
    """Reset the connection within the body."""
    await exchange.head(200, framing="length", length=100)
    await exchange.says(b'{"access_token": "ACCESSsecret')
    exchange.closes()


async def breaks_in_a_chunk(exchange: Exchange) -> None:
    """Close the connection before the last chunk."""
    await exchange.head(200, framing="chunked")
    await exchange.says(b'{"access_token": "ACCESSsecret"}')
    exchange.closes()


async def talks_nonsense(exchange: Exchange) -> None:
    """Answer with something that is no HTTP, and secret."""
    await exchange.raw(b'{"access_token": "ACCESSsecret"}\r\n\r\n')
    exchange.closes()


async def talks_nonsense_in_a_header(exchange: Exchange) -> None:
    """Answer with a header that is none."""
    await exchange.raw(b"HTTP/1.1 200 OK\r\nACCESSsecret\r\n\r\n")
    exchange.closes()


async def never_stops_its_head(exchange: Exchange) -> None:
    """Answer with a header larger than any."""
    await exchange.raw(b"HTTP/1.1 200 OK\r\nX: " + b"ACCESSsecret" * 30_000 + b"\r\n\r\n")
    exchange.closes()


@pytest.mark.parametrize(
    "answering",
    [breaks, closes, breaks_in_the_head, breaks_in_the_body, breaks_in_a_chunk, talks_nonsense,
     talks_nonsense_in_a_header, never_stops_its_head],
)  # fmt: skip
async def test_answer_lost(answering: Answering) -> None:
    """Once the request went out, whatever is no answer counts as lost, and quotes nothing."""
    with pytest.raises(AnswerLost, match=r"^the answer of http://127.0.0.1:\d+ was lost \(") as e:
        await sent(answering)
    assert str(e.value).endswith("): try again")
    assert len(str(e.value)) < 150
    assert "secret" not in str(e.value)
    assert e.value.__cause__ is None


async def says_nothing(exchange: Exchange) -> None:
    """Take the request and never answer."""
    await exchange.abandoned()
    exchange.breaks()


async def says_nothing_more(exchange: Exchange) -> None:
    """Begin an answer and never end it."""
    await exchange.head(200, framing="chunked")
    await exchange.abandoned()
    exchange.breaks()


async def given_up(answering: Answering, read_seconds: float = READ_SECONDS) -> float:
    """Return after how many seconds a server that answers by *answering* was given up."""
    clock = FakeClock()
    began = clock.monotonic()
    async with Server(answering) as server, endpoint(None, clock, read_seconds) as way:
        task = asyncio.create_task(way.send(request(server.url)))
        await server.received(1)
        with pytest.raises(AnswerLost, match="no answer in time"):
            await clock.run_until(task)
    return clock.monotonic() - began


async def test_silence() -> None:
    """A server that falls silent is waited for with patience, and then its answer is lost."""
    assert await given_up(says_nothing) == READ_SECONDS
    assert READ_SECONDS <= await given_up(says_nothing_more) <= EXCHANGE_SECONDS


async def trickles(exchange: Exchange) -> None:
    """Answer a byte at a time for ever."""
    await exchange.head(200, framing="chunked")
    turn = asyncio.Event()
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ConnectionError):
        while True:
            await exchange.says(b" ")
            turn.clear()
            loop.call_later(0.005, turn.set)
            await turn.wait()


async def test_trickle() -> None:
    """A server that never falls silent and never ends does not hold the lock for ever."""
    assert await given_up(trickles, read_seconds=1e9) == EXCHANGE_SECONDS


async def test_cancelled_caller_closes_the_connection() -> None:
    """A request that nobody wants any more is not left open."""
    gone = asyncio.Event()
    arrived = asyncio.Event()

    async def answer(exchange: Exchange) -> None:
        arrived.set()
        await exchange.abandoned()
        gone.set()
        exchange.breaks()

    async with Server(answer) as server, endpoint() as way:
        task = asyncio.create_task(way.send(request(server.url)))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await gone.wait()
