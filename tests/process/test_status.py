"""What ``status`` shows of a real daemon, on paper and on a real terminal."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.commands.test_status import agree
from tests.fakes.activator import Activator
from tests.world import World, installed, world

pytestmark = [pytest.mark.process, pytest.mark.timeout(90)]


@pytest.fixture(name="machine")
def _machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A machine in whose shell this very process stands."""
    with world(tmp_path, stern=True) as machine:
        machine.variables["GLM_API_KEY"] = "glm-4f1d0c7a9b2e4f1d0c7a9b2e"
        for name in set(os.environ) - set(machine.environment):
            monkeypatch.delenv(name)
        for name, value in machine.environment.items():
            monkeypatch.setenv(name, value)
        yield machine


def ready(machine: World, provider: str) -> bool:
    """Say what ``--check`` says of *provider*."""
    code = machine.bridge("--check", provider).returncode
    assert code in {0, 150}
    return code == 0


def expired(machine: World) -> None:
    """Let the access token be out of date; its refresh token still works."""
    document = machine.token()
    document["expires_at"] = 1.0
    machine.credential.write_text(json.dumps(document))


def refused(machine: World) -> None:
    """Let the server refuse the refresh token, and a request find that out."""
    document = machine.token()
    machine.credential.write_text(
        json.dumps({**document, "expires_at": 1.0, "refresh_token": "unknown"})
    )
    assert machine.ask()[0] == 401


STATES: Mapping[str, Callable[[World], object]] = {
    "no login": lambda machine: machine.credential.unlink(missing_ok=True),
    "fresh": lambda machine: machine.log_in(),
    "expired": expired,
    "refused": refused,
    "garbage": lambda machine: machine.credential.write_text("{"),
    "fresh again": lambda machine: machine.log_in(),
}


def test_no_state_of_the_login_divides_them(
    machine: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fresh, expired, refused, broken or none, with a key and without: all say the same."""
    agree(machine.port, capsys)
    machine.start()
    seen = {}
    for name, comes in STATES.items():
        comes(machine)
        code, document = agree(machine.port, capsys)
        assert code == 0
        told: dict[str, dict[str, Any]] = document["providers"]
        for provider in ("kimi", "glm", "minimax"):
            assert ready(machine, provider) is told[provider]["ready"], (name, provider)
        assert told["kimi"]["ready"] is (machine.ask()[0] == 200)
        seen[name] = told["kimi"]["ready"]
    assert seen == {
        **dict.fromkeys(STATES, True),
        "no login": False,
        "refused": False,
        "garbage": False,
    }
    assert told["glm"]["ready"]
    assert not told["minimax"]["ready"]
    os.kill(machine.pid or 0, signal.SIGSTOP)
    try:
        assert agree(machine.port, capsys)[0] == 4
    finally:
        os.kill(machine.pid or 0, signal.SIGCONT)
    os.kill(machine.pid or 0, signal.SIGKILL)
    while machine.bridge("--check").returncode == 4:
        continue
    assert agree(machine.port, capsys)[0] == 1


def test_an_idle_socket_unit_stays_idle(machine: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Looking wakes nobody, and everybody says that systemd waits."""
    with Activator(machine) as unit:
        code, document = agree(machine.port, capsys)
        assert (code, document["daemon"]) == (3, None)
        assert "systemd holds" in document["line"]
        assert unit.is_idle
        assert machine.ask("/health", method="GET")[0] == 200
        code, document = agree(machine.port, capsys)
        assert (code, document["daemon"]["pid"]) == (0, unit.process.pid)


def test_a_daemon_that_is_leaving(machine: World, capsys: pytest.CaptureFixture[str]) -> None:
    """While its streams end it serves nobody new, and everybody says so."""
    machine.log_in()
    machine.start()
    with socket.create_connection(("127.0.0.1", machine.port)) as client:
        head = f"POST /kimi/v1/messages HTTP/1.1\r\nHost: 127.0.0.1:{machine.port}\r\n"
        client.sendall(f"{head}Content-Length: 99\r\n\r\n".encode())  # and no body
        machine.until(lambda: machine.health()["streams"] == 1)
        os.kill(machine.pid or 0, signal.SIGTERM)
        machine.draining()
        assert agree(machine.port, capsys)[0] == 4
        assert machine.pid is not None


def test_what_went_through_is_told(machine: World) -> None:
    """Requests, errors and bytes, of all and of each provider; the last error in words."""
    machine.log_in()
    machine.start()
    sent = len(machine.ask()[2]) + len(machine.ask()[2])
    assert machine.ask("/minimax/v1/messages")[0] == 401
    machine.until(lambda: machine.health()["providers"]["kimi"]["requests"] == 2)
    document = json.loads(machine.bridge("status", "--json").stdout)
    daemon, providers = document["daemon"], document["providers"]
    assert (daemon["requests"], daemon["streams"], daemon["port"]) == (3, 0, machine.port)
    assert daemon["started_at"] <= time.time()  # noqa: TID251 - a real daemon's
    assert daemon["added_ms"]["p99"] >= daemon["added_ms"]["p50"] > 0
    assert daemon["last_error"]["text"].startswith("minimax: minimax has no key")
    assert (providers["kimi"]["requests"], providers["kimi"]["errors"]) == (2, 0)
    assert (providers["minimax"]["requests"], providers["minimax"]["errors"]) == (1, 1)
    assert providers["kimi"]["sent_bytes"] == sent
    shown = machine.bridge("status").stdout
    assert "0 live streams, 3 requests" in shown
    assert "key from GLM_API_KEY" in shown
    assert "\x1b" not in shown
    assert machine.variables["GLM_API_KEY"] not in shown + json.dumps(document)


class Pane:
    """A terminal of tmux, with a shell in which ``bridge status --watch`` has been called."""

    def __init__(self, socket: Path, machine: World) -> None:
        self._words = ["tmux", "-S", str(socket), "-f", "/dev/null"]
        self._environment = {**machine.environment, "TERM": "xterm-256color", "PS1": "$ "}
        self._run("new-session", "-d", "-x", "80", "-y", "40", "/bin/sh")
        self.types(f"stty -g > before; echo begun; {installed()} status --watch; echo code=$?")

    def _run(self, *words: str) -> str:
        done = subprocess.run(
            [*self._words, *words],
            env=self._environment,
            cwd=self._environment["HOME"],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def types(self, text: str) -> None:
        """Type a line."""
        self._run("send-keys", "-l", text)
        self.strikes("Enter")

    def strikes(self, key: str) -> None:
        """Strike one key."""
        self._run("send-keys", key)

    def resizes(self, columns: int, height: int) -> None:
        """Make the window another size."""
        self._run("resize-window", "-x", str(columns), "-y", str(height))

    def shows(self, *texts: str) -> str:
        """Return what is on the screen once every one of *texts* is."""
        while True:  # the test's own limit ends it
            screen = self._run("capture-pane", "-p")
            if all(text in screen for text in texts):
                return screen

    @property
    def processes(self) -> list[int]:
        """The processes in it, without the shell."""
        shell = self._run("display-message", "-p", "#{pane_pid}").strip()
        done = subprocess.run(
            ["ps", "--ppid", shell, "-o", "pid="], capture_output=True, check=False
        )
        return [int(word) for word in done.stdout.split()]

    def is_as_before(self) -> None:
        """See that the terminal is what it was."""
        self.types("stty -g | cmp - before && echo same-as-before | tr a-z A-Z")
        assert "q: quit" not in self.shows("SAME-AS-BEFORE")

    def close(self) -> None:
        """End it with all that is in it."""
        self._run("kill-server")


@contextmanager
def pane(folder: Path, machine: World) -> Iterator[Pane]:
    """Open a terminal."""
    if shutil.which("tmux") is None or shutil.which("ps") is None:
        pytest.skip("takes tmux and ps")
    opened = Pane(folder / "tmux", machine)
    try:
        yield opened
    finally:
        opened.close()


def test_a_watch_outlives_the_daemon(machine: World, tmp_path: Path) -> None:
    """It follows a stop, a start, requests and a new size of the window; q gives all back."""
    machine.log_in()
    machine.start()
    with pane(tmp_path, machine) as terminal:
        terminal.shows(f"pid {machine.pid}", "0 requests", "q: quit")
        machine.ask()
        terminal.shows("1 request,")
        machine.bridge("--stop")
        terminal.shows("not running: start it with: bridge", "What the files say")
        machine.start()
        terminal.shows(f"pid {machine.pid}", "0 requests")
        terminal.resizes(50, 10)
        assert "configuration" not in terminal.shows("more lines: make the window taller")
        terminal.resizes(100, 45)
        terminal.shows("q: quit", "configuration")
        terminal.strikes("x")
        terminal.strikes("q")
        terminal.shows("begun", "code=0")
        terminal.is_as_before()


@pytest.mark.parametrize("way", ["C-c", signal.SIGTERM, signal.SIGHUP])
def test_a_watch_ends_clean(machine: World, tmp_path: Path, way: str | signal.Signals) -> None:
    """However it ends, the terminal is as before; without a daemon its code is the check's."""
    with pane(tmp_path, machine) as terminal:
        terminal.shows("not running", "q: quit")
        if isinstance(way, str):
            terminal.strikes(way)
        else:
            for pid in terminal.processes:
                os.kill(pid, way)
        assert "Traceback" not in terminal.shows("begun", "code=3")
        terminal.is_as_before()


def test_a_watch_can_be_put_aside(machine: World, tmp_path: Path) -> None:
    """Ctrl-Z gives the shell its screen, and fg the watch its own."""
    with pane(tmp_path, machine) as terminal:
        terminal.shows("q: quit")
        terminal.strikes("C-z")
        assert "q: quit" not in terminal.shows("Stopped")
        terminal.types("fg")
        terminal.shows("not running", "q: quit")
        terminal.strikes("q")
        terminal.shows("code=")
        terminal.is_as_before()
