"""A port that a socket unit holds: the first request waits, and one daemon comes for all."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bridge.service.pidfile import read
from tests.fakes.activator import Activator
from tests.fakes.supervisor import Supervisor
from tests.verdicts import record
from tests.world import World, world

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]

CROWD = 50
_now: Callable[[], float] = time.monotonic  # noqa: TID251 - the daemon is real, in real time


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> Iterator[World]:
    """A machine with a login."""
    with world(tmp_path) as machine:
        machine.log_in()
        yield machine


def test_fifty_first_requests(machine: World) -> None:
    """With no daemon running none of them is refused, all are answered, by one daemon."""
    with Activator(machine) as unit, ThreadPoolExecutor(CROWD) as crowd:
        assert unit.is_idle
        began = _now()
        answers = list(crowd.map(lambda _: machine.ask(), range(CROWD)))
        seconds = _now() - began
        assert [status for status, _, _ in answers] == [200] * CROWD
        assert machine.log.count("daemon started") == 1
        assert machine.pid == unit.process.pid
        assert len(machine.upstream.requests()) == CROWD
        found = read(str(machine.pid_file))
        assert found is not None
        assert (found.sockets, found.keeper, found.address) == ("passed", "foreground", "127.0.0.1")
        with socket.create_connection(("::1", machine.port)) as other:
            other.sendall(b"GET /health HTTP/1.1\r\nHost: [::1]:%d\r\n\r\n" % machine.port)
            assert b"200 OK" in other.recv(100)
    record("activation", "50 first requests, no daemon", f"{CROWD} x 200, one daemon", seconds)


def test_a_check_wakes_nobody(machine: World) -> None:
    """An idle socket unit is not running (3), in words of its own, and stays idle."""
    with Activator(machine) as unit:
        for _ in range(3):
            assert machine.bridge("--check").returncode == 3
        told = machine.bridge("--check", "kimi", "-v")
        held = f"systemd holds 127.0.0.1:{machine.port} and starts it at the first request"
        assert (told.returncode, told.stderr) == (3, f"not running, but {held}\n")
        stopped = machine.bridge("--stop")
        assert stopped.returncode == 0
        assert "bridge: not running; systemd holds" in stopped.stdout
        assert "systemctl --user stop bridge.socket" in stopped.stdout
        assert unit.is_idle
        record("check", "idle socket unit", "3, not woken")


@pytest.mark.parametrize("words", [[], ["up", "kimi"], ["--restart"]], ids=" ".join)
def test_a_start_wakes_it(machine: World, words: list[str]) -> None:
    """Where a socket unit waits, a start is a first request: the daemon is the manager's."""
    with Activator(machine) as unit:
        done = machine.bridge(*words)
        assert done.returncode == 0, done.stderr
        assert machine.bridge("--check", "kimi").returncode == 0
        assert machine.pid == unit.process.pid
        assert machine.log.count("daemon started") == 1


def test_a_unit_that_cannot_start_it(machine: World) -> None:
    """A socket unit whose daemon fails is told in a line that says where to look."""
    machine.configure("")
    with Activator(machine, "--config", "/nonexistent.toml"):
        assert "could not start the daemon: see journalctl" in machine.told()
    assert machine.bridge("--check").returncode == 3


def test_the_passed_port_counts(machine: World) -> None:
    """Whatever the configuration says, the port is the unit's; a difference is a warning."""
    asked, machine.variables["BRIDGE_PORT"] = machine.port, "1"
    with Activator(machine):
        assert machine.ask("/health", method="GET")[0] == 200
        checked = machine.bridge("--check", "-v")  # the PID file knows the port
        assert (checked.returncode, f"127.0.0.1:{asked}" in checked.stdout) == (0, True)
        assert f"server.port is 1, but the service manager listens on {asked}" in machine.log


def listening(address: str, family: int = socket.AF_INET) -> socket.socket:
    """A socket that listens on any port of *address*, or on that path."""
    opened = socket.socket(socket.AddressFamily(family))
    opened.bind(address if family == socket.AF_UNIX else (address, 0))
    opened.listen()
    return opened


def test_wrong_sockets(machine: World) -> None:
    """A unit that passes anything but a door on loopback is told what is wrong, with 78."""
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("127.0.0.1", 0))
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))
    cases = {
        "listens on 0.0.0.0, not on 127.0.0.1 or ::1": [listening("0.0.0.0")],
        "is no TCP socket": [listening(str(machine.home / "unix"), socket.AF_UNIX)],
        "is no TCP socket: ": [datagrams],
        "does not listen": [silent],
        "passes sockets on ports": [listening("127.0.0.1"), listening("127.0.0.1")],
    }
    for words, passed in cases.items():
        with Supervisor(machine, passed=passed) as manager:
            daemon = manager.start()
            told = manager.hears("STATUS")["STATUS"]
            assert words in told
            assert "mend ListenStream= in the socket unit" in told
            assert daemon.wait(20) == 78
        for each in passed:
            each.close()
    assert "Traceback" not in machine.log


def test_only_ipv6(machine: World) -> None:
    """A unit with a door on [::1] alone is served there, and checked there."""
    with (
        socket.create_server(("::1", machine.port), family=socket.AF_INET6) as door,
        Supervisor(machine, passed=[door]) as manager,
    ):
        manager.start()
        assert manager.hears("READY")["STATUS"].startswith(f"serving on [::1]:{machine.port}")
        checked = machine.bridge("--check", "-v")
        assert (checked.returncode, f"[::1]:{machine.port}" in checked.stdout) == (0, True)
        assert machine.bridge("--stop").returncode == 0


def test_doctor_lets_an_idle_socket_unit_sleep(machine: World) -> None:
    """Looking into everything, doctor finds the unit that waits, and starts no daemon."""
    with Activator(machine) as unit:
        examined = machine.bridge("doctor", "--json")
        assert "systemd holds port" in examined.stdout
        assert "is taken by" not in examined.stdout
        assert unit.is_idle
