"""One connection: what is relayed, what counts as an end, and when it may be used again."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from bridge.wire.connection import HELD_BYTES, Connection
from bridge.wire.failure import Disconnected, NotHttp, Silent
from tests.fakes.tls import CertificateAuthority
from tests.wire.farside import OK, REQUEST, FarSide, Rack, Sink, asked, connected, turns

UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"
MEBIBYTE = 1 << 20


class Glutton(Sink):
    """A reader that is full at once: it says pause in the middle of every take."""

    connection: Connection

    def take(self, pieces: Sequence[bytes], *, last: bool) -> None:
        """Keep what has come and ask for nothing more."""
        super().take(pieces, last=last)
        self.connection.pause()


async def test_content_is_relayed_as_it_comes() -> None:
    """Each piece is with the reader before the next is said, and the end is told with the last."""
    async with FarSide() as far, connected(far) as (rack, connection, line):
        asking = asyncio.create_task(connection.ask(REQUEST, b"body", bodiless=False))
        assert await line.hears() == REQUEST
        assert await line.reader.readexactly(4) == b"body"
        await line.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        answer = await asking
        assert (answer.status, answer.headers) == (200, [(b"Transfer-Encoding", b"chunked")])
        sink = Sink()
        ended = connection.relay(sink)
        for number in range(1, 4):
            await line.says(b"1\r\nx\r\n")
            await sink.has(number)
            assert not ended.done()
        await line.says(b"0\r\n\r\n")
        await ended
        assert (sink.content, sink.whole) == (b"xxx", True)
        assert rack.back == [connection]
        assert connection.usable


async def test_answers_follow_one_another() -> None:
    """A connection that is back carries the next exchange, with nothing left of the one before."""
    async with FarSide() as far, connected(far) as (rack, connection, line):
        for number in range(3):
            answering = asyncio.create_task(line.answers())
            assert (await asked(connection)).content == b"ok"
            await answering
            assert connection.served == number + 1
        assert rack.back == [connection] * 3


async def test_content_waits_for_its_reader_up_to_a_limit() -> None:
    """Before anybody reads the upstream is told to pause; afterwards every byte is there."""
    size = 16 * MEBIBYTE
    async with FarSide() as far, connected(far) as (rack, connection, line):
        asking = asyncio.create_task(connection.ask(REQUEST, b"", bodiless=False))
        await line.hears()
        saying = asyncio.create_task(
            line.says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
        )
        answer = await asking
        while not connection.paused:
            await turns(1)
        assert HELD_BYTES < answer.held <= 3 * HELD_BYTES
        sink = Sink()
        await connection.relay(sink)
        await saying
        assert len(sink.content) == size
        assert rack.back == [connection]


async def test_a_reader_that_is_full_at_once_stays_so() -> None:
    """A pause that the very first delivery brings about holds: no more comes until it is lifted."""
    size = 16 * MEBIBYTE
    async with FarSide() as far, connected(far) as (_, connection, line):
        asking = asyncio.create_task(connection.ask(REQUEST, b"", bodiless=False))
        await line.hears()
        saying = asyncio.create_task(
            line.says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
        )
        await asking
        while not connection.paused:  # the content that waits was enough
            await turns(1)
        glutton = Glutton()
        glutton.connection = connection
        ended = connection.relay(glutton)
        assert connection.paused
        await turns(50)
        assert glutton.takes == 1
        assert not saying.done()
        takes = 0
        while not ended.done():
            assert glutton.takes <= takes + 2
            takes = glutton.takes
            connection.resume()
            await turns(5)
        await saying
        assert len(glutton.content) == size


@pytest.mark.parametrize("secure", [False, True])
async def test_a_stalled_reader_costs_no_memory(secure: bool, tmp_path: Path) -> None:
    """Of an answer of 200 MB the upstream gets rid of what kernels hold, and no more."""
    authority = CertificateAuthority(tmp_path)
    block = bytes(MEBIBYTE)
    said = 0
    server, client = (authority.server_context, trusting(authority)) if secure else (None, None)
    async with FarSide(server) as far, connected(far, client) as (_, connection, line):

        async def speak() -> None:
            nonlocal said
            await line.says(b"HTTP/1.1 200 OK\r\nContent-Length: 209715200\r\n\r\n")
            for _ in range(200):
                await line.says(block)
                said += 1

        asking = asyncio.create_task(connection.ask(REQUEST, b"", bodiless=False))
        await line.hears()
        speaking = asyncio.create_task(speak())
        await asking
        glutton = Glutton()
        glutton.connection = connection
        connection.relay(glutton)
        before = -1
        while before < said or not glutton.takes:
            before = said
            await turns(200)
        assert said <= 16
        assert len(glutton.content) <= 2 * MEBIBYTE
        speaking.cancel()


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 9\r\n", b"Transfer-Encoding: chunked\r\n", b""]
)
@pytest.mark.parametrize("reset", [False, True])
async def test_how_a_connection_ends_says_whether_an_answer_has(
    framing: bytes, reset: bool
) -> None:
    """A FIN ends what has no other end; every other end before the end is a cut."""
    async with FarSide() as far, connected(far) as (rack, connection, line):
        asking = asyncio.create_task(connection.ask(REQUEST, b"", bodiless=False))
        await line.hears()
        await line.says(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n2\r\nok")
        await asking
        sink = Sink()
        ended = connection.relay(sink)
        await sink.has(2)
        if reset:
            line.breaks()
        else:
            line.closes()
        if framing or reset:
            with pytest.raises(Disconnected, match="reset" if reset else "closed"):
                await ended
        else:
            await ended
        assert sink.whole is not (bool(framing) or reset)
        assert not connection.usable
        assert rack.back == []


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("polite", [False, True])
async def test_tls_that_ends_without_a_word_is_a_cut(
    polite: bool, held: bool, tmp_path: Path
) -> None:
    """Without close_notify a FIN may be anybody's (RFC 9112 section 9.8)."""
    authority = CertificateAuthority(tmp_path)
    rack, sink = Rack(), Sink()
    async with hasty_server(authority, UNTIL_CLOSE + b"two", polite=polite) as port:
        _, connection = await asyncio.get_running_loop().create_connection(
            rack.made, "127.0.0.1", port, ssl=trusting(authority), server_hostname="localhost"
        )
        await connection.ask(REQUEST, b"", bodiless=False)
        if held:
            while connection.usable:  # the end is here before anybody reads
                await turns(1)
        ended = connection.relay(sink)
        if polite:
            await ended
        else:
            with pytest.raises(Disconnected):
                await ended
    assert sink.whole is polite
    assert sink.content == b"two"
    assert not connection.usable


@pytest.mark.parametrize("polite", [False, True])
@pytest.mark.parametrize("framing", [b"Content-Length: 1048576\r\n", b""])
async def test_tls_that_ends_while_its_reader_is_full(
    framing: bytes, polite: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What waited behind a pause is delivered after it, with the end, and nobody complains."""
    authority = CertificateAuthority(tmp_path)
    rack, glutton = Rack(), Glutton()
    said = b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + framing + b"\r\n" + bytes(MEBIBYTE)
    async with hasty_server(authority, said, polite=polite) as port:
        _, connection = await asyncio.get_running_loop().create_connection(
            rack.made, "127.0.0.1", port, ssl=trusting(authority), server_hostname="localhost"
        )
        glutton.connection = connection
        await connection.ask(REQUEST, b"", bodiless=False)
        ended = connection.relay(glutton)
        while not ended.done():
            await turns(20)
            connection.resume()
    assert len(glutton.content) == MEBIBYTE
    assert glutton.whole is bool(framing or polite)
    assert (ended.exception() is None) is glutton.whole
    assert caplog.records == []


async def test_what_nobody_asked_for_ends_an_idle_connection() -> None:
    """Also a polite goodbye such as nginx says: it answers nothing."""
    async with FarSide() as far, connected(far) as (_, connection, line):
        answering = asyncio.create_task(line.answers())
        await asked(connection)
        await answering
        await line.says(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await line.is_left()
        assert not connection.usable
        with pytest.raises(Disconnected) as caught:
            await connection.ask(REQUEST, b"", bodiless=False)
        assert caught.value.reused


@pytest.mark.parametrize("close", [b"", b"Connection: close\r\n"])
@pytest.mark.parametrize("late", [False, True])
async def test_more_than_the_answer_does_it_no_harm(close: bytes, late: bool) -> None:
    """The answer ends whole, whether or not anybody reads it yet; its connection is let go."""
    said = b"HTTP/1.1 200 OK\r\n" + close + b"Content-Length: 2\r\n\r\n"
    async with FarSide() as far, connected(far) as (rack, connection, line):
        asking = asyncio.create_task(connection.ask(REQUEST, b"", bodiless=False))
        await line.hears()
        await line.says(said + b"okHTTP/1.1 200 Forged\r\n\r\n" if late else said)
        answer = await asking
        sink = Sink()
        ended = connection.relay(sink)
        if not late:
            await line.says(b"ok\x00\x00garbage")
        await ended
        assert (sink.content, sink.whole, answer.reason) == (b"ok", True, b"OK")
        assert rack.back == []
        await line.is_left()


@pytest.mark.parametrize("begun", [False, True])
async def test_nonsense_is_told_and_let_go(begun: bool) -> None:
    """What breaks the rules fails whoever waits: for the head, or for the end."""
    async with FarSide() as far, connected(far) as (rack, connection, line):
        asking = asyncio.create_task(connection.ask(REQUEST, b"", bodiless=False))
        await line.hears()
        if begun:
            await line.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            await asking
            ended: asyncio.Future[None] = connection.relay(Sink())
            await line.says(b"zz\r\n")
            with pytest.raises(NotHttp):
                await ended
        else:
            await line.says(b"SSH-2.0-OpenSSH\r\n")
            with pytest.raises(NotHttp):
                await asking
        await line.is_left()
        assert rack.back == []


@pytest.mark.parametrize("status", [b"101 Switching Protocols", b"000 Nothing"])
async def test_a_status_without_sense_is_told(
    status: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody asked for another protocol."""
    async with FarSide() as far, connected(far) as (_, connection, line):
        answering = asyncio.create_task(
            line.answers(b"HTTP/1.1 " + status + b"\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        )
        with pytest.raises(NotHttp):
            await connection.ask(REQUEST, b"", bodiless=False)
        await answering
    assert caplog.records == []


async def test_an_upstream_that_half_closes_before_it_answers() -> None:
    """Its FIN fails the exchange at once, although our request is not out and never will be."""
    async with FarSide() as far, connected(far) as (_, connection, line):
        asking = asyncio.create_task(connection.ask(REQUEST, bytes(32 * MEBIBYTE), bodiless=False))
        await line.hears()
        line.finishes()
        with pytest.raises(Disconnected):
            await asking


async def test_an_answer_before_the_request_is_out() -> None:
    """It is read whole; its connection, where the rest would follow, carries nothing else."""
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"
    async with FarSide() as far, connected(far) as (rack, connection, line):
        asking = asyncio.create_task(asked(connection, bytes(32 * MEBIBYTE)))
        await line.hears()
        await line.says(refusal)
        sink = await asking
        assert (sink.content, sink.whole) == (b"no", True)
        assert rack.back == []
        await line.is_left()
        assert not connection.usable


async def test_an_early_refusal_is_read_although_the_upstream_closes() -> None:
    """A 413 and a FIN, while a large body is on its way."""
    refusal = b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno"
    async with FarSide() as far, connected(far) as (_, connection, line):
        asking = asyncio.create_task(asked(connection, bytes(32 * MEBIBYTE)))
        await line.hears()
        await line.says(refusal)
        line.finishes()
        assert (await asking).content == b"no"
        await line.is_left()


async def test_a_large_body_arrives_whole() -> None:
    """All of it goes out, and the connection is good for another request."""
    body = bytes(range(256)) * 4096 * 32
    async with FarSide() as far, connected(far) as (rack, connection, line):
        asking = asyncio.create_task(asked(connection, body))
        await line.hears()
        assert await line.reader.readexactly(len(body)) == body
        await line.says(OK)
        await asking
        assert rack.back == [connection]


@pytest.mark.parametrize("size", [0, 32 * MEBIBYTE])
async def test_cancelling_a_request_closes_its_connection(size: int) -> None:
    """At once, although nobody answers and nobody reads what is left of the request."""
    async with FarSide() as far, connected(far) as (rack, connection, line):
        asking = asyncio.create_task(connection.ask(REQUEST, bytes(size), bodiless=False))
        await line.hears()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert not connection.usable
        await line.is_left()
        assert rack.back == []


@pytest.mark.parametrize("held", [False, True])
async def test_a_connection_is_not_given_away_while_somebody_holds_it(held: bool) -> None:
    """Whoever is cancelled in the very moment of the end still closes: it serves nobody else."""
    async with FarSide() as far, connected(far) as (rack, connection, line):
        sink = Sink()

        async def exchange() -> None:
            answer = await connection.ask(REQUEST, b"", bodiless=False)
            try:
                await connection.relay(sink)
            finally:
                if connection.answer is answer:
                    connection.close()

        visiting = asyncio.create_task(exchange())
        await line.hears()
        await line.says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
        await sink.has(1)
        if held:
            visiting.cancel()
            connection.data_received(b"k")  # the end, in the same turn of the loop
            assert rack.back == []
        else:
            connection.data_received(b"k")
            visiting.cancel()
            assert rack.back == [connection]
        with pytest.raises(asyncio.CancelledError):
            await visiting
        assert connection.usable is not held
        assert len(rack.back) == (not held)


async def test_leaving_an_answer() -> None:
    """What is unread costs the connection, unless all of it is here; leaving twice is harmless."""
    async with FarSide() as far:
        async with connected(far) as (rack, connection, line):
            answering = asyncio.create_task(line.answers())
            await connection.ask(REQUEST, b"", bodiless=False)
            await answering
            while connection.answer is None or not connection.answer.whole:
                await turns(1)
            connection.close()
            connection.close()
            assert rack.back == [connection]
            assert connection.usable
        async with connected(far) as (rack, connection, line):
            answering = asyncio.create_task(line.answers(OK[:-1]))
            await connection.ask(REQUEST, b"", bodiless=False)
            await answering
            connection.close()
            connection.close()
            assert rack.back == []
            await line.is_left()


async def test_a_head_only_answer_is_the_last() -> None:
    """After HEAD nobody knows whether content follows all the same."""
    async with FarSide() as far, connected(far) as (rack, connection, line):
        answering = asyncio.create_task(
            line.answers(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        )
        assert (await asked(connection, bodiless=True)).content == b""
        await answering
        assert rack.back == []
        await line.is_left()


async def test_a_bug_of_the_reader_is_told_to_whoever_waits(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It costs this exchange and not the event loop, and nothing is written about it here."""

    class Clumsy(Sink):
        def take(self, pieces: Sequence[bytes], *, last: bool) -> None:
            raise KeyError("secret")

    async with FarSide() as far, connected(far) as (rack, connection, line):
        answering = asyncio.create_task(line.answers())
        await connection.ask(REQUEST, b"", bodiless=False)
        with pytest.raises(KeyError):
            await connection.relay(Clumsy())
        await answering
        assert rack.back == []
        await line.is_left()
    assert caplog.records == []


async def test_giving_up_spares_what_is_whole() -> None:
    """An answer that is here can still be read when its connection is taken away."""
    async with FarSide() as far, connected(far) as (rack, connection, line):
        answering = asyncio.create_task(line.answers())
        answer = await connection.ask(REQUEST, b"", bodiless=False)
        await answering
        while not answer.whole:
            await turns(1)
        connection.fail(Silent("for too long"))
        await line.is_left()
        sink = Sink()
        await connection.relay(sink)
        assert (sink.content, sink.whole) == (b"ok", True)
        assert rack.back == []


def trusting(authority: CertificateAuthority) -> ssl.SSLContext:
    """Return the settings of a client that believes *authority*."""
    return ssl.create_default_context(cafile=str(authority.file))


@asynccontextmanager
async def hasty_server(
    authority: CertificateAuthority, data: bytes, *, polite: bool
) -> AsyncIterator[int]:
    """Answer one request over TLS with *data* and close; *polite*: with close_notify."""

    def serve() -> None:
        raw, _ = listener.accept()
        with listener, authority.server_context.wrap_socket(raw, server_side=True) as secured:
            heard = b""
            while not heard.endswith(b"\r\n\r\n"):
                heard += secured.recv(4096)
            secured.sendall(data)
            if polite:
                with suppress(OSError):  # the near side need not say goodbye, too
                    secured.unwrap()

    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        await asyncio.to_thread(thread.join)
