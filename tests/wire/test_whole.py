"""One question on a connection of its own: whole, to a limit and in time, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from bridge.wire.connection import Connection
from bridge.wire.failure import Disconnected, NotHttp, Silent, WireError
from bridge.wire.whole import Answer, Question, ask
from tests.fakes.clock import FakeClock
from tests.fakes.tls import CertificateAuthority
from tests.wire.farside import FarSide, Line, connected, turns

URL = urlsplit("http://far.example.test:8080/a%2Fb?q=%20#part")
QUESTION = Question("POST", URL, [("X-One", "1"), ("X-One", "2")], b"body")
SILENCE, TOTAL, LIMIT = 60.0, 200.0, 1000
CLOSED = {
    "sized": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n0\r\n\r\n",
    "interim": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole",
    "followed": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwholeHTTP/1.1 500 No\r\n\r\n",
}
UNSIZED = b"HTTP/1.1 200 OK\r\nX-A: b\r\n\r\n"


class Talk:
    """A question under way, and the far end of it."""

    def __init__(self, asking: asyncio.Task[Answer], line: Line, near: Connection) -> None:
        self.asking = asking
        self.line = line
        self.near = near

    async def heard(self, clock: FakeClock) -> None:
        """Return once the near end has heard something at this time of *clock*."""
        while self.near.heard_at != clock.monotonic():
            await turns(1)


@asynccontextmanager
async def talk(
    question: Question = QUESTION, *, authority: CertificateAuthority | None = None
) -> AsyncIterator[tuple[Talk, FakeClock]]:
    """Ask, and have the question arrive."""
    server = authority.server_context if authority else None
    client = ssl.create_default_context(cafile=str(authority.file)) if authority else None
    async with FarSide(server) as far, connected(far, client) as (rack, connection, line):
        limits: dict[str, Any] = {"silence_seconds": SILENCE, "limit": LIMIT}
        until = rack.clock.monotonic() + TOTAL
        asking = asyncio.create_task(ask(connection, question, rack.clock, until=until, **limits))
        try:
            yield Talk(asking, line, connection), rack.clock
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            assert not connection.usable  # whatever has become of it
            assert rack.clock.waiting == 0


# --- the question


async def test_the_question_goes_out_as_it_is() -> None:
    """Raw target, repeated headers in their order, the length, and the wish to part afterwards."""
    async with talk() as (it, _):
        assert await it.line.hears() == (
            b"POST /a%2Fb?q=%20 HTTP/1.1\r\nHost: far.example.test:8080\r\nX-One: 1\r\n"
            b"X-One: 2\r\nContent-Length: 4\r\nConnection: close\r\n\r\n"
        )
        assert await it.line.reader.readexactly(4) == b"body"


@pytest.mark.parametrize(
    ("method", "url", "head"),
    [
        ("POST", "http://[::1]:80", b"POST / HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 0\r\n"),
        ("HEAD", "https://u:p@a.test/b", b"HEAD /b HTTP/1.1\r\nHost: a.test\r\n"),
        ("HEAD", "https://a.test//b", b"HEAD //b HTTP/1.1\r\nHost: a.test\r\n"),
    ],
)
def test_a_head(method: str, url: str, head: bytes) -> None:
    """Without a path the root is meant; who we are for a URL is not told; HEAD has no length."""
    assert Question(method, urlsplit(url), []).head == head + b"Connection: close\r\n\r\n"


@pytest.mark.parametrize("value", ["a\r\nX: b", "a\nb", "a\0b", "a\rb", "\x7f"])
async def test_a_header_stays_in_its_line(value: str) -> None:
    """What would break out of its line is never sent, and the connection not left open."""
    async with talk(Question("POST", URL, [("X", value)], b"body")) as (it, _):
        with pytest.raises(ValueError, match="not printable"):
            await it.asking
        assert await it.line.reader.read() == b""


def test_nothing_of_it_is_shown() -> None:
    """A token is in the body of the one and in the content of the other: neither shows it."""
    answer = Answer(200, [(b"Set-Cookie", b"SECRET")], b"SECRET")
    assert "SECRET" not in repr(Question("POST", URL, [], b"SECRET")) + repr(answer)


# --- the answer


@pytest.mark.parametrize("said", CLOSED.values(), ids=CLOSED)
async def test_a_whole_answer(said: bytes) -> None:
    """Whatever frames it, the content comes whole; then the connection is closed by us."""
    async with talk() as (it, _):
        await it.line.answers(said)
        answer = await it.asking
        assert (answer.status, answer.content, answer.broken) == (200, b"whole", None)
        await it.line.is_left()


async def test_an_answer_in_pieces() -> None:
    """It may come byte by byte."""
    async with talk() as (it, _):
        await it.line.hears()
        for byte in CLOSED["chunked"]:
            await it.line.says(bytes([byte]))
            await turns(2)
        assert (await it.asking).content == b"whole"


async def test_an_answer_that_ends_with_its_connection() -> None:
    """Where the head tells no length, the end of the connection is the answer's."""
    async with talk() as (it, _):
        await it.line.answers(UNSIZED + b"whole")
        it.line.closes()
        answer = await it.asking
        assert (answer.content, answer.broken) == (b"whole", None)


async def test_an_answer_to_head() -> None:
    """It has no content, whatever it announces."""
    async with talk(Question("HEAD", URL, [])) as (it, _):
        await it.line.answers(b"HTTP/1.1 401 No\r\nContent-Length: 99\r\nDate: now\r\n\r\n")
        answer = await it.asking
        assert (answer.status, answer.content, answer.header("date")) == (401, b"", "now")


def test_headers() -> None:
    """Names compare without case, the first of many counts, and one that is not there is empty."""
    answer = Answer(200, [(b"X-A", b"\xb2"), (b"x-a", b"2"), (b"X-B", b"")], b"")
    assert [answer.header(name) for name in ("x-A", "X-B", "X-C")] == ["\u00b2", "", ""]


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1])
@pytest.mark.parametrize("framing", ["sized", "chunked"])
async def test_the_limit(size: int, framing: str) -> None:
    """The limit itself is read; beyond it nothing is kept, and the rest is not waited for."""
    content = b"x" * size
    head, chunk = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size, content
    if framing == "chunked":
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunk = b"%x\r\n%b\r\n" % (size, content)
    async with talk() as (it, _):
        await it.line.answers(head + chunk)
        if framing == "chunked" and size == LIMIT:
            await it.line.says(b"0\r\n\r\n")
        answer = await it.asking
        assert (answer.status, answer.content) == (200, content if size == LIMIT else b"")
        await it.line.is_left()


# --- no answer


CUT = [
    b"",
    b"HTTP/1.1 200 OK\r\nContent-Le",
    b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nwhole",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n0\r\n",
]


@pytest.mark.parametrize("said", CUT)
@pytest.mark.parametrize("breaks", [True, False])
async def test_a_cut_answer(said: bytes, breaks: bool) -> None:
    """An answer that ends before its end is none, however its connection ended."""
    async with talk() as (it, _):
        await it.line.answers(said)
        if breaks:
            await turns(5)
            it.line.breaks()
        else:
            it.line.closes()
        with pytest.raises(Disconnected):
            await it.asking
        assert not it.near.usable


@pytest.mark.parametrize("end", ["tls", "reset", "silence"])
async def test_an_answer_without_length_that_breaks_off(end: str, tmp_path: Path) -> None:
    """Its content may be whole, which nobody can tell but who reads it."""
    authority = CertificateAuthority(tmp_path) if end == "tls" else None
    async with talk(authority=authority) as (it, clock):
        await it.line.hears()
        clock.advance(1)
        await it.line.says(UNSIZED + b"whole?")
        await it.heard(clock)
        if end == "silence":
            clock.advance(SILENCE)
        else:  # without TLS's own goodbye
            it.line.breaks()
        answer = await it.asking
        assert (answer.status, answer.content) == (200, b"whole?")
        assert isinstance(answer.broken, Silent if end == "silence" else Disconnected)


@pytest.mark.parametrize("said", [b"nonsense\r\n\r\n", b"HTTP/1.1 101 No\r\n\r\n"])
async def test_what_is_no_answer(said: bytes) -> None:
    """What breaks the rules is not read on."""
    async with talk() as (it, _):
        await it.line.answers(said)
        with pytest.raises(NotHttp):
            await it.asking
        await it.line.is_left()


async def test_a_connection_that_is_closed() -> None:
    """Where nothing can be sent, that is said at once."""
    async with FarSide() as far, connected(far) as (rack, connection, line):
        connection.fail(Silent("left"))
        with pytest.raises(Disconnected):
            await ask(
                connection, QUESTION, rack.clock, silence_seconds=1, until=float("inf"), limit=1
            )
        assert await line.reader.read() == b""


# --- time


async def test_silence_is_bounded() -> None:
    """Each silence counts anew, from the last that was heard."""
    async with talk() as (it, clock):
        await it.line.hears()
        await clock.sleepers(1)
        clock.advance(SILENCE - 1)
        await it.line.says(CLOSED["sized"][:-1])
        await it.heard(clock)
        clock.advance(1)  # as long as the first silence might have been
        await clock.sleepers(1)
        assert clock.deadlines == [SILENCE - 1]
        clock.advance(SILENCE - 1)
        with pytest.raises(Silent):
            await it.asking
        await it.line.is_left()


async def test_the_whole_is_bounded() -> None:
    """A far side that never falls silent and never ends is left in time."""
    async with talk() as (it, clock):
        await it.line.answers(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(4):
            clock.advance(SILENCE - 11)
            await it.line.says(b"1\r\nx\r\n")
            await it.heard(clock)
        await clock.sleepers(1)
        assert clock.deadlines == [TOTAL - 4 * (SILENCE - 11)]
        clock.advance(4)
        with pytest.raises(Silent):
            await it.asking
        await it.line.is_left()


async def test_an_answer_in_the_last_moment() -> None:
    """What has come in time counts, although the time is over when it is looked at."""
    async with talk() as (it, clock):
        await it.line.answers(CLOSED["sized"])
        while it.near.answer is not None:
            await turns(1)
        clock.advance(TOTAL)
        assert (await it.asking).content == b"whole"


@pytest.mark.parametrize("said", [b"", UNSIZED, CLOSED["sized"][:-1]])
async def test_cancelled(said: bytes) -> None:
    """Who asks no more leaves no connection behind, and nothing that goes off later."""
    async with talk() as (it, clock):
        await it.line.hears()
        clock.advance(1)
        if said:
            await it.line.says(said)
            await it.heard(clock)
        it.asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await it.asking
        await it.line.is_left()


async def test_a_far_side_that_reads_nothing() -> None:
    """A body that the far side does not take is given up with the silence."""
    async with talk(Question("POST", URL, [], b"x" * 50_000_000)) as (it, clock):
        await clock.sleepers(1)
        clock.advance(SILENCE)
        with pytest.raises(WireError):
            await it.asking
        with contextlib.suppress(ConnectionError):
            assert len(await it.line.reader.read()) < 50_000_000
