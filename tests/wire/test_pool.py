"""Which connection a request gets, and how long one is kept."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import ssl
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import pytest

from bridge.wire.connection import Connection
from bridge.wire.failure import Disconnected, ProxyRefused, Silent, WireError
from bridge.wire.pool import CONNECT_SECONDS, KEEPALIVE_SECONDS, LOOK_SECONDS, Pool
from bridge.wire.tls import Authorities
from tests.fakes.clock import FakeClock
from tests.fakes.tls import CertificateAuthority
from tests.wire.farside import (
    OK,
    Asking,
    FarSide,
    Line,
    Sink,
    asked,
    descriptors,
    fewer_than,
    turns,
)

PATIENCE = 60.0


def direct(url: SplitResult) -> None:
    """Return the proxy for *url*: none."""


@asynccontextmanager
async def pooled(clock: FakeClock | None = None) -> AsyncIterator[tuple[FarSide, Pool, FakeClock]]:
    """A pool, what it connects to, and the clock it goes by."""
    clock = clock or FakeClock()
    async with FarSide() as far:
        pool = Pool(clock, Authorities(ssl.create_default_context()), direct)
        try:
            yield far, pool, clock
        finally:
            await pool.close()


async def exchanged(pool: Pool, far: FarSide, line: Line | None = None) -> tuple[Connection, Line]:
    """Carry one exchange, on *line* or a new one."""
    connection = await pool.take(far.url, PATIENCE)
    line = line or await far.accepts()
    answering = asyncio.create_task(line.answers())
    assert (await asked(connection)).content == b"ok"
    await answering
    return connection, line


async def test_the_next_request_finds_a_connection_open() -> None:
    """To the same origin, whatever the path; the one used last comes first."""
    async with pooled() as (far, pool, _):
        first, line = await exchanged(pool, far)
        second, _ = await exchanged(pool, far, line)
        assert second is first
        both = [await pool.take(far.url._replace(path=path), PATIENCE) for path in ("/a", "/b")]
        assert both[0] is first
        assert both[1] is not first
        other = await far.accepts()
        for connection, answerer in zip(both, (line, other), strict=True):
            answering = asyncio.create_task(answerer.answers())
            await asked(connection)
            await answering
        assert await pool.take(far.url, PATIENCE) is both[1]
        assert len(far.lines) == 2


async def test_another_origin_is_another_connection() -> None:
    """Scheme, host, port and proxy tell origins apart."""
    async with pooled() as (far, pool, _), FarSide() as elsewhere:
        first, _ = await exchanged(pool, far)
        second, _ = await exchanged(pool, elsewhere)
        third = await pool.take(urlsplit(f"http://localhost:{far.port}/"), PATIENCE)
        assert len({first, second, third}) == 3


async def test_a_connection_in_use_is_nobody_elses() -> None:
    """Neither before its answer has ended nor while what has come is unread."""
    async with pooled() as (far, pool, _):
        first = await pool.take(far.url, PATIENCE)
        line = await far.accepts()
        assert await pool.take(far.url, PATIENCE) is not first
        answering = asyncio.create_task(line.answers())
        asking = Asking(first)
        answer = await asking.answered
        await answering
        while not answer.whole:
            await turns(1)
        assert await pool.take(far.url, PATIENCE) is not first
        await asking.relay(Sink())
        assert await pool.take(far.url, PATIENCE) is first


async def test_a_connection_is_kept_for_so_long() -> None:
    """At 55 s idle it still serves; after that it does not, although nobody has looked yet."""
    async with pooled() as (far, pool, clock):
        first, line = await exchanged(pool, far)
        clock.advance(KEEPALIVE_SECONDS)
        second, _ = await exchanged(pool, far, line)
        assert second is first
        clock.advance(KEEPALIVE_SECONDS + 0.1)
        third = await pool.take(far.url, PATIENCE)
        assert third is not first
        await line.is_left()


async def test_idle_connections_are_looked_after() -> None:
    """A look every few seconds closes what is too old, and ends with the last connection."""
    async with pooled() as (far, pool, clock):
        _, line = await exchanged(pool, far)
        steps = 0
        while clock.waiting or not steps:
            await clock.sleepers(1)
            clock.advance(LOOK_SECONDS)
            steps += 1
            await turns(2)
        assert KEEPALIVE_SECONDS < steps * LOOK_SECONDS <= KEEPALIVE_SECONDS + 2 * LOOK_SECONDS
        await line.is_left()
        # A connection that comes later is looked after again.
        await exchanged(pool, far)
        await clock.sleepers(1)


@pytest.mark.parametrize("goodbye", [b"", b"HTTP/1.1 408 Request Timeout\r\n\r\n"])
async def test_what_the_upstream_has_closed_is_not_given_out(goodbye: bytes) -> None:
    """A new connection serves instead, and nobody notices."""
    async with pooled() as (far, pool, _):
        first, line = await exchanged(pool, far)
        await line.says(goodbye)
        line.closes()
        while first.usable:
            await turns(1)
        second, _ = await exchanged(pool, far)
        assert second is not first


async def test_a_kept_connection_that_dies_says_so() -> None:
    """Of a new one the same is no accident of keeping."""
    async with pooled() as (far, pool, _):
        for reused in (False, True):
            if reused:
                _, line = await exchanged(pool, far)
            connection = await pool.take(far.url, PATIENCE)
            line = line if reused else await far.accepts()
            asking = Asking(connection)
            await line.hears()
            line.breaks()
            with pytest.raises(Disconnected) as caught:
                await asking.answered
            assert caught.value.reused is reused


@pytest.mark.parametrize("begun", [False, True])
async def test_silence_has_an_end(begun: bool) -> None:
    """Counted from the last byte, before the head and after it; the upstream is let go."""
    async with pooled() as (far, pool, clock):
        connection = await pool.take(far.url, PATIENCE)
        line = await far.accepts()
        asking = Asking(connection)
        await line.hears()
        waiting: asyncio.Future[object] = asking.answered  # type: ignore[assignment]
        if begun:
            await passes(clock, PATIENCE - LOOK_SECONDS)
            await line.says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
            await asking.answered
            sink = Sink()
            waiting = asking.relay(sink)  # type: ignore[assignment]
            await passes(clock, PATIENCE - LOOK_SECONDS)
            await line.says(b"1")
            await sink.has(1)
        await passes(clock, PATIENCE)
        assert not waiting.done()
        await passes(clock, LOOK_SECONDS)
        with pytest.raises(Silent):
            await waiting
        await line.is_left()


async def test_a_look_holds_nothing_until_the_next() -> None:
    """A connection that has gone is let go of at the next look, though the looking goes on."""
    async with pooled() as (far, pool, clock):
        gone = await pool.take(far.url, PATIENCE)
        line = await far.accepts()
        await exchanged(pool, far)  # this one stays, and is looked at again
        asking = Asking(gone)
        left = weakref.ref(gone)
        line.breaks()
        with pytest.raises(Disconnected):
            await asking.answered
        del gone, asking
        await passes(clock, LOOK_SECONDS)
        gc.collect()
        assert left() is None


async def test_a_stop_of_our_own_is_no_silence() -> None:
    """A process that was stopped reads what has come meanwhile before it calls anybody silent."""
    async with pooled() as (far, pool, clock):
        connection = await pool.take(far.url, PATIENCE)
        line = await far.accepts()
        asking = Asking(connection)
        await line.hears()
        await clock.sleepers(1)
        clock.advance(10 * PATIENCE)
        await turns(2)
        assert not asking.answered.done()
        await line.says(OK)
        await asking.answered


async def test_a_pause_of_our_own_is_no_silence() -> None:
    """While the client does not read nothing can come; after that patience begins anew."""
    async with pooled() as (far, pool, clock):
        connection = await pool.take(far.url, PATIENCE)
        line = await far.accepts()
        answering = asyncio.create_task(line.answers(OK[:-1]))
        asking = Asking(connection)
        await asking.answered
        await answering
        sink = Sink()
        ended = asking.relay(sink)
        connection.pause()
        await passes(clock, 10 * PATIENCE)
        assert not ended.done()
        connection.resume()
        await passes(clock, PATIENCE)
        assert not ended.done()
        await line.says(OK[-1:])
        await ended
        assert sink.content == b"ok"


async def test_a_short_patience_is_looked_at_more_often() -> None:
    """And a long one does not stay at the pace of a short one before it."""
    async with pooled() as (far, pool, clock):
        short = await pool.take(far.url, 1.0)
        line = await far.accepts()
        await pool.take(far.url, PATIENCE)
        asking = Asking(short)
        await line.hears()
        await passes(clock, 1.25, step=0.25)
        with pytest.raises(Silent):
            await asking.answered
        await clock.sleepers(1)
        looks = [seconds for seconds in clock.slept if seconds != CONNECT_SECONDS]
        assert looks == [0.25] * 5 + [LOOK_SECONDS]


async def test_retuning_spares_what_is_under_way() -> None:
    """Idle connections go at once, busy ones after their answer; none serves another."""
    async with pooled() as (far, pool, _):
        _, idle = await exchanged(pool, far)
        first = await pool.take(far.url, PATIENCE)
        busy = idle
        asking = Asking(first)
        await busy.hears()
        second = await pool.take(far.url, PATIENCE)
        idle = await far.accepts()
        answering = asyncio.create_task(idle.answers())
        await asked(second)
        await answering
        pool.retune(Authorities(ssl.create_default_context()), direct)
        await idle.is_left()
        await busy.says(OK)
        await asking.answered
        sink = Sink()
        await asking.relay(sink)
        assert sink.content == b"ok"
        await busy.is_left()
        third, _ = await exchanged(pool, far)
        assert third not in {first, second}


async def test_retuning_counts_for_what_is_just_opening(tmp_path: Path) -> None:
    """A connection begun by the old settings serves whoever waits for it, and nobody after."""
    authority = CertificateAuthority(tmp_path)
    old = ssl.create_default_context(cafile=str(authority.file))
    async with FarSide(authority.server_context) as far:
        pool = Pool(FakeClock(), Authorities(old), direct)
        taking = asyncio.create_task(pool.take(far.url, PATIENCE))
        await turns(1)
        pool.retune(Authorities(ssl.create_default_context()), direct)
        connection = await taking
        line = await far.accepts()
        answering = asyncio.create_task(line.answers())
        await asked(connection)
        await answering
        with pytest.raises(ssl.SSLCertVerificationError):
            await pool.take(far.url, PATIENCE)
        await line.is_left()
        await pool.close()


async def test_retuning_to_a_proxy() -> None:
    """The next connection goes through it."""
    async with pooled() as (far, pool, _), FarSide() as proxy:
        await exchanged(pool, far)
        pool.retune(Authorities(ssl.create_default_context()), lambda _: proxy.url)
        taking = asyncio.create_task(pool.take(far.url, PATIENCE))
        line = await proxy.accepts()
        assert (await line.hears()).startswith(b"CONNECT 127.0.0.1:%d " % far.port)
        line.closes()
        with pytest.raises(ProxyRefused):
            await taking


async def test_closing_ends_everything() -> None:
    """What is idle, what is under way, and the looks."""
    async with FarSide() as far:
        clock = FakeClock()
        pool = Pool(clock, Authorities(ssl.create_default_context()), direct)
        await pool.close()
        busy = await pool.take(far.url, PATIENCE)
        asking = Asking(busy)
        await (await far.accepts()).hears()
        await exchanged(pool, far)
        await clock.sleepers(1)
        await pool.close()
        with pytest.raises(WireError):
            await asking.answered
        for line in far.lines:
            await line.is_left()
        assert clock.waiting == 0


async def test_three_hundred_exchanges_leave_nothing_open() -> None:
    """Whole, cut, reset, garbled, refused, silent or cancelled: each descriptor is closed."""
    clock = FakeClock()
    async with pooled(clock) as (far, pool, _):
        serving = asyncio.create_task(moody(far))
        url = far.url
        await one(pool, url, 0)
        for line in far.lines:
            line.breaks()
        await turns(10)
        before = descriptors()
        for round_ in range(30):
            visits = [asyncio.create_task(one(pool, url, number)) for number in range(10)]
            await turns(round_ % 7)
            visits[round_ % 10].cancel()
            while not all(visit.done() for visit in visits):
                clock.advance(LOOK_SECONDS)
                await turns(20)
            await asyncio.gather(*visits, return_exceptions=True)
        await pool.close()
        for line in far.lines:
            line.breaks()
        await fewer_than(before + 1)
        serving.cancel()


async def test_nobody_gets_what_another_asked_for() -> None:
    """Whoever is cancelled whenever: each answer is the one to the question."""
    chance = random.Random(7)
    async with pooled() as (far, pool, _):
        serving = asyncio.create_task(echoing(far, chance))
        got = 0

        async def visit(number: int) -> None:
            nonlocal got
            connection = await pool.take(far.url, PATIENCE)
            name = b"/%d" % number
            asking = Asking(connection, head=b"GET %b HTTP/1.1\r\n\r\n" % name)
            answer = connection.answer
            try:
                await asking.answered
                await turns(number % 3)
                sink = Sink()
                await asking.relay(sink)
            finally:
                if connection.answer is answer:
                    connection.close()
            assert sink.content == name * 50
            got += 1

        visits: list[asyncio.Task[None]] = []
        for number in range(400):
            visits.append(asyncio.create_task(visit(number)))
            await turns(chance.randrange(4))
            if number % 3 == 0:
                chance.choice(visits[-5:]).cancel()
        outcomes = await asyncio.gather(*visits, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {type(None), asyncio.CancelledError}
        assert got > 200
        assert len(far.lines) < 300  # connections were shared, or this proves nothing
        serving.cancel()


async def test_a_spare_is_open_where_a_handshake_would_be_waited_for(tmp_path: Path) -> None:
    """While one is in use another is ready, one at a time; without TLS there is none."""
    authority = CertificateAuthority(tmp_path)
    trusting = ssl.create_default_context(cafile=str(authority.file))
    async with FarSide(authority.server_context) as far:
        pool = Pool(FakeClock(), Authorities(trusting), direct)
        first = await pool.take(far.url, PATIENCE)
        await far.accepts()
        await far.accepts()
        while (second := pool.warm(far.url, PATIENCE)) is None:
            await turns(1)
        assert second is not first
        await far.accepts()
        await turns(20)
        assert len(far.lines) == 3
        await pool.close()
    async with pooled() as (plain, pool, _):
        await pool.take(plain.url, PATIENCE)
        await turns(20)
        assert len(plain.lines) == 1


async def test_a_spare_that_does_not_open_is_nobodys_business(tmp_path: Path) -> None:
    """Whoever asks next finds out; leaving does not wait for it either."""
    authority = CertificateAuthority(tmp_path)
    trusting = ssl.create_default_context(cafile=str(authority.file))
    async with FarSide(authority.server_context) as far:
        pool, url = Pool(FakeClock(), Authorities(trusting), direct), far.url
        first = await pool.take(url, PATIENCE)
        far.refuses()
        while pool._ahead:
            await turns(1)
        assert first.usable
        pool._open_ahead(url, pool._origin(url))
        await pool.close()
        assert not first.usable


async def passes(clock: FakeClock, seconds: float, step: float = LOOK_SECONDS) -> None:
    """Let *seconds* pass, and let the pool look on the way."""
    for _ in range(round(seconds / step)):
        await clock.sleepers(1)
        clock.advance(step)
        await turns(2)


async def one(pool: Pool, url: SplitResult, number: int) -> None:
    """Carry an exchange whose fate is the upstream's business."""
    if number == 9:
        url = urlsplit("http://127.0.0.1:1/")
    with contextlib.suppress(WireError, OSError):
        connection = await pool.take(url, PATIENCE)
        head = b"GET /%d HTTP/1.1\r\n\r\n" % number
        body = bytes(4_000_000) if number == 8 else b""
        asking = Asking(connection, body, head=head, bodiless=number == 7)
        answer = connection.answer
        try:
            await asking.answered
            await asking.relay(Sink())
        finally:
            if connection.answer is answer:
                connection.close()


async def moody(far: FarSide) -> None:
    """Answer each request after the number in its target."""
    async with asyncio.TaskGroup() as group:
        while True:
            group.create_task(temper(await far.accepts()))


async def temper(line: Line) -> None:
    """Answer on one connection until it ends."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            number = int((await line.hears()).split()[1][1:])
            if number == 1:
                line.breaks()
            elif number == 2:
                line.closes()
            elif number == 3:
                await line.says(b"nonsense\r\n")
            elif number == 4:
                await line.says(OK[:-1])
                line.finishes()
            elif number == 5:
                await line.says(b"HTTP/1.1 200 OK\r\n\r\nok")
                line.finishes()
            elif number == 6:
                await line.says(OK[:-1])  # and nothing more: silence
            else:
                await line.says(OK)


async def echoing(far: FarSide, chance: random.Random) -> None:
    """Answer each request with its own target, fifty times, in one of several framings."""

    async def answer(line: Line) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                content = (await line.hears()).split()[1] * 50
                head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content)
                said = head + content
                if chance.random() < 0.5:
                    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                    said = head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content)
                cut = chance.randrange(len(said))
                await line.says(said[:cut])
                await turns(chance.randrange(3))
                await line.says(said[cut:])

    async with asyncio.TaskGroup() as group:
        while True:
            group.create_task(answer(await far.accepts()))
