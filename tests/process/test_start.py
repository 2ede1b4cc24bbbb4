"""Start, check, stop: the installed command as a person uses it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.world import World, installed, message, world

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> Iterator[World]:
    """A machine with nothing on it but the installed command."""
    with world(tmp_path) as machine:
        yield machine


def test_a_life(machine: World) -> None:
    """Login, start, answer, check and stop each say by their code that they worked."""
    assert machine.bridge("--check").returncode == 3
    machine.log_in()
    started = machine.bridge()
    assert (started.returncode, started.stderr) == (0, "")
    assert machine.bridge("--check", "kimi").returncode == 0
    assert machine.bridge("--check").stdout == ""
    status, headers, body = machine.ask()
    assert (status, headers["x-bridge-provider"]) == (200, "kimi")
    assert b"Hello from the upstream" in body
    stopped = machine.bridge("--stop")
    assert (stopped.returncode, stopped.stderr) == (0, "")
    assert machine.bridge("--check").returncode == 3
    assert not machine.pid_file.exists()


def test_started_twice(machine: World) -> None:
    """A second start says that one is running, and is no failure."""
    machine.start()
    pid = machine.pid
    again = machine.bridge()
    assert again.returncode == 0
    assert "already running" in again.stdout
    assert machine.pid == pid


def test_twenty_starts_make_one_daemon(machine: World) -> None:
    """Twenty starts at once end well, and one daemon answers."""
    starts = [machine.spawn() for _ in range(20)]
    results = [(child.wait(60), child.communicate()[1]) for child in starts]
    assert results == [(0, "")] * 20
    assert machine.bridge("--check").returncode == 0
    assert machine.log.count("daemon started") == 1


def test_a_client_that_connects_during_the_start_is_served(machine: World) -> None:
    """Requests that come while the daemon is starting wait in the backlog and are answered."""
    machine.log_in()
    start = machine.spawn()
    while True:
        try:
            status, _, _ = machine.ask()
            break
        except ConnectionRefusedError:
            assert start.poll() in {None, 0}
    assert status == 200
    assert start.wait(30) == 0


def test_stop_when_nothing_runs(machine: World) -> None:
    """Stopping what does not run is success."""
    done = machine.bridge("--stop")
    assert (done.returncode, done.stdout) == (0, "bridge: not running\n")


def test_check_prints_health(machine: World) -> None:
    """--json prints the health document, without a secret in it."""
    answer = machine.log_in()
    machine.start()
    done = machine.bridge("--check", "--json")
    assert '"status": "ok"' in done.stdout
    assert '"ready": true' in done.stdout
    assert answer["access_token"] not in done.stdout


def test_check_without_a_login(machine: World) -> None:
    """A daemon without a login serves (0), but kimi needs one (150)."""
    machine.start()
    assert machine.bridge("--check").returncode == 0
    assert machine.bridge("--check", "kimi").returncode == 150


def test_a_crash_leaves_a_file_that_does_not_lie(machine: World) -> None:
    """After kill -9 the check says dead (1), and the next start just works."""
    machine.start()
    pid = machine.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    while (code := machine.bridge("--check").returncode) in {0, 4}:
        pass  # the kernel has not let go of the port yet
    assert code == 1
    machine.start()
    assert machine.bridge("--check").returncode == 0


def test_a_hung_daemon(machine: World) -> None:
    """A daemon that does not answer is told from a dead one (4) within about a second."""
    machine.start()
    pid = machine.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        assert machine.bridge("--check").returncode == 4
    finally:
        os.kill(pid, signal.SIGCONT)
    assert machine.bridge("--check").returncode == 0


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_stranger_on_the_port(machine: World, address: str) -> None:
    """A stranger on the port, v4 or v6, is a failed start that names it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as stranger:
        stranger.bind((address, machine.port))
        stranger.listen()
        done = machine.bridge()
        assert done.returncode == 4
        assert str(machine.port) in done.stderr
        assert f"pid {os.getpid()}" in done.stderr
        assert done.stderr.count("\n") == 1
        if address == "127.0.0.1":
            assert machine.bridge("--check").returncode == 4


def test_restart(machine: World) -> None:
    """Restart makes another process of it, with and without one running."""
    assert machine.bridge("--restart").returncode == 0
    before = machine.pid
    assert machine.bridge("--restart").returncode == 0
    assert machine.pid not in {before, None}


def test_foreground(machine: World) -> None:
    """In the foreground the log goes to stderr, and SIGTERM ends it with 0."""
    child = machine.spawn("--foreground")
    while machine.bridge("--check").returncode != 0:
        assert child.poll() is None
    child.send_signal(signal.SIGTERM)
    _, stderr = child.communicate(timeout=30)
    assert child.returncode == 0
    assert "daemon started" in stderr
    assert machine.bridge("--check").returncode == 3


def test_python_m_bridge_and_kimi_bridge(machine: World) -> None:
    """The same program answers as kimi-bridge and as python -m bridge."""
    for program in ([installed("kimi-bridge")], [sys.executable, "-m", "bridge"]):
        done = subprocess.run(
            [*program, "--version"],
            env=machine.environment,
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
        )
        assert done.stdout.startswith("bridge ")


def test_stop_lets_a_stream_end(machine: World) -> None:
    """A stop waits for a stream under way: its answer is whole."""
    machine.log_in()
    machine.start()
    status, _, body = machine.ask(body=message("Hello", stream=True))
    assert status == 200
    assert b"message_stop" in body
    assert machine.bridge("--stop").returncode == 0


def test_a_wrong_configuration(machine: World) -> None:
    """A configuration that cannot be used is told by file, line and key, with code 78."""
    config = machine.home / ".config/bridge/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("[server]\nprot = 1\n")
    done = machine.bridge()
    assert done.returncode == 78
    assert f"{config}:2:" in done.stderr
    assert "port" in done.stderr


def test_reload(machine: World) -> None:
    """An edit counts at once; a wrong one is told by --reload and changes nothing."""
    machine.log_in()
    machine.start()
    config = machine.home / ".config/bridge/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[providers.kimi]\nheaders = { X-Test = "one" }\n')
    assert machine.bridge("--reload").returncode == 0
    while "configuration reloaded" not in machine.log:
        assert machine.pid is not None
    machine.ask()
    assert dict(machine.upstream.requests()[-1]["headers"])["X-Test"] == "one"
    config.write_text("[server]\nport = true\n")
    done = machine.bridge("--reload")
    assert done.returncode == 78
    machine.ask()
    assert dict(machine.upstream.requests()[-1]["headers"])["X-Test"] == "one"


def test_wrong_usage(machine: World) -> None:
    """Words that make no sense end with 2 and a hint, and no traceback."""
    for words in (["--nonsense"], ["login", "nobody"], ["--check", "--stop"], ["shell-init", "x"]):
        done = machine.bridge(*words)
        assert done.returncode == 2, words
        assert "Traceback" not in done.stderr
