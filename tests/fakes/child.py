"""A fake as a process of its own: how it serves, and how a test starts, asks and ends it.

For tests whose other parts are real processes too. The child ends when its standard input does,
so that it cannot outlive the test that started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import urlencode, urlsplit

from tests.fakes.loopback import LoopbackServer

ROOT = Path(__file__).resolve().parents[2]


def fetch(
    url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """Return status and body of a GET, or of a POST of *body*, through no proxy. It blocks."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    with contextlib.closing(connection):
        method = "GET" if body is None else "POST"
        connection.request(method, f"{parts.path}?{parts.query}", body, dict(headers or {}))
        response = connection.getresponse()
        return response.status, response.read()


async def serve(server: LoopbackServer, *, until_eof: bool) -> None:
    """Print the URL of *server* and serve until SIGTERM, SIGINT or, if asked, the end of input."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with server:
        print(server.url, flush=True)
        waiting: list[asyncio.Task[object]] = [asyncio.create_task(stop.wait())]
        if until_eof:
            waiting.append(asyncio.create_task(_end_of_input()))
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()


async def _end_of_input() -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


class Child:
    """A fake in a child process, as a context manager; *arguments* are its command line.

    It has been reaped when ``with`` is left. Every method blocks.
    """

    module: ClassVar[str]

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self._child: subprocess.Popen[str] | None = None

    def start(self) -> Self:
        """Start the child."""
        self._child = subprocess.Popen(
            [sys.executable, "-m", self.module, *self._arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    @property
    def pid(self) -> int:
        """The process id, while it runs."""
        return self._started.pid

    def lines(self) -> Iterator[str]:
        """Yield what it prints, line by line as it does, until it closes its output."""
        output = self._started.stdout
        assert output is not None
        while line := output.readline():
            yield line.strip()

    def tell(self, line: str) -> None:
        """Write *line* to its standard input."""
        stream = self._started.stdin
        assert stream is not None
        stream.write(f"{line}\n")
        stream.flush()

    def ends(self) -> int:
        """Return its exit code once it has ended by itself."""
        return self._started.wait(30)

    def stop(self) -> None:
        """End the child, if it has not ended, and reap it; doing so again is harmless."""
        if self._child is None:
            return
        with self._child as child:  # closes the pipes and waits
            child.terminate()
            try:
                child.wait(5)
            except subprocess.TimeoutExpired:
                child.kill()
        self._child = None

    @property
    def _started(self) -> subprocess.Popen[str]:
        if self._child is None:
            raise RuntimeError(f"{self.module} does not run: start it, or enter it with `with`")
        return self._child

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *reason: object) -> None:
        self.stop()


class LoopbackProcess(Child):
    """A server among the fakes in a child process; it has a URL once it has been started."""

    def __init__(self, *arguments: str) -> None:
        super().__init__("--port", "0", "--until-eof", *arguments)
        self.url = ""

    def start(self) -> Self:
        """Start the child and wait for its URL."""
        super().start()
        self.url = next(self.lines(), "")
        if not self.url:
            raise RuntimeError(f"{self.module} did not start: exit code {self.ends()}")
        return self

    def ask(self, path: str, **query: object) -> Any:
        """Return the JSON answer of ``/admin/{path}``; raises ``LookupError`` unless it is 200."""
        status, body = fetch(f"{self.url}/admin/{path}?{urlencode(query)}")
        if status != 200:
            raise LookupError(f"/admin/{path}: HTTP {status} {body!r}")
        return json.loads(body)
