"""No answer is taken for another's, for more than it is, or for whole when it is not.

Each of the answers comes over a real connection, in any pieces, and the next request is asked
behind it: it gets its own answer, on a connection that nothing odd has touched.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult

import pytest

from bridge.wire.failure import Disconnected, NotHttp, WireError
from bridge.wire.framing import HEAD_BYTES
from bridge.wire.pool import Pool
from bridge.wire.tls import Authorities
from tests.fakes.clock import FakeClock
from tests.fakes.tls import CertificateAuthority
from tests.wire.answers import ANSWERS, BLOB, FORGED, Told, chunked, chunks, head, sized
from tests.wire.farside import Asking, FarSide, Line, turns

PATIENCE: Final = 60.0
#: A small answer with everything in it that may be cut.
SMALL: Final = (
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    b"HTTP/1.1 200 All Right\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;a=b\r\nhello\r\n0\r\nX-T: 1\r\n\r\n"
)


@asynccontextmanager
async def pooled() -> AsyncIterator[tuple[FarSide, Pool]]:
    """A pool, and what it connects to."""
    async with FarSide() as far, asyncio.timeout(30):
        pool = Pool(FakeClock(), Authorities(untouched()), direct)
        try:
            yield far, pool
        finally:
            await pool.close()


@cache
def untouched() -> ssl.SSLContext:
    """Return TLS settings that nobody needs; making them takes longer than a whole exchange."""
    return ssl.create_default_context()


def direct(url: SplitResult) -> None:
    """Return the proxy for *url*: none."""


def pieces(data: bytes, manner: str) -> Iterator[bytes]:
    """Yield *data* as it is sent: at once, with its end apart, or byte by byte."""
    if manner == "byte by byte":
        yield from (data[at : at + 1] for at in range(len(data)))
    elif manner == "its end apart" and len(data) > 1:
        yield data[:-1]
        yield data[-1:]
    elif data:
        yield data


async def tells(line: Line, told: Told, manner: str) -> None:
    """Hear a request and say what is to be said, piece by piece."""
    await line.hears()
    with suppress(ConnectionError):  # the near side need not hear all of it
        for piece in pieces(told.said, manner):
            if line.writer.is_closing():
                break
            await line.says(piece)
            await turns(2)
    if told.farewell == "closes":
        line.closes()
    elif told.farewell == "resets":
        await turns(10)  # what was said has arrived
        line.breaks()


async def outcome(asking: Asking) -> bytes | None:
    """Return the content of a whole answer, ``None`` where there is none."""
    try:
        await asking.answered
        await asking.relay()
    except WireError:
        assert not asking.sink.whole
        return None
    assert asking.sink.whole
    return asking.sink.content


@pytest.mark.parametrize("told", ANSWERS, ids=lambda told: told.name)
async def test_an_answer_is_itself_or_none(told: Told) -> None:
    """In whatever pieces it comes; behind anything odd nothing else is asked on its connection."""
    for manner in ("at once", "its end apart", "byte by byte"):
        if manner == "byte by byte" and len(told.said) > 2000:
            continue
        async with pooled() as (far, pool):
            connection = await pool.take(far.url, PATIENCE)
            line = await far.accepts()
            asking = Asking(connection, bodiless=told.bodiless)
            telling = asyncio.create_task(tells(line, told, manner))
            got = await outcome(asking)
            if told.content is None or got is not None or not told.refusable:
                assert got == told.content, manner
            if got is not None:
                assert (await asking.answered).status == told.status
            await telling
            if told.keeps is False or got is None:
                await line.is_left()
            await turns(5)
            keeps = told.keeps if got is not None else False
            await asks_on(far, pool, line if keeps else None, keeps=keeps)


async def asks_on(far: FarSide, pool: Pool, line: Line | None, *, keeps: bool | None) -> None:
    """Ask once more: on *line*, or on a new one."""
    lines = len(far.lines)
    asking = Asking(await pool.take(far.url, PATIENCE))
    if keeps:
        assert len(far.lines) == lines
    elif keeps is None and len(far.lines) == lines:
        line = far.lines[-1]
    else:
        line = await far.accepts()
    assert line is not None
    answering = asyncio.create_task(line.answers(sized(b"the next")))
    assert await outcome(asking) == b"the next"
    await answering


async def test_wherever_an_answer_is_cut() -> None:
    """At each byte once, on a connection that is kept."""
    async with pooled() as (far, pool):
        line: Line | None = None
        for place in range(1, len(SMALL)):
            asking = Asking(await pool.take(far.url, PATIENCE))
            line = line or await far.accepts()
            await line.hears()
            await line.says(SMALL[:place])
            await turns(3)
            await line.says(SMALL[place:])
            assert await outcome(asking) == b"hello"
            answer = await asking.answered
            assert (answer.status, answer.reason) == (200, b"All Right")
            assert answer.headers == [(b"X-A", b"b"), (b"Transfer-Encoding", b"chunked")]
        assert len(far.lines) == 1


async def test_wherever_an_answer_ends_too_early() -> None:
    """Closed in good order before any of its bytes but the last, it is never whole."""
    for whole in (SMALL, sized(b"hello")):
        for place in range(len(whole)):
            async with pooled() as (far, pool):
                asking = Asking(await pool.take(far.url, PATIENCE))
                line = await far.accepts()
                await line.hears()
                await line.says(whole[:place])
                line.closes()
                assert await outcome(asking) is None, whole[:place]
                await asks_on(far, pool, None, keeps=False)


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (b"HTTP/1.1 200 ", b"x"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n"),
        (chunked(b"5\r\nhello\r\n"), b"0"),
        (chunked(b"5\r\nhello\r\n1;"), b"x"),
        (chunked(b"5\r\nhello\r\n0\r\n"), b"X: y\r\n"),
    ],
)
async def test_what_never_ends_is_left(begin: bytes, more: bytes) -> None:
    """After little more than a head may have, and the next request goes another way."""
    async with pooled() as (far, pool):
        asking = Asking(await pool.take(far.url, PATIENCE))
        line = await far.accepts()
        await line.hears()
        asking.answered.add_done_callback(lambda _: asking.relay())
        saying = asyncio.create_task(line.says(begin + more * (4 * HEAD_BYTES // len(more))))
        with pytest.raises(NotHttp):
            await asking.ended
        await line.is_left()
        saying.cancel()
        await asyncio.wait([saying])
        await asks_on(far, pool, None, keeps=False)


@pytest.mark.parametrize("poison", [FORGED, b"!", sized(b"", start=b"HTTP/1.1 408 Bye"), b"\x00"])
async def test_what_comes_unasked_is_nobodys_answer(poison: bytes) -> None:
    """It ends the connection that waits: the next request gets its own answer."""
    async with pooled() as (far, pool):
        for _ in range(5):
            asking = Asking(await pool.take(far.url, PATIENCE))
            line = await far.accepts()
            telling = asyncio.create_task(line.answers(sized(b"hello")))
            assert await outcome(asking) == b"hello"
            await telling
            await line.says(poison)
            await line.is_left()


async def test_what_comes_before_the_end_of_a_request_is_the_last() -> None:
    """An upstream that answers early may take the rest of the request for the next."""
    async with pooled() as (far, pool):
        connection = await pool.take(far.url, PATIENCE)
        line = await far.accepts()
        asking = Asking(connection, BLOB * 4)
        await line.hears()
        await line.says(sized(b"early"))
        assert await outcome(asking) == b"early"
        await line.is_left()
        await asks_on(far, pool, None, keeps=False)


async def test_who_leaves_an_answer_leaves_its_connection() -> None:
    """Before its head or behind it: what still comes of it is no part of another's."""
    async with pooled() as (far, pool):
        for said in (b"", head(b"Content-Length: 500"), sized(b"x" * 500)[:-1]):
            connection = await pool.take(far.url, PATIENCE)
            line = await far.accepts()
            asking = Asking(connection)
            await line.hears()
            await line.says(said)
            await turns(5)
            if said:
                await asking.answered
            connection.close()
            await line.is_left()
            assert not connection.usable
        await asks_on(far, pool, None, keeps=False)


@pytest.mark.parametrize(
    "lie", [b"Content-Length: %d" % len(FORGED), b"Transfer-Encoding: chunked"]
)
async def test_the_late_content_of_an_answer_without_any(lie: bytes) -> None:
    """A 204 that announces content may be followed by it at any time: never by another's answer."""
    async with pooled() as (far, pool):
        asking = Asking(await pool.take(far.url, PATIENCE))
        line = await far.accepts()
        await line.hears()
        await line.says(head(lie, start=b"HTTP/1.1 204 No Content"))
        await outcome(asking)
        second = Asking(await pool.take(far.url, PATIENCE))
        if not line.writer.is_closing():
            with suppress(ConnectionError):
                await line.says(FORGED)
        await turns(10)
        if len(far.lines) == 2:
            await far.lines[1].answers(sized(b"its own"))
        assert await outcome(second) == b"its own"


@pytest.mark.parametrize("polite", [True, False])
@pytest.mark.parametrize(
    ("said", "needs"),
    [
        (sized(b"hello"), False),
        (chunked(chunks(b"hello", 2)), False),
        (head(start=b"HTTP/1.1 204 No Content"), False),
        (head() + b"hello", True),
        (sized(b"hello")[:-1], None),
        (chunked(chunks(b"hello", 2))[:-1], None),
    ],
)
async def test_tls_that_ends_without_a_word(
    said: bytes, needs: bool | None, polite: bool, tmp_path: Path
) -> None:
    """It cuts what has no other end, spares what is whole, and mends nothing."""
    authority = CertificateAuthority(tmp_path)
    trusting = ssl.create_default_context(cafile=str(authority.file))
    async with FarSide(authority.server_context) as far, asyncio.timeout(30):
        pool = Pool(FakeClock(), Authorities(trusting), direct)
        connecting = asyncio.create_task(pool.take(far.url, PATIENCE))
        line = await far.accepts()
        asking = Asking(await connecting)
        await line.hears()
        await line.says(said)
        if polite:
            line.closes()
        else:
            await turns(20)
            line.writer.transport.abort()  # a FIN, and no close_notify
        got = await outcome(asking)
        await pool.close()
    if needs is None or (needs and not polite):
        assert got is None
    else:
        assert got == (b"" if b" 204 " in said else b"hello")


async def test_a_cut_after_the_end_is_no_cut() -> None:
    """A reset right behind a whole answer does not unmake it."""
    for said in (sized(b"hello"), chunked(chunks(b"hello", 5))):
        async with pooled() as (far, pool):
            asking = Asking(await pool.take(far.url, PATIENCE))
            line = await far.accepts()
            await line.hears()
            await line.says(said)
            assert await outcome(asking) == b"hello"
            line.breaks()
            await turns(10)
            await asks_on(far, pool, None, keeps=False)


async def test_a_kept_connection_that_dies_under_a_request_says_so() -> None:
    """Whoever asked can tell it from an answer, and from a new connection that died."""
    async with pooled() as (far, pool):
        asking = Asking(await pool.take(far.url, PATIENCE))
        line = await far.accepts()
        telling = asyncio.create_task(line.answers())
        await outcome(asking)
        await telling
        second = Asking(await pool.take(far.url, PATIENCE))
        await line.hears()
        line.closes()
        with pytest.raises(Disconnected) as caught:
            await second.answered
        assert caught.value.reused
