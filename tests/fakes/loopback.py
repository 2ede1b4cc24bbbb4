"""A server on loopback that hands over each exchange; the servers among the fakes are of this kind.

It knows connections and nothing of what is said on them.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from functools import partial
from typing import Self

from tests.fakes.exchange import Exchange, Request, read

_HEAD_LIMIT = 1 << 20


class _Peer(asyncio.StreamReaderProtocol):
    """A connection that tells when the other side has closed, even while nobody reads."""

    def __init__(self, server: LoopbackServer) -> None:
        self.gone = asyncio.Event()
        opened = partial(server._opened, self.gone)
        super().__init__(asyncio.StreamReader(limit=_HEAD_LIMIT), opened)

    def eof_received(self) -> bool | None:
        self.gone.set()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()
        super().connection_lost(exc)


class LoopbackServer:
    """Listens on 127.0.0.1 within ``async with`` and hands each request to :meth:`answer`.

    *requests* keeps all of them in order of arrival, but for those below ``/admin/``, which
    :meth:`administer` answers. A mistake in a fake's own code is raised when the server closes.
    """

    def __init__(self, port: int = 0) -> None:
        self.requests: list[Request] = []
        self._port = port
        self._server: asyncio.Server | None = None
        self._numbers = itertools.count(1)
        self._conversations: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._idle: set[asyncio.StreamWriter] = set()
        self._arrival = asyncio.Condition()

    async def answer(self, exchange: Exchange) -> None:
        """Answer one request; the connection is kept if the exchange ended in good order."""
        raise NotImplementedError

    async def administer(self, request: Request) -> object:
        """Answer a request below ``/admin/`` with a JSON document.

        ``KeyError`` means 404 and ``PermissionError`` 403.
        """
        raise KeyError(request.path)

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def port(self) -> int:
        """The port it listens on; known once it listens."""
        return self._port

    async def received(self, number: int) -> Request:
        """Return the request with this *number*, counted from 1, once it is here."""
        async with self._arrival:
            await self._arrival.wait_for(lambda: len(self.requests) >= number)
        return self.requests[number - 1]

    async def __aenter__(self) -> Self:
        await self.comes_back()
        return self

    async def __aexit__(self, *reason: object) -> None:
        await self.goes_dark()

    async def comes_back(self) -> None:
        """Listen, on the same port as before :meth:`goes_dark`."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Peer(self), "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def goes_dark(self) -> None:
        """Abort every connection and refuse new ones; raises what went wrong in the fake itself."""
        if self._server is None:
            return
        self._server.close()
        conversations, self._conversations = dict(self._conversations), {}
        for task, writer in conversations.items():
            writer.transport.abort()
            task.cancel()
        outcomes = await asyncio.gather(*conversations, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    def drops_idle(self) -> int:
        """Close the connections that wait for a request, as servers do in time; say how many."""
        idle = list(self._idle)
        for writer in idle:
            writer.close()
        return len(idle)

    def _opened(
        self, gone: asyncio.Event, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.transport.set_write_buffer_limits(0)  # so that a drain means "the kernel has it"
        task = asyncio.create_task(self._converse(reader, writer, gone))
        self._conversations[task] = writer

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gone: asyncio.Event
    ) -> None:
        number, reusable = next(self._numbers), True
        # The client may leave or garble at any time; that is its right, and no mistake of a fake.
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while reusable:
                self._idle.add(writer)
                try:
                    request = await read(reader, number)
                finally:
                    self._idle.discard(writer)
                exchange = Exchange(request, writer, gone)
                await self._dispatch(exchange)
                await exchange.finished.wait()
                reusable = exchange.reusable and request.header("connection").lower() != "close"
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def _dispatch(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.path.startswith("/admin/"):
            try:
                answer: tuple[int, object] = 200, await self.administer(request)
            except PermissionError as error:
                answer = 403, {"error": repr(error)}
            except (KeyError, ValueError) as error:
                answer = 404, {"error": repr(error)}
            await exchange.answers_json(*answer)
            return
        async with self._arrival:
            self.requests.append(request)
            self._arrival.notify_all()
        await self.answer(exchange)
