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
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import urlencode, urlsplit

from tests.fakes.loopback import LoopbackServer

ROOT = Path(__file__).resolve().parents[2]


def fetch(url: str, method: str = "GET") -> tuple[int, bytes]:
    """Return status and body of one plain request, through no proxy whatever the environment."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    with contextlib.closing(connection):
        connection.request(method, f"{parts.path}?{parts.query}")
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


class LoopbackProcess:
    """A fake in a child process, as a context manager; *arguments* are its command line.

    It has a URL when ``with`` is entered, and has been reaped when it is left. Every method blocks.
    """

    module: ClassVar[str]

    def __init__(self, *arguments: str) -> None:
        self.url = ""
        self._arguments = arguments
        self._child: subprocess.Popen[str] | None = None

    def start(self) -> Self:
        """Start the child and wait for its URL."""
        command = [sys.executable, "-m", self.module, "--port", "0", "--until-eof"]
        self._child = subprocess.Popen(
            [*command, *self._arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._child.stdout is not None
        self.url = self._child.stdout.readline().strip()
        if not self.url:
            raise RuntimeError(f"{self.module} did not start: exit {self.stop()}")
        return self

    def ask(self, path: str, **query: object) -> Any:
        """Return the JSON answer of ``/admin/{path}``; raises ``LookupError`` unless it is 200."""
        status, body = fetch(f"{self.url}/admin/{path}?{urlencode(query)}")
        if status != 200:
            raise LookupError(f"/admin/{path}: HTTP {status} {body!r}")
        return json.loads(body)

    def stop(self) -> int:
        """End the child, reap it and return its exit code; doing so again is harmless."""
        child = self._child
        if child is None:
            return 0
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.close()
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
        child.stdout.close()
        return child.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *reason: object) -> None:
        self.stop()
