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
from bridge.wire.framing import Incoming
from tests.fakes.tls import CertificateAuthority
from tests.wire.farside import OK, REQUEST, Asking, FarSide, Rack, Sink, asked, connected, turns

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
        asking = Asking(connection, b"body")
        assert await line.hears() == REQUEST
        assert await line.reader.readexactly(4) == b"body"
        await line.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        answer = await asking.answered
        assert (answer.status, answer.headers) == (200, [(b"Transfer-Encoding", b"chunked")])
        sink = Sink()
        ended = asking.relay(sink)
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
        asking = Asking(connection)
        await line.hears()
        saying = asyncio.create_task(
            line.says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
        )
        answer = await asking.answered
        while not connection.paused:
            await turns(1)
        assert HELD_BYTES < answer.held <= 3 * HELD_BYTES
        sink = Sink()
        await asking.relay(sink)
        await saying
        assert len(sink.content) == size
        assert rack.back == [connection]


async def test_a_reader_that_is_full_at_once_stays_so() -> None:
    """A pause that the very first delivery brings about holds: no more comes until it is lifted."""
    size = 16 * MEBIBYTE
    async with FarSide() as far, connected(far) as (_, connection, line):
        asking = Asking(connection)
        await line.hears()
        saying = asyncio.create_task(
            line.says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
        )
        await asking.answered
        while not connection.paused:  # the content that waits was enough
            await turns(1)
        glutton = Glutton()
        glutton.connection = connection
        ended = asking.relay(glutton)
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

        asking = Asking(connection)
        await line.hears()
        speaking = asyncio.create_task(speak())
        await asking.answered
        glutton = Glutton()
        glutton.connection = connection
        asking.relay(glutton)
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
        asking = Asking(connection)
        await line.hears()
        await line.says(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n2\r\nok")
        await asking.answered
        sink = Sink()
        ended = asking.relay(sink)
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
        asking = Asking(connection)
        await asking.answered
        if held:
            while connection.usable:  # the end is here before anybody reads
                await turns(1)
        ended = asking.relay(sink)
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
        asking = Asking(connection)
        await asking.answered
        ended = asking.relay(glutton)
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
            await Asking(connection).answered
        assert caught.value.reused


@pytest.mark.parametrize("close", [b"", b"Connection: close\r\n"])
@pytest.mark.parametrize("late", [False, True])
async def test_more_than_the_answer_does_it_no_harm(close: bytes, late: bool) -> None:
    """The answer ends whole, whether or not anybody reads it yet; its connection is let go."""
    said = b"HTTP/1.1 200 OK\r\n" + close + b"Content-Length: 2\r\n\r\n"
    async with FarSide() as far, connected(far) as (rack, connection, line):
        asking = Asking(connection)
        await line.hears()
        await line.says(said + b"okHTTP/1.1 200 Forged\r\n\r\n" if late else said)
        answer = await asking.answered
        sink = Sink()
        ended = asking.relay(sink)
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
        asking = Asking(connection)
        await line.hears()
        if begun:
            await line.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            await asking.answered
            ended: asyncio.Future[None] = asking.relay(Sink())
            await line.says(b"zz\r\n")
            with pytest.raises(NotHttp):
                await ended
        else:
            await line.says(b"SSH-2.0-OpenSSH\r\n")
            with pytest.raises(NotHttp):
                await asking.answered
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
            await Asking(connection).answered
        await answering
    assert caplog.records == []


async def test_an_upstream_that_half_closes_before_it_answers() -> None:
    """Its FIN fails the exchange at once, although our request is not out and never will be."""
    async with FarSide() as far, connected(far) as (_, connection, line):
        asking = Asking(connection, bytes(32 * MEBIBYTE))
        await line.hears()
        line.finishes()
        with pytest.raises(Disconnected):
            await asking.answered


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
async def test_leaving_a_request_closes_its_connection(size: int) -> None:
    """At once, although nobody answers and nobody reads what is left of the request."""
    async with FarSide() as far, connected(far) as (rack, connection, line):
        asking = Asking(connection, bytes(size))
        await line.hears()
        connection.close()
        assert not connection.usable
        await line.is_left()
        assert rack.back == []
        assert not asking.answered.done()


async def test_whoever_leaves_hears_no_more() -> None:
    """What comes in the very same turn is nobody's, and its connection serves nobody else."""
    async with FarSide() as far, connected(far) as (rack, connection, line):
        asking = Asking(connection)
        await line.hears()
        await line.says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
        await asking.answered
        ended = asking.relay()
        await asking.sink.has(1)
        connection.close()
        connection.data_received(b"k")
        await line.is_left()
        assert not ended.done()
        assert (asking.sink.content, rack.back) == (b"o", [])


async def test_a_connection_is_back_before_its_reader_hears_of_the_end() -> None:
    """The reader may ask for the next at once, and need not open another for it."""
    seen: list[int] = []

    class Greedy(Sink):
        def take(self, pieces: Sequence[bytes], *, last: bool) -> None:
            super().take(pieces, last=last)
            seen.append(len(rack.back))

    async with FarSide() as far, connected(far) as (rack, connection, line):
        answering = asyncio.create_task(line.answers())
        asking = Asking(connection)
        await asking.answered
        await asking.relay(Greedy())
        await answering
    assert seen == [1]


async def test_leaving_an_answer() -> None:
    """What is unread costs the connection, unless all of it is here; leaving twice is harmless."""
    async with FarSide() as far:
        async with connected(far) as (rack, connection, line):
            answering = asyncio.create_task(line.answers())
            asking = Asking(connection)
            await asking.answered
            await answering
            while connection.answer is None or not connection.answer.whole:
                await turns(1)
            connection.close()
            connection.close()
            assert rack.back == [connection]
            assert connection.usable
        async with connected(far) as (rack, connection, line):
            answering = asyncio.create_task(line.answers(OK[:-1]))
            asking = Asking(connection)
            await asking.answered
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


@pytest.mark.parametrize("whole", [False, True])
async def test_a_bug_of_the_reader_is_told_to_whoever_waits(
    whole: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """It costs this exchange and not the event loop, and nothing is written about it here."""

    class Clumsy(Sink):
        def take(self, pieces: Sequence[bytes], *, last: bool) -> None:
            raise KeyError("secret")

    async with FarSide() as far, connected(far) as (rack, connection, line):
        answering = asyncio.create_task(line.answers(OK if whole else OK[:-1]))
        asking = Asking(connection)
        await asking.answered
        with pytest.raises(KeyError):
            await asking.relay(Clumsy())
        await answering
        assert len(rack.back) == whole
        if not whole:
            await line.is_left()
    assert caplog.records == []


async def test_a_bug_at_the_head_is_told_too() -> None:
    """Whoever asked hears of it, and the connection serves nobody else."""

    class Confused(Asking):
        def head(self, answer: Incoming) -> None:
            raise KeyError("secret")

    async with FarSide() as far, connected(far) as (rack, connection, line):
        answering = asyncio.create_task(line.answers())
        with pytest.raises(KeyError):
            await Confused(connection).answered
        await answering
        assert rack.back == []
        await line.is_left()


async def test_nothing_is_asked_on_a_connection_that_is_gone() -> None:
    """Whoever asks hears of it at once, and by an exception only."""
    async with FarSide() as far, connected(far) as (_, connection, line):
        connection.fail(Silent("for too long"))
        with pytest.raises(Disconnected):
            Asking(connection)
        await line.is_left()


async def test_giving_up_spares_what_is_whole() -> None:
    """An answer that is here can still be read when its connection is taken away."""
    async with FarSide() as far, connected(far) as (rack, connection, line):
        answering = asyncio.create_task(line.answers())
        asking = Asking(connection)
        answer = await asking.answered
        await answering
        while not answer.whole:
            await turns(1)
        connection.fail(Silent("for too long"))
        await line.is_left()
        sink = Sink()
        await asking.relay(sink)
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
