"""Who listens, who holds the PID file and what a daemon was started with is the system's word."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge import __version__, peer
from bridge.doctor.judging.door import Listener
from bridge.doctor.looking.files import user
from bridge.doctor.looking.port import (
    _accepts,
    _document,
    _is_old,
    _set,
    door,
    set_variables,
)
from bridge.service import pidfile
from bridge.service.pidfile import PidFile
from tests.ports import free_port

LINUX = pytest.mark.skipif(not peer.can_tell(), reason="this system does not name owners")
ME = user(os.geteuid())


def no_pause(seconds: float) -> None:
    """Wait for nobody."""


@pytest.fixture(name="claimed")
def _claimed(tmp_path: Path) -> Iterator[PidFile]:
    """The PID file of a daemon that is this very process."""
    claimed = PidFile.claim(
        str(tmp_path / "b.pid"), port=free_port(), instance="i", version="9", pause=no_pause
    )
    yield claimed
    claimed.release()


def listener(address: str, port: int, home: Path) -> Listener:
    """Return what stands at *address*."""
    found = door(port, str(home / "none.pid"), str(home))
    return next(each for each in found.listeners if each.address == address)


def test_nobody(tmp_path: Path) -> None:
    """Nobody at the port, no PID file: that is what is told, with our own version."""
    found = door(free_port(), str(tmp_path / "none.pid"), str(tmp_path))
    assert not any(each.listens for each in found.listeners)
    assert (found.kind, found.record, found.serving) == (pidfile.FREE, None, False)
    assert found.version == __version__
    assert set_variables(found, frozenset({"PATH"})) is None


@LINUX
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_stranger(address: str, tmp_path: Path) -> None:
    """Another process at either address is named with number, name and user."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    port = free_port()
    try:
        server = socket.create_server((address, port), family=family)
    except OSError:
        pytest.skip(f"this machine has no {address}")
    with server:
        found = listener(address, port, tmp_path)
    assert found.listens
    assert found.process is not None
    assert (found.process[0], found.user, found.old) == (os.getpid(), ME, False)


@LINUX
def test_the_old_proxy(tmp_path: Path) -> None:
    """The program that bridge replaces is a script, and known by its command line."""
    script = tmp_path / "kimi-proxy"
    script.write_text(
        "import socket, sys\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "print(server.getsockname()[1], flush=True)\n"
        "sys.stdin.read()\n"
    )
    words = [sys.executable, str(script)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as old:
        assert old.stdout is not None
        port = int(old.stdout.readline())
        found = listener("127.0.0.1", port, tmp_path)
        assert (found.old, found.process and found.process[0]) == (True, old.pid)
        old.kill()


def test_the_old_proxy_where_the_system_names_nobody(tmp_path: Path) -> None:
    """Without the name of a process, the old program's own PID file counts, if that one lives."""
    assert not _is_old(None, str(tmp_path))
    file = tmp_path / ".local/run/kimi-proxy.pid"
    file.parent.mkdir(parents=True)
    for text, old in ((f"{os.getpid()}\n", True), ("nonsense", False), ("999999999", False)):
        file.write_text(text)
        assert _is_old(None, str(tmp_path)) is old


def test_somebody_whom_the_system_does_not_name() -> None:
    """Where no owner is told, a connection says whether anybody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert _accepts("127.0.0.1", port)
    assert not _accepts("127.0.0.1", port)


def test_a_health_document_that_is_none() -> None:
    """What is no JSON object counts as an empty one."""
    assert [_document(each) for each in (b"", b"{", b"[]", b'{"a": 1}')] == [{}, {}, {}, {"a": 1}]


def test_a_daemon_that_answers_nothing(claimed: PidFile, tmp_path: Path) -> None:
    """A held PID file whose port is dead is a daemon that does not serve."""
    found = door(claimed.record.port, claimed.path, str(tmp_path))
    assert (found.kind, found.serving) == (pidfile.HELD, False)
    assert found.record is not None
    assert found.record.version == "9"


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="there is no /proc")
def test_the_daemons_variables(claimed: PidFile, tmp_path: Path) -> None:
    """Of the daemon's environment the names that were asked for come back."""
    found = door(claimed.record.port, claimed.path, str(tmp_path))
    names = frozenset({"PATH", "NO_SUCH_NAME"})
    assert set_variables(found, names) == frozenset({"PATH"})
    claimed.record.start = "0"
    assert found.record is not None
    found.record.start = "0"  # the number belongs to another process by now
    assert set_variables(found, frozenset({"PATH"})) is None


def test_only_names_are_taken() -> None:
    """A value is looked at only for being there; a name inside a value is none."""
    content = b"A=1\0B=\0C= \0NOTE=D=4\0E\0\xff=2\0"
    assert _set(content, frozenset("ABCDE")) == {"A"}
