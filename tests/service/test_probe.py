"""A probe believes only the daemon itself, and never waits long for anybody else."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.clock import SystemClock
from bridge.service.probe import DEAD, LOGIN_NEEDED, NOT_RUNNING, SERVING, STRANGE, probe
from bridge.service.record import Record, ourselves
from tests.fakes.standin import INSTANCE, StandIn

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux names socket owners")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
CLOCK = SystemClock()


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> str:
    """Where the PID file is to be."""
    return str(tmp_path / "bridge.pid")


@pytest.fixture(name="free_port")
def _free_port() -> Iterator[int]:
    """A port that is taken but on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def hold(path: str, record: Record) -> int:
    """Write the record and lock the file, as another process would; close the result to let go."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.write(descriptor, record.text().encode())
    return descriptor


def record(port: int, boot: str = "") -> Record:
    """A record of this process that points to *port*."""
    found = ourselves(address="127.0.0.1", port=port, instance=INSTANCE, version="0")
    found.boot = boot or found.boot
    found.host = "laptop"
    return found


def test_a_daemon_that_answers_serves(path: str, free_port: int) -> None:
    """The port comes from the PID file, and the health document is handed on."""
    with StandIn("--pid-file", path) as daemon:
        answer = probe(path, free_port)
        assert answer.code == SERVING
        assert answer.line == f"serving on 127.0.0.1:{daemon.port}, pid {daemon.pid}"
        assert answer.document.decode() == (
            f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{daemon.port}\r\nConnection: close\r\n\r\n"
        )


@pytest.mark.parametrize(
    ("ready", "code", "said"),
    [
        ("yes", SERVING, "serving on"),
        ("no", LOGIN_NEEDED, "but kimi needs a login or key: run: bridge up kimi"),
        ("unknown", LOGIN_NEEDED, "but it cannot say whether kimi is usable"),
    ],
)
def test_a_provider_is_asked_for(
    path: str, free_port: int, ready: str, code: int, said: str
) -> None:
    """With a provider the answer is about its credential as well."""
    with StandIn("--pid-file", path, "--answer", ready):
        answer = probe(path, free_port, "kimi")
        assert answer.code == code
        assert said in answer.line
        assert answer.document.startswith(b"GET /health?provider=kimi HTTP/1.1\r\n")
        assert probe(path, free_port).code == SERVING


def test_a_provider_name_cannot_smuggle_a_header(path: str, free_port: int) -> None:
    """Whatever stands on the command line stays inside the query."""
    with StandIn("--pid-file", path):
        answer = probe(path, free_port, "a b\r\nx-evil: ü&c")
        assert answer.document.startswith(
            b"GET /health?provider=a%20b%0D%0Ax%2Devil%3A%20%C3%BC%26c HTTP/1.1\r\nHost:"
        )


def test_nothing_there_is_not_running(path: str, free_port: int) -> None:
    """Without a PID file and a listener nothing runs."""
    answer = probe(path, free_port)
    assert answer.code == NOT_RUNNING
    assert answer.line == "not running: start it with: bridge"


def test_a_port_that_is_none_is_not_running(path: str) -> None:
    """A number that no port can have is answered like one where nobody listens."""
    assert probe(path, 99999).code == NOT_RUNNING


def test_a_crashed_daemon_is_dead(path: str, free_port: int) -> None:
    """A PID file that nobody holds means that the daemon died."""
    with StandIn("--pid-file", path) as daemon:
        daemon.crash()
        answer = probe(path, free_port)
        assert answer.code == DEAD
        assert path in answer.line


def test_a_stranger_on_the_port_is_strange(path: str) -> None:
    """Without a PID file, or with a stale one, whoever answers on the port is not ours."""
    with StandIn() as stranger:
        assert probe(path, stranger.port).code == STRANGE
        Path(path).touch(mode=0o600)
        answer = probe(path, stranger.port)
        assert answer.code == STRANGE
        assert "is not bridge" in answer.line


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("impostor", "is not the bridge of pid"),
        ("nobody", "is not the bridge of pid"),
        ("garbage", "is not the bridge of pid"),
        ("nothing", "is not the bridge of pid"),
        ("flood", "is not the bridge of pid"),
        ("error", "answers nonsense"),
        ("cut", "answers nonsense"),
        ("digits", "answers nonsense"),
    ],
)
def test_a_strange_answer_is_strange(path: str, free_port: int, kind: str, said: str) -> None:
    """Another instance, no HTTP, too much, too little: none of it is taken for the daemon."""
    with StandIn("--pid-file", path, "--answer", kind):
        answer = probe(path, free_port)
        assert (answer.code, answer.document) == (STRANGE, b"")
        assert said in answer.line


@pytest.mark.parametrize("kind", ["silence", "drip"])
def test_patience_ends(path: str, free_port: int, kind: str) -> None:
    """A daemon that says nothing, or a byte now and then, is given up after the patience."""
    with StandIn("--pid-file", path, "--answer", kind):
        began = CLOCK.monotonic()
        answer = probe(path, free_port, patience=0.2)
        assert 0.15 < CLOCK.monotonic() - began < 1.5
        assert answer.code == STRANGE
        assert "does not answer" in answer.line


def test_no_patience_is_no_answer(path: str, free_port: int) -> None:
    """Time that is up before a byte has come is not stretched."""
    with StandIn("--pid-file", path):
        assert "does not answer" in probe(path, free_port, patience=1e-9).line


def test_a_stopped_daemon_does_not_answer(path: str, free_port: int) -> None:
    """A daemon that hangs (SIGSTOP) still holds file and port, and is told apart by patience."""
    with StandIn("--pid-file", path) as daemon:
        os.kill(daemon.pid, signal.SIGSTOP)
        answer = probe(path, free_port, patience=0.2)
        os.kill(daemon.pid, signal.SIGCONT)
        assert answer.code == STRANGE
        assert f"bridge (pid {daemon.pid}) does not answer" in answer.line
        assert probe(path, free_port).code == SERVING


@needs_root
@pytest.mark.parametrize("somebody", [True, False])
def test_a_file_that_is_not_ours_to_read(path: str, free_port: int, somebody: bool) -> None:
    """Another user's PID file is named; whoever answers meanwhile is not said to be a stranger."""
    Path(path).touch(mode=0o600)
    os.chown(path, 65534, 65534)
    with StandIn() as stranger:
        answer = probe(path, stranger.port if somebody else free_port)
    assert answer.code == (STRANGE if somebody else DEAD)
    assert f"{path} cannot be read, or is no file of yours" in answer.line
    assert ("whose is it?" in answer.line) == somebody


def test_a_daemon_that_is_leaving_is_not_asked(path: str) -> None:
    """Its port may be a socket unit's, too, and a connection would start the next one."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        leaving = record(door.getsockname()[1])
        leaving.stage = "stopping"
        descriptor = hold(path, leaving)
        answer = probe(path, 1)
        os.close(descriptor)
        assert answer.code == STRANGE
        assert f"(pid {os.getpid()}) is stopping, its streams may end first" in answer.line
        door.setblocking(False)
        with pytest.raises(BlockingIOError):
            door.accept()


def test_a_full_queue_is_somebody(path: str) -> None:
    """A stranger that accepts nobody any more is there all the same."""
    with socket.socket() as stranger, socket.socket() as first, socket.socket() as second:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen(0)
        for caller in (first, second):
            caller.setblocking(False)
            caller.connect_ex(stranger.getsockname())
        assert probe(path, stranger.getsockname()[1], patience=0.2).code == STRANGE


def test_a_daemon_without_a_port_is_starting_or_stopping(path: str, free_port: int) -> None:
    """A held file whose port refuses is neither serving nor gone."""
    descriptor = hold(path, record(free_port))
    answer = probe(path, 1)
    os.close(descriptor)
    assert answer.code == STRANGE
    assert "may be starting or stopping" in answer.line


def test_a_file_without_its_text_is_a_start(path: str, free_port: int) -> None:
    """A file that is held and says nothing yet is a daemon that is just starting."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    answer = probe(path, free_port)
    os.close(descriptor)
    assert answer.code == STRANGE
    assert "just starting" in answer.line


@linux_only
def test_a_daemon_elsewhere_does_not_run_here(path: str, free_port: int) -> None:
    """A file held on another machine counts as nothing here, unless the port answers."""
    with StandIn() as stranger:
        descriptor = hold(path, record(stranger.port, boot="another"))
        elsewhere, taken = probe(path, free_port), probe(path, stranger.port)
        os.close(descriptor)
    assert elsewhere.code == NOT_RUNNING
    assert "bridge on laptop" in elsewhere.line
    assert taken.code == STRANGE
    assert "bridge on laptop" in taken.line


@needs_root
@linux_only
def test_a_listener_of_another_user_is_not_even_asked(path: str) -> None:
    """A port that another user has taken over is known before a byte is sent."""
    with StandIn("--uid", "65534") as stranger:
        descriptor = hold(path, record(stranger.port))
        answer = probe(path, 1)
        os.close(descriptor)
    assert answer.code == STRANGE
    assert "belongs to another user (uid 65534)" in answer.line


def test_the_import_diet_is_kept() -> None:
    """A probe loads next to nothing, for it runs before each launch of an agent.

    What knows idle socket units is loaded only where no daemon is.
    """
    program = (
        "import sys; before = set(sys.modules); import bridge.service.probe as probe;"
        "probe.probe('/nonexistent/bridge.pid', 1);"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    ours = {"bridge"} | {f"bridge.{name}" for name in ("errors", "peer", "service")}
    ours |= {f"bridge.service.{name}" for name in ("idle", "pidfile", "probe", "record")}
    small = {"__future__", "_socket", "_struct", "errno", "fcntl", "struct", "time"}
    assert set(done.stdout.split()) <= ours | small


def test_a_daemon_that_serves_costs_no_more(path: str) -> None:
    """Where a daemon answers, the room that knows idle socket units is not even loaded."""
    program = (
        "import sys; from bridge.service.probe import probe; print(probe(sys.argv[1], 1).code);"
        "print('bridge.service.idle' in sys.modules)"
    )
    with StandIn("--pid-file", path):
        done = subprocess.run(
            [sys.executable, "-c", program, path], capture_output=True, text=True, check=True
        )
    assert done.stdout.split() == ["0", "False"]
