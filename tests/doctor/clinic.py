"""What the doctor's own tests examine: a home of the test's, and servers of which it says all."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from bridge.clock import SystemClock
from bridge.doctor.examination import Examination, examine
from bridge.doctor.finding import Finding
from bridge.doctor.looking.network import Resolve
from tests.world import installed


class TimeServer:
    """A server whose clock is *ahead* of ours, in a thread; *asked* keeps the heads of requests."""

    def __init__(self, ahead: float = 0.0) -> None:
        self.asked: list[tuple[str, Mapping[str, str]]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                server.asked.append((self.path, dict(self.headers)))
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def date_time_string(self, timestamp: float | None = None) -> str:
                return formatdate(SystemClock().now() + ahead, usegmt=True)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def unknown(host: str, port: int) -> object:
    """Know no name, as a machine without a network."""
    raise socket.gaierror(-3, "Temporary failure in name resolution")


def examined(
    home: Path, resolve: Resolve = unknown, here: Path | None = None, **options: object
) -> Examination:
    """Return what is found on the machine that the environment of the test describes."""
    return examine(
        options,
        environment=dict(os.environ),
        here=here or home,
        named=installed(),
        clock=SystemClock(),
        resolve=resolve,
    )


def about(subject: str, examination: Examination) -> list[Finding]:
    """Return the findings about *subject*."""
    return [each for each in examination.findings if each.subject == subject]


@contextlib.contextmanager
def taken(port: int) -> Iterator[None]:
    """Hold *port* of 127.0.0.1, as a stranger."""
    with socket.create_server(("127.0.0.1", port)):
        yield
