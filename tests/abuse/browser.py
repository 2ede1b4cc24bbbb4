"""A real browser without a window, the server that its pages come from, and one that records.

Chromium is Debian's. Nothing of it goes out: every name but ``evil.example`` and loopback resolves
to nothing, and it knows no proxy.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

CHROMIUM: Final = os.environ.get("BRIDGE_TEST_CHROMIUM") or shutil.which("chromium") or ""
PAGE: Final = Path(__file__).with_name("attack.html")
RULES: Final = "MAP evil.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
PATIENCE: Final = 25.0


class Recorder:
    """A server that lets pages read everything: it shows which of their tries would arrive."""

    def __init__(self) -> None:
        self.seen: dict[str, str] = {}
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            """Remembers the try and answers with whatever a page wants to hear."""

            timeout = 10

            def _answers(self) -> None:
                names = parse_qs(urlsplit(self.path).query).get("try", [""])
                self.rfile.read(int(self.headers.get("content-length") or 0))
                if self.command != "OPTIONS":
                    recorder.seen[names[0]] = self.command
                self.send_response(200)
                self.send_header("access-control-allow-origin", self.headers.get("origin") or "*")
                self.send_header("access-control-allow-credentials", "true")
                self.send_header("access-control-allow-headers", "content-type, x-api-key")
                self.send_header("access-control-allow-methods", "PUT, POST, GET")
                self.send_header("access-control-allow-private-network", "true")
                self.send_header("content-length", "6")
                self.end_headers()
                self.wfile.write(b"secret" if self.command != "HEAD" else b"")

            def __getattr__(self, name: str) -> Callable[[], None]:
                if name.startswith("do_"):
                    return self._answers
                raise AttributeError(name)

            def log_message(self, *words: object) -> None:
                """Say nothing."""

        self._server = _serving(Handler)
        self.port = self._server.server_address[1]

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()


class PageServer:
    """Where the pages come from; *reports* are what they have found."""

    def __init__(self) -> None:
        self.reports: queue.Queue[dict[str, str]] = queue.Queue()
        pages = self

        class Handler(BaseHTTPRequestHandler):
            """Gives out the page, leads elsewhere, and takes reports."""

            timeout = 10

            def do_GET(self) -> None:
                """Give out the page, or lead to where ``to`` says."""
                place = urlsplit(self.path)
                words = parse_qs(place.query)
                if place.path == "/hop":
                    self.send_response(int(words["status"][0]))
                    self.send_header("location", words["to"][0])
                    self.end_headers()
                    return
                text = PAGE.read_text()
                if place.path == "/go":
                    text = f"<script>location.href = {json.dumps(words['to'][0])}</script>"
                self.send_response(200)
                self.send_header("content-type", "text/html")
                self.end_headers()
                self.wfile.write(text.encode())

            def do_POST(self) -> None:
                """Take a report."""
                data = self.rfile.read(int(self.headers["content-length"]))
                pages.reports.put(json.loads(data))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *words: object) -> None:
                """Say nothing."""

        self._server = _serving(Handler)
        self.port = self._server.server_address[1]

    def report(self) -> dict[str, str]:
        """Return the next report."""
        return self.reports.get(timeout=PATIENCE)

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()


def _serving(handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = False  # so that closing it waits for the last answer
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


def command(folder: Path, *words: str) -> list[str]:
    """Return the command line of a browser whose profile is in *folder*."""
    return [
        *(CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--no-proxy-server"),
        *("--disable-dev-shm-usage", "--disable-sync", "--disable-default-apps", "--mute-audio"),
        *("--disable-popup-blocking", "--disable-extensions", f"--user-data-dir={folder}"),
        f"--host-resolver-rules={RULES}",
        *words,
    ]


def environment(folder: Path) -> dict[str, Any]:
    """Return the environment of a browser, with a home of its own."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return {**kept, "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}


@contextlib.contextmanager
def browsing(folder: Path, url: str) -> Iterator[None]:
    """Open *url* as if it had been typed, and close the browser in the end."""
    folder.mkdir(exist_ok=True)
    with subprocess.Popen(
        command(folder, url),
        env=environment(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as child:
        try:
            yield
        finally:
            child.terminate()


def shown(folder: Path, url: str) -> str:
    """Return what a person sees who types *url*, as HTML, once scripts and redirects are done."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        command(folder, "--virtual-time-budget=3000", "--dump-dom", url),
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.stdout
