"""The real daemon between a client and an upstream that both speak byte by byte.

On either event loop a client gets what was said and all of it, or sees that it is not all; and the
table of ambiguous requests holds for the daemon as it does for the door alone.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.fakes.tls import CertificateAuthority
from tests.proxy.ambiguous import CASES, FINAL, HOST, LENGTH, post
from tests.proxy.rawclient import RawClient, passes, rawclient
from tests.proxy.test_smuggling import judge
from tests.proxy.witness import Sent, Witness
from tests.wire.answers import ANSWERS, MEBIBYTE, Told, chunked, chunks, head, sized
from tests.world import World, world

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]

LOOPS: Final = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            importlib.util.find_spec(name) is None, reason=f"{name} is not installed"
        ),
    )
    for name in ("uvloop", "asyncio")
]
NEXT: Final = b"the next answer"


@asynccontextmanager
async def daemon(
    folder: Path,
    loop: str,
    authority: CertificateAuthority | None = None,
    prefix: Sequence[str] = (),
) -> AsyncIterator[tuple[World, Witness]]:
    """A daemon on *loop* before a witness, who speaks TLS where there is an *authority*.

    *prefix* is put before each command.
    """
    with world(folder) as machine:
        machine.prefix = list(prefix)
        async with Witness(authority.server_context if authority else None) as witness:
            machine.log_in()
            machine.variables["KIMI_CODE_BASE_URL"] = f"{witness.url}/coding/v1"
            if loop == "asyncio":
                machine.variables["BRIDGE_LOOP"] = loop
            if authority:
                machine.variables["SSL_CERT_FILE"] = str(authority.file)
            machine.start()
            yield machine, witness
            assert witness.complaints == []
        machine.bridge("--stop")
        assert "Traceback" not in machine.log
        assert "reason=bug" not in machine.log


def asking(port: int, told: Told | None = None, version: str = "1.1") -> bytes:
    """Return a request to the daemon at *port*, by HEAD where *told* is for one."""
    if told is not None and told.bodiless:
        data = post(first=b"HEAD /kimi/v1/models HTTP/1.1", body=b"")
    else:
        data = post(LENGTH, body=b"hello")
    return data.replace(HOST, b"127.0.0.1:%d" % port).replace(
        b"HTTP/1.1", b"HTTP/%b" % version.encode()
    )


async def says(sent: Sent, told: Told) -> None:
    """Answer with what is to be said, and leave as is to be left."""
    line = sent.line
    line.says(told.said)
    if told.farewell == "stays":
        return
    while line.unsent:
        await passes(1)
    if told.farewell == "closes":
        line.closes()
    else:
        await passes(20)
        line.breaks()


def verdict(told: Told, client: RawClient) -> str:
    """Return what is wrong with what the client got; empty where it is right."""
    answers = client.answers
    seen = f"{[(a.status, a.whole, len(a.content)) for a in answers]} {client.end or 'open'}"
    whole = [answer for answer in answers if answer.whole]
    is_error = len(answers) == 1 and bool(whole) and answers[0].status == 502
    if told.content is None:
        good = is_error or (not whole and client.end == "reset")
    elif is_error:
        good = told.refusable
    else:
        good = [(a.status, a.content) for a in whole] == [(told.status, told.content)]
        good = good and len(answers) == 1
    return "" if good else seen


async def view(machine: World, witness: Witness, told: Told, version: str) -> str:
    """Have one answer said and return what is wrong with it or with the next one."""
    async with asyncio.timeout(30), rawclient(machine.port) as client:
        client.bodiless = told.bodiless
        await client.sends(asking(machine.port, told, version))
        sent = await witness.arrives()
        await says(sent, told)
        await client.concludes()
        if version == "1.0":
            await client.ends()
        if wrong := verdict(told, client):
            return wrong
        if told.keeps is False or told.content is None:
            await sent.line.over.wait()
        if version == "1.0" or told.bodiless or client.end:
            return await following(machine, witness, sent, told)
        # The client's own connection is as good as before.
        client.received.clear()
        return await following(machine, witness, sent, told, client)


async def following(
    machine: World, witness: Witness, before: Sent, told: Told, client: RawClient | None = None
) -> str:
    """Ask once more, with *client* or a new one, and return what is wrong with that answer."""
    if client is None:
        async with rawclient(machine.port) as fresh:
            return await following(machine, witness, before, told, fresh)
    await client.sends(asking(machine.port))
    sent = await witness.arrives()
    if sent.line is before.line and told.keeps is False:
        return "the next was asked on the same connection"
    sent.answers(NEXT)
    answer = await client.concludes()
    if answer is None or answer.content != NEXT or len(client.answers) != 1:
        return f"the next answer is {bytes(client.received)!r}"
    return ""


async def wrongs(
    machine: World, witness: Witness, answers: Iterable[Told], version: str
) -> dict[str, str]:
    """Return what is wrong with *answers*, by their names."""
    found: dict[str, str] = {}
    for told in answers:
        try:
            wrong = await view(machine, witness, told, version)
        except TimeoutError:
            return {**found, told.name: "nothing happens any more"}
        if wrong:
            found[told.name] = wrong
    return found


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("loop", LOOPS)
async def test_a_client_gets_what_was_said_or_sees_a_cut(
    loop: str, version: str, tmp_path: Path
) -> None:
    """Byte for byte, or an error of ours, or a reset; and the next answer is the next one's."""
    async with daemon(tmp_path, loop) as (machine, witness):
        witness.hold = True
        assert await wrongs(machine, witness, ANSWERS, version) == {}


@pytest.mark.parametrize("loop", LOOPS)
async def test_tls_that_ends_without_a_word(loop: str, tmp_path: Path) -> None:
    """An answer that has no other end is cut then; every other one is what it is."""
    blob = bytes(range(256)) * 8192
    told = [
        (sized(blob), True),
        (chunked(chunks(blob, 10_000)), True),
        (head(b"Connection: close", b"Content-Length: %d" % len(blob)) + blob, True),
        (head() + blob, False),
        (sized(blob)[:-1], None),
        (chunked(chunks(blob, 10_000))[:-1], None),
    ]
    async with daemon(tmp_path, loop, CertificateAuthority(tmp_path / "tls")) as (machine, witness):
        witness.hold = True
        for said, is_whole in told:
            for polite in (True, False):
                async with rawclient(machine.port) as client:
                    await client.sends(asking(machine.port))
                    sent = await witness.arrives()
                    sent.line.says(said)
                    while sent.line.unsent:
                        await passes(1)
                    if polite:
                        sent.line.closes()
                    else:
                        # What TLS has in its own buffers must be out, too.
                        await client.hears(blob[-8:] if is_whole is False else b"\r\n\r\n")
                        sent.line.vanishes()
                    answer = await client.concludes()
                name = (said[:60], polite)
                if is_whole or (is_whole is False and polite):
                    assert answer is not None, name
                    assert answer.content == blob, name
                else:
                    assert (answer, client.end) == (None, "reset"), name


@pytest.mark.parametrize("loop", LOOPS)
async def test_wherever_an_answer_is_cut(loop: str, tmp_path: Path) -> None:
    """At each byte once: head, interim head, chunks and trailer come together again."""
    said = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: </a>\r\n\r\n"
        b"HTTP/1.1 201 Made\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5;a=b\r\nhello\r\n0\r\nX-T: 1\r\n\r\n"
    )
    async with daemon(tmp_path, loop) as (machine, witness), rawclient(machine.port) as client:
        witness.hold = True
        for place in range(1, len(said)):
            client.received.clear()
            await client.sends(asking(machine.port))
            sent = await witness.arrives()
            sent.line.says(said[:place])
            await passes(20)
            sent.line.says(said[place:])
            answer = await client.concludes()
            assert answer is not None, place
            assert (answer.status, answer.content, len(client.answers)) == (201, b"hello", 1), place
            assert [name for name, _ in answer.headers if name.lower().startswith(b"x-t")] == []
        assert len(witness.lines) == 1


@pytest.mark.parametrize("loop", LOOPS)
async def test_requests_are_read_in_one_way_or_refused(loop: str, tmp_path: Path) -> None:
    """The whole table of them, against the daemon as it runs."""
    wrong: dict[str, str] = {}
    async with daemon(tmp_path, loop) as (machine, witness):
        for case in CASES:
            seen = len(witness.requests)
            async with rawclient(machine.port) as client:
                await client.sends(
                    (case.data + FINAL).replace(HOST, b"127.0.0.1:%d" % machine.port)
                )
                await client.settles()
                try:
                    judge(case, client, witness.gists[seen:])
                except AssertionError as error:
                    wrong[case.name] = str(error)
        assert wrong == {}
        assert machine.health()["streams"] == 0


@pytest.mark.parametrize("loop", LOOPS)
async def test_a_slow_client_gets_all_of_it(loop: str, tmp_path: Path) -> None:
    """Who reads late gets every byte of 64 MiB; the upstream waits, and the daemon holds little."""
    size = 64 * MEBIBYTE
    block = bytes(range(256)) * 4096
    async with daemon(tmp_path, loop) as (machine, witness), rawclient(machine.port) as client:
        witness.hold = True
        await client.sends(asking(machine.port))
        sent = await witness.arrives()
        client.stops_reading()
        sent.line.says(head(b"Content-Length: %d" % size))
        for _ in range(size // len(block)):
            sent.line.says(block)
        still, seen = 0, -1
        while still < 2000:
            await passes(1)
            still = still + 1 if sent.line.unsent == seen else 0
            seen = sent.line.unsent
        # Four sockets' buffers, of the kernel's six megabytes at most, and little of our own.
        assert size - seen < 32 * MEBIBYTE
        client.reads_on()
        async with asyncio.timeout(30):
            while len(client.received) < size:
                await passes(10)
        answer = await client.concludes()
        assert answer is not None
        assert answer.content == block * (size // len(block))
