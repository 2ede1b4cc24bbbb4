"""What a server may do wrong, one name each; every one is a script for the relay."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, Literal

from tests.faults.relay import Line, Script

#: How a connection is left: in good order, broken off, or not at all.
Farewell = Literal["FIN", "RST", "silence"]

HTML: Final = b"<!DOCTYPE html><html><head><title>Oops</title></head><body>Oops</body></html>"
JSON: Final = "application/json"
STREAM: Final = "text/event-stream"
EVENT: Final = b'event: ping\ndata: {"type": "ping"}\n\n'
#: Of a write and what follows it the daemon is to see the first by itself.
_BREATH: Final = 0.05


def answer(
    status: int, body: bytes, kind: str = JSON, *, more: Iterable[str] = (), sized: bool = True
) -> bytes:
    """Return an answer in good order; not *sized*, it ends with its connection."""
    lines = [f"HTTP/1.1 {status} Told", f"content-type: {kind}", *more]
    lines += [f"content-length: {len(body)}"] if sized else ["connection: close"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunked(*pieces: bytes, kind: str = STREAM, more: str = "") -> bytes:
    """Return the beginning of an answer in chunks, without its end."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n{more}\r\n"
    return head.encode() + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


def says(data: bytes, farewell: Farewell = "FIN") -> Script:
    """Hear the request, send *data*, and leave."""

    async def script(line: Line) -> None:
        await line.hears()
        await line.says(data)
        await _leaves(line, farewell)

    return script


def keeps_saying(data: bytes) -> Script:
    """Answer each request on the same connection with *data*."""

    async def script(line: Line) -> None:
        while True:
            await line.hears()
            await line.says(data)

    return script


def never_accepts_to_speak(line: Line) -> object:
    """Accept, and never say a word."""
    return line.holds()


async def hears_and_is_silent(line: Line) -> None:
    """Take the request and never say a word."""
    await line.hears()
    await line.holds()


async def resets_at_once(line: Line) -> None:
    """Break the connection off before the request is here."""
    line.resets()


async def resets_after_hearing(line: Line) -> None:
    """Break the connection off after the request."""
    await line.hears()
    line.resets()


async def closes_after_hearing(line: Line) -> None:
    """Close after the request."""
    await line.hears()
    await line.closes()


def drips(seconds: float) -> Script:
    """Give the true answer, one byte at a time."""

    async def script(line: Line) -> None:
        while True:
            await line.drips(await line.asks(await line.hears()), seconds)

    return script


def repeats(first: bytes, again: bytes, seconds: float = 0.0) -> Script:
    """Begin with *first* and go on with *again* for ever."""

    async def script(line: Line) -> None:
        await line.hears()
        await line.says(first)
        while True:
            await (line.drips(again, seconds) if seconds else line.says(again))

    return script


def loses(keep: int, farewell: Farewell) -> Script:
    """Let the server act, and send only so many bytes of its true answer."""

    async def script(line: Line) -> None:
        whole = await line.asks(await line.hears())
        await line.says(whole[:keep])
        await _leaves(line, farewell)

    return script


def acts_but_says(data: bytes) -> Script:
    """Let the server act, and send something else."""

    async def script(line: Line) -> None:
        await line.asks(await line.hears())
        await line.says(data)
        await line.closes()

    return script


def serves_once(farewell: Farewell, *, on_request: bool) -> Script:
    """Serve one request, keep the connection, and leave: at the next request, or idle."""

    async def script(line: Line) -> None:
        await line.hears()
        await line.says(answer(200, b'{"served": "once"}'))
        if on_request:
            await line.hears()
        await _leaves(line, farewell)

    return script


def refuses_early(data: bytes) -> Script:
    """Answer with *data* after the head, and take nothing of the body."""

    async def script(line: Line) -> None:
        await line.hears(body=False)
        await line.says(data)
        await asyncio.Event().wait()

    return script


def shakes_hands(data: bytes, farewell: Farewell) -> Script:
    """Take what begins TLS, send *data* and leave."""

    async def script(line: Line) -> None:
        await line.hears_anything()
        await line.says(data)
        await _leaves(line, farewell)

    return script


async def _leaves(line: Line, farewell: Farewell) -> None:
    if farewell == "FIN":
        await line.closes()
    elif farewell == "RST":
        breath: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(_BREATH, breath.set_result, None)
        await breath  # else what was said is thrown away with the connection
        line.resets()
    else:
        await line.holds()
