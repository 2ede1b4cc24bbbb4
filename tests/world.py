"""A whole world on loopback: authorization server, API, a home, and the installed command.

Everything in it is a real process: what a test starts with :class:`World` is what a person starts.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self

from tests.fakes.authorization import AuthorizationProcess
from tests.fakes.credential import credential_file, write_credential
from tests.fakes.upstream import UpstreamProcess
from tests.ports import free_port

#: What a developer's shell might have set, and no test wants to inherit.
FOREIGN = (
    *("ANTHROPIC_", "BRIDGE_", "CEREBRAS_", "CLAUDE_CODE_", "DEEPSEEK_", "GLM_", "KIMI_"),
    *("MINIMAX_", "OPENROUTER_", "XDG_", "ZAI_"),
)
#: A second user of the machine, who owns nothing.
NOBODY = 65534
PROXIES = {"http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file"}


def installed(name: str = "bridge") -> str:
    """Return the command as it was installed beside this interpreter."""
    return str(Path(sys.executable).with_name(name))


class World:
    """One person's machine. Use it as a context manager; leaving it ends all it started.

    *variables* is what their shell sets besides; *prefix* is put before each command.
    """

    def __init__(self, folder: Path, *, uid: int | None = None, **server: Any) -> None:
        """Set it up in *folder*; *uid* is who its person is, where that is not the tester."""
        self.home = folder / "home"
        self.home.mkdir(mode=0o700)
        self.variables: dict[str, str] = {}
        self.prefix: list[str] = []
        if uid is not None:
            os.chown(self.home, uid, uid)
            self.prefix = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
        self.share = self.home / ".kimi"
        self.port = free_port()
        self._stderr = folder / "stderr.log"
        self.authorization = AuthorizationProcess(**server)
        self.upstream = UpstreamProcess()
        self.outputs: list[str] = []
        self._children: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        self.authorization.start()
        self.upstream = UpstreamProcess(introspect=self.authorization.url).start()
        return self

    def __exit__(self, *reason: object) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.bridge("--stop", timeout=20)
        if (pid := self.pid) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for child in self._children:
            with child:
                child.kill()
        self.upstream.stop()
        self.authorization.stop()

    @property
    def environment(self) -> dict[str, str]:
        """The environment of this person's shell."""
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(FOREIGN) and name.lower() not in PROXIES
        }
        if self.prefix:  # another user cannot write the developer's coverage data
            clean = {k: v for k, v in clean.items() if not k.startswith("COVERAGE_")}
        return {
            **clean,
            "HOME": str(self.home),
            "BRIDGE_PORT": str(self.port),
            "KIMI_CODE_OAUTH_HOST": self.authorization.url,
            "KIMI_CODE_BASE_URL": f"{self.upstream.url}/coding/v1",
            **self.variables,
        }

    @property
    def url(self) -> str:
        """The bridge's address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def credential(self) -> Path:
        """The credential file."""
        return credential_file(self.share)

    @property
    def log(self) -> str:
        """The daemon's log so far, in the background and in the foreground."""
        paths = [self.home / ".local/state/bridge/bridge.log", self._stderr]
        return "".join(path.read_text() for path in paths if path.exists())

    @property
    def pid_file(self) -> Path:
        """The PID file."""
        return self.home / ".local/run/bridge.pid"

    @property
    def pid(self) -> int | None:
        """The daemon's process id as its PID file has it."""
        try:
            return int(self.pid_file.read_text().split("\n")[0])
        except (OSError, ValueError):
            return None

    def bridge(
        self,
        *words: str,
        timeout: float = 60,
        environment: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
    ) -> subprocess.CompletedProcess[str]:
        """Run the installed command to its end; what it printed is kept in *outputs*."""
        done = subprocess.run(
            [*self.prefix, installed(), *words],
            env={**self.environment, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=stdin,
            check=False,
        )
        self.outputs += [done.stdout, done.stderr]
        return done

    def told(self, *words: str, code: int = 1) -> str:
        """Return the one line in which a command says what is wrong, after checking its form."""
        done = self.bridge(*words)
        assert done.returncode == code, (done.stdout, done.stderr)
        assert done.stderr.startswith("bridge: "), done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr.removeprefix("bridge: ").strip()

    def spawn(
        self,
        *words: str,
        environment: Mapping[str, str] | None = None,
        stderr: int | IO[str] = subprocess.PIPE,
    ) -> subprocess.Popen[str]:
        """Start the installed command and return at once; it is ended with the world."""
        child = subprocess.Popen(
            [*self.prefix, installed(), *words],
            env={**self.environment, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=stderr,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        self._children.append(child)
        return child

    def start(self) -> None:
        """Start the daemon in the background."""
        done = self.bridge()
        assert done.returncode == 0, done.stderr

    def foreground(self, *words: str) -> subprocess.Popen[str]:
        """Start the daemon as a child of ours and return once it serves; it logs to *log*, too."""
        child = self.unattended(*words)
        while self.bridge("--check").returncode != 0:
            assert child.poll() is None, self.log
        return child

    def unattended(self, *words: str) -> subprocess.Popen[str]:
        """Start the daemon as a child of ours and return at once; it logs to *log*, too."""
        with self._stderr.open("a") as stderr:  # a pipe that nobody reads would stop it in time
            return self.spawn("--foreground", *words, stderr=stderr)

    def draining(self) -> None:
        """Return once the daemon has stopped listening, which it does when told to stop."""
        while self.bridge("--check").returncode == 0:
            continue

    def until(self, happened: Callable[[], bool]) -> None:
        """Return once *happened*; between two looks the daemon itself is asked how it is."""
        while not happened():
            assert self.ask("/health", method="GET")[0] == 200

    def configure(self, text: str) -> Path:
        """Write the configuration file and return it."""
        config = self.home / ".config/bridge/config.toml"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(text)
        return config

    def health(self) -> dict[str, Any]:
        """Return the health document."""
        document: dict[str, Any] = json.loads(self.ask("/health", method="GET")[2])
        return document

    def log_in(self, **overrides: Any) -> dict[str, Any]:
        """Put a login into the home as the official CLI would, and return the token answer."""
        answer = self.authorization.seed()
        write_credential(self.share, answer, time.time(), **overrides)  # noqa: TID251 - a real machine
        return answer

    def token(self) -> dict[str, Any]:
        """Return the credential file's document."""
        document: dict[str, Any] = json.loads(self.credential.read_text())
        return document

    def ask(
        self,
        path: str = "/kimi/v1/messages",
        body: Mapping[str, Any] | None = None,
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        port: int | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """Send one request through the bridge and return status, headers (lower case) and body."""
        content = json.dumps(body or message("Hello")).encode() if method == "POST" else None
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=30)
        with contextlib.closing(connection):
            base = {"authorization": "Bearer dummy", "content-type": "application/json"}
            connection.request(method, path, content, {**base, **(headers or {})})
            response = connection.getresponse()
            pairs = {name.lower(): value for name, value in response.getheaders()}
            return response.status, pairs, response.read()


def belongs_to(path: Path, uid: int) -> None:
    """Give *path* and all below it to *uid*, as root."""
    for each in (path, *path.rglob("*")):
        os.chown(each, uid, uid, follow_symlinks=False)


def message(prompt: str, *, stream: bool = False) -> dict[str, Any]:
    """Return the body of a Messages request."""
    return {
        "model": "kimi-k2.5",
        "max_tokens": 100,
        "stream": stream,
        "messages": [{"role": "user", "content": [{"type": "text", "text": prompt}]}],
    }


@contextlib.contextmanager
def world(folder: Path, **server: Any) -> Iterator[World]:
    """Return a world in *folder*; *server* steers its authorization server."""
    with World(folder, **server) as whole:
        yield whole


__all__: Sequence[str] = (
    "NOBODY",
    "World",
    "belongs_to",
    "installed",
    "message",
    "world",
)
