"""What is measured, each as processes of its own: nothing, nginx, a plain pass-through, bridge."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, Self

from benchmarks.machine import CLOCK, family
from tests.fakes.credential import write_credential
from tests.ports import free_port
from tests.world import installed

START_SECONDS: Final = 20.0
STOP_SECONDS: Final = 5.0
POLL_SECONDS: Final = 0.001
LAST_LINES: Final = 3
#: What the upstream wants to see; it takes nothing else, and nothing besides.
TOKEN: Final = "injected"
PATH: Final = "/v1/messages?beta=true"
#: Debian puts it where a plain user's PATH does not look.
NGINX: Final = shutil.which("nginx") or "/usr/sbin/nginx"

_NGINX_CONFIGURATION: Final = """\
daemon off;
{user}
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_requests 100000000;
    client_max_body_size 64m;
    client_body_buffer_size 32m;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/answer;
    upstream api {{
        server {host}:{upstream};
        keepalive 1024;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass {scheme}://api;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Authorization "Bearer {token}";
            proxy_set_header x-api-key "";
            proxy_buffering off;
            proxy_request_buffering off;
            proxy_buffer_size 16k;
            proxy_buffers 8 16k;
            proxy_read_timeout 30m;
            proxy_ssl_name localhost;
            proxy_ssl_verify {verify};
            proxy_ssl_trusted_certificate {authority};
        }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where the scripted API listens: plainly, or with TLS that *authority* vouches for."""

    port: int
    authority: str = ""

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return (
            f"https://localhost:{self.port}" if self.authority else f"http://127.0.0.1:{self.port}"
        )


@dataclass(slots=True)
class Subject:
    """One way from a client to the API; its processes run within ``with``.

    *words* start it, in the environment *variables*; nothing is started where there are none.
    *credential* is what a client has to send itself. It has *patience* seconds to end when told to,
    and is there once *processes* of it are.
    """

    name: str
    port: int
    words: list[str]
    folder: Path
    path: str = PATH
    credential: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    patience: float = STOP_SECONDS
    processes: int = 1
    process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.spawn()
        deadline = CLOCK.monotonic() + START_SECONDS
        while not (self.listens() and len(self.pids) >= self.processes * bool(self.process)):
            self.alive()
            if CLOCK.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"{self.name} does not listen after {START_SECONDS:.0f} s")
            CLOCK.pause(POLL_SECONDS)
        return self

    def __exit__(self, *reason: object) -> None:
        self.stop()

    @property
    def environment(self) -> dict[str, str]:
        """What its processes see of ours: nothing that could change what they do."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        return {**kept, "HOME": str(self.folder), **self.variables}

    @property
    def log(self) -> Path:
        """What it wrote to both its outputs."""
        return self.folder / f"{self.name}.log"

    @property
    def pids(self) -> list[int]:
        """Its processes at this moment."""
        return family(self.process.pid) if self.process else []

    def spawn(self) -> None:
        """Start it, if there is anything to start, and return at once."""
        if self.words:
            with self.log.open("ab") as log:
                self.process = self.popen(self.words, log)

    def popen(self, words: list[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start one of its commands."""
        return subprocess.Popen(
            words,
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )

    def alive(self) -> None:
        """Raise ``RuntimeError`` with its last words if it has ended by itself."""
        if self.process and self.process.poll() is not None:
            raise RuntimeError(
                f"{self.name} ended with {self.process.returncode}: {self.last_words()}"
            )

    def last_words(self) -> str:
        """Return the end of what it wrote, but for the lines that tell of requests."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return " / ".join([line for line in lines if " INFO " not in line][-LAST_LINES:])

    def listens(self) -> bool:
        """Say whether a connection is taken."""
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """End it and wait until it has ended; a second signal drops what it still serves."""
        process, self.process = self.process, None
        if process is None:
            return
        for end in (process.terminate, process.terminate, process.kill):
            end()
            try:
                process.wait(self.patience)
            except subprocess.TimeoutExpired:
                continue
            return


def direct(upstream: Upstream, folder: Path) -> Subject:
    """Return the way with nothing in it."""
    return Subject("direct", upstream.port, [], folder, credential=TOKEN)


def nginx(upstream: Upstream, folder: Path) -> Subject:
    """Return nginx, doing by hand what bridge does, and nothing else."""
    port = free_port()
    folder.mkdir()
    text = _NGINX_CONFIGURATION.format(
        user="user root;" if os.geteuid() == 0 else "",  # else its workers could not read ours
        folder=folder,
        port=port,
        host="localhost" if upstream.authority else "127.0.0.1",
        upstream=upstream.port,
        scheme="https" if upstream.authority else "http",
        token=TOKEN,
        verify="on" if upstream.authority else "off",
        authority=upstream.authority or "/dev/null",
    )
    (folder / "nginx.conf").write_text(text)
    return Subject(
        "nginx", port, [NGINX, "-p", str(folder), "-c", f"{folder}/nginx.conf"], folder, processes=3
    )


def aiohttp(upstream: Upstream, folder: Path) -> Subject:
    """Return the plain pass-through on aiohttp."""
    port = free_port()
    folder.mkdir()
    program = str(Path(__file__).with_name("passthrough.py"))
    words = [sys.executable, program, str(port), upstream.url]
    return Subject("aiohttp", port, [*words, *filter(None, [upstream.authority])], folder)


def bridge(upstream: Upstream, folder: Path) -> Subject:
    """Return bridge as it is installed: a login for Kimi, and every default in force."""
    port = free_port()
    folder.mkdir()
    answer = {
        "access_token": TOKEN,
        "refresh_token": "never-used",
        "expires_in": 10_000_000,
        "scope": "kimi-code",
        "token_type": "Bearer",
    }
    write_credential(folder / ".kimi", answer, CLOCK.now())
    variables = {
        "BRIDGE_PORT": str(port),
        "KIMI_CODE_BASE_URL": f"{upstream.url}/v1",
        "KIMI_CODE_OAUTH_HOST": "http://127.0.0.1:9",  # nothing is to be asked there
    }
    if upstream.authority:
        variables["SSL_CERT_FILE"] = upstream.authority
    words = [installed(), "--foreground"]
    return Subject("bridge", port, words, folder, path=f"/kimi{PATH}", variables=variables)


ALL: Final = {"direct": direct, "nginx": nginx, "aiohttp": aiohttp, "bridge": bridge}
