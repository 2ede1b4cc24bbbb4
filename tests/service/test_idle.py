"""An idle socket unit is known by who holds the port, and nobody is woken by the question."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.service.idle import idle_socket, wake
from bridge.service.probe import NOT_RUNNING, STRANGE, probe
from tests.fakes.standin import StandIn

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux names socket owners")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

HOLDER = """
import os, socket, sys
listening = socket.create_server(("127.0.0.1", 0))
open("/proc/self/comm", "w").write(sys.argv[1])
if len(sys.argv) > 2: os.setuid(int(sys.argv[2]))
child = os.fork()  # a daemon on its way in or out holds the port, too
if child == 0:
    open("/proc/self/comm", "w").write("bridge")
    sys.stdin.read()
    os._exit(0)
print(listening.getsockname()[1], flush=True)
sys.stdin.read()
listening.settimeout(0)
try:
    listening.accept()
except BlockingIOError:
    os._exit(0)
os._exit(1)
"""


class Holder:
    """Another process, of a *name*, that holds a port and takes nobody in."""

    def __init__(self, *words: str) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-c", HOLDER, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._child.stdout is not None
        self.port = int(self._child.stdout.readline())

    def was_left_alone(self) -> bool:
        """End it, and say whether nobody has connected."""
        with self._child:
            self._child.communicate()
        return self._child.returncode == 0


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> str:
    """Where no PID file is."""
    return str(tmp_path / "bridge.pid")


@pytest.mark.parametrize("name", ["systemd", "systemd-socket-activate"])
def test_a_socket_unit_is_known(name: str, path: str) -> None:
    """A port that a systemd of ours holds is idle (3), whoever else holds it, and left alone."""
    holder = Holder(name)
    assert idle_socket(holder.port)
    answer = probe(path, holder.port)
    assert (answer.code, answer.idle) == (NOT_RUNNING, True)
    assert answer.line == (
        f"not running, but systemd holds 127.0.0.1:{holder.port} and starts it at the first request"
    )
    assert holder.was_left_alone()


@pytest.mark.parametrize("name", ["systemd-journal", "python", "xsystemd"])
def test_a_stranger_is_none(name: str, path: str) -> None:
    """Any other program on the port is a stranger (4)."""
    holder = Holder(name)
    assert not idle_socket(holder.port)
    answer = probe(path, holder.port)
    assert (answer.code, answer.idle) == (STRANGE, False)
    assert not holder.was_left_alone()


@needs_root
def test_a_systemd_of_another_user_is_a_stranger() -> None:
    """The name is anybody's: a listener of another user is no unit of ours."""
    command = (
        "import os, sys; from bridge.service.idle import idle_socket\n"
        "os.setuid(65534); print(idle_socket(int(sys.argv[1])))"
    )
    holder = Holder("systemd")
    done = subprocess.run(
        [sys.executable, "-c", command, str(holder.port)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"
    assert holder.was_left_alone()


def test_nobody_is_idle() -> None:
    """A port where nobody listens, or that cannot exist, is no idle unit."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert not idle_socket(taken.getsockname()[1])
    assert not idle_socket(99999)


def test_to_wake_is_to_ask() -> None:
    """A request is sent and waited for; nobody there, or silence, is no error."""
    with StandIn() as daemon:
        wake(daemon.port, 5)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            wake(silent.getsockname()[1], 0.05)
            request = silent.accept()[0]
            assert request.recv(100).startswith(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1:")
            request.close()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        wake(taken.getsockname()[1], 1)
