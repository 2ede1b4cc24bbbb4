"""Stands between the daemon and a server, passes everything on, and does wrong when told to.

A fault is a coroutine that has one connection of the daemon's in hand (:class:`Line`); without one
the relay is transparent, whatever the bytes mean (TLS too). It keeps books of who is connected.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Self, TypeVar

from tests.ports import free_port

T = TypeVar("T")

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_PATIENCE = 30.0
_FAREWELL = 2.0


class Line:
    """One connection of the daemon's, as a fault has it in hand."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, place: tuple[str, int]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._place = place

    async def hears(self, *, body: bool = True) -> bytes:
        """Return the next request, whole (or its head alone)."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head) if body else None
        return head + (await self._reader.readexactly(int(length.group(1))) if length else b"")

    async def hears_anything(self) -> bytes:
        """Return what comes first, as a ClientHello is."""
        return await self._reader.read(65536)

    async def asks(self, request: bytes) -> bytes:
        """Hand *request* to the true server, which acts on it, and return its whole answer."""
        reader, writer = await asyncio.open_connection(*self._place)
        with contextlib.closing(writer):
            writer.write(request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            return await reader.read()

    async def passes(self) -> None:
        """Pass everything on, both ways, until both sides have ended."""
        there, back = await asyncio.open_connection(*self._place)
        with contextlib.closing(back):
            await asyncio.gather(_copied(self._reader, back), _copied(there, self._writer))

    async def says(self, data: bytes) -> None:
        """Send *data*; raises ``ConnectionError`` once the daemon has gone."""
        self._writer.write(data)
        await self._writer.drain()

    async def drips(self, data: bytes, seconds: float) -> None:
        """Send *data* one byte at a time, one each so many *seconds*."""
        loop = asyncio.get_running_loop()
        for byte in data:
            await self.says(bytes([byte]))
            later: asyncio.Future[None] = loop.create_future()
            loop.call_later(seconds, later.set_result, None)
            await later

    async def holds(self) -> None:
        """Say nothing more until the daemon leaves."""
        with contextlib.suppress(ConnectionError):
            while await self._reader.read(65536):
                pass

    async def closes(self) -> None:
        """End the connection in good order, and wait until the daemon has done so too."""
        with contextlib.suppress(OSError, RuntimeError):
            self._writer.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL):
                await self.holds()

    def resets(self) -> None:
        """Break the connection off."""
        raw: socket.socket = self._writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def ends(self) -> None:
        """Let go of the connection."""
        self._writer.transport.abort()


Script = Callable[[Line], Coroutine[Any, Any, None]]


class Relay:
    """A relay before the server at *url*; use it as a context manager.

    *accepted* counts the connections since the start, :attr:`open` those that are there now.
    Its methods block, and it lives in a thread of its own.
    """

    def __init__(self, url: str, context: ssl.SSLContext | None = None) -> None:
        """Stand before the server at *url*; with a *context*, speak TLS and pass on in plain."""
        host, _, port = url.rpartition("//")[2].partition(":")
        self.place = host, int(port)
        self._context = context
        self.accepted = 0
        self.port = free_port()
        self._script: Script | None = None
        self._lines: dict[asyncio.Task[None], Line] = {}
        self._server: asyncio.Server | None = None
        self._bound: socket.socket | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay")

    def __enter__(self) -> Self:
        self._thread.start()
        self._does(self._listen())
        return self

    def __exit__(self, *reason: object) -> None:
        self._does(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        """Where the daemon is to go."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def open(self) -> int:
        """How many connections are there now."""
        return len(self._lines)

    def plays(self, script: Script) -> None:
        """Do *script* on each connection from now on; those that are there are closed first."""
        self._does(self._turn(script))

    def refuses(self) -> None:
        """Let nobody connect any more; the port stays ours."""
        self._does(self._shut())

    def heals(self, url: str = "") -> None:
        """Be transparent again, before another server where *url* names one."""
        if url:
            host, _, port = url.rpartition("//")[2].partition(":")
            self.place = host, int(port)
        self._does(self._turn(None))

    def drops_idle(self, *, reset: bool = False) -> None:
        """Close the connections that are there, and go on as before."""
        self._does(self._turn(self._script, reset=reset))

    def _does(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE)

    async def _turn(self, script: Script | None, *, reset: bool = False) -> None:
        self._script = script
        lines, tasks = [*self._lines.values()], [*self._lines]
        if reset:
            for line in lines:
                line.resets()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._server is None:
            await self._listen()

    async def _listen(self) -> None:
        if self._bound is not None:
            self._bound.close()
            self._bound = None
        self._server = await asyncio.start_server(
            self._opened, "127.0.0.1", self.port, limit=1 << 20, ssl=self._context
        )

    async def _shut(self) -> None:
        if (server := self._server) is None:
            return
        self._server = None
        server.close()
        await self._dismiss()
        self._bound = socket.socket()
        self._bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._bound.bind(("127.0.0.1", self.port))

    async def _dismiss(self) -> None:
        tasks = [*self._lines]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _end(self) -> None:
        await self._shut()
        if self._bound is not None:
            self._bound.close()

    def _opened(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        line = Line(reader, writer, self.place)
        script = self._script or Line.passes
        task = asyncio.create_task(self._runs(script, line))
        self._lines[task] = line
        task.add_done_callback(self._lines.pop)

    async def _runs(self, script: Script, line: Line) -> None:
        try:
            with contextlib.suppress(OSError, EOFError):
                await script(line)
        except asyncio.CancelledError:
            await line.closes()
        finally:
            line.ends()


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        if writer.can_write_eof():
            writer.write_eof()
        else:
            writer.close()
