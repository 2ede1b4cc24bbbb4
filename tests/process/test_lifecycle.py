"""Start, check, reload, restart, stop: on a daemon whoever keeps it, each with the real command."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from bridge.service.pidfile import read
from bridge.service.record import Record
from bridge.service.run import FILLING_SECONDS
from bridge.units.label import LABEL
from tests.fakes.activator import Activator
from tests.fakes.supervisor import Supervisor
from tests.process.wire import LAST_CHUNK, Counter, asking
from tests.verdicts import record
from tests.world import World, installed, world

pytestmark = [pytest.mark.process, pytest.mark.timeout(90)]

#: Each way to keep a daemon, and what its PID file says of that.
KEEPERS = {
    "hand": ("hand", "own"),
    "foreground": ("foreground", "own"),
    "notify": ("systemd", "own"),
    "socket-activated": ("foreground", "passed"),
    "notify and sockets": ("systemd", "passed"),
}


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> Iterator[World]:
    """A machine with a login."""
    with world(tmp_path) as machine:
        machine.log_in()
        yield machine


@contextlib.contextmanager
def doors(machine: World) -> Iterator[list[socket.socket]]:
    """The machine's port on both loopbacks, held by this process in systemd's name."""
    name = Path("/proc/self/comm")
    before = name.read_text()
    with (
        socket.create_server(("127.0.0.1", machine.port)) as four,
        socket.create_server(("::1", machine.port), family=socket.AF_INET6) as six,
    ):
        name.write_text("systemd")
        try:
            yield [four, six]
        finally:
            name.write_text(before)


@contextlib.contextmanager
def kept(machine: World, how: str) -> Iterator[Supervisor | None]:
    """A daemon that serves, kept as *how* says; its manager, where there is one that answers."""
    with contextlib.ExitStack() as stack:
        manager = None
        if how == "hand":
            machine.start()
        elif how == "foreground":
            machine.foreground()
        elif how == "socket-activated":
            stack.enter_context(Activator(machine))
            assert machine.ask()[0] == 200
        else:
            passed = stack.enter_context(doors(machine)) if "sockets" in how else []
            manager = stack.enter_context(Supervisor(machine, passed=passed))
            stack.enter_context(manager.answering())
            manager.start()
            manager.hears("READY")
        yield manager


def found(machine: World) -> Record:
    """What the PID file says."""
    said = read(str(machine.pid_file))
    assert said is not None
    return said


@pytest.mark.parametrize("how", KEEPERS)
def test_start_check_reload_stop(machine: World, how: str) -> None:
    """Each works on a daemon whoever keeps it; a stopped one has left nothing behind."""
    config = machine.configure("")
    with kept(machine, how) as manager:
        before = found(machine)
        assert (before.keeper, before.sockets) == KEEPERS[how]
        again = machine.bridge()
        assert again.returncode == 0
        assert "already running" in again.stdout
        told = machine.bridge("--check", "kimi", "-v")
        assert (told.returncode, told.stdout) == (
            0,
            f"serving on 127.0.0.1:{machine.port}, pid {before.pid}\n",
        )
        config.write_text('[providers.kimi]\nheaders = { X-Test = "new" }\n')
        assert machine.bridge("--reload").stdout == "bridge: reloading\n"
        machine.until(lambda: "configuration reloaded" in machine.log)
        assert machine.ask()[0] == 200
        assert dict(machine.upstream.requests()[-1]["headers"])["X-Test"] == "new"
        assert machine.pid == before.pid
        stopped = machine.bridge("--stop")
        assert stopped.returncode == 0, stopped.stderr
        assert stopped.stdout.startswith("bridge: stopped")
        assert "daemon stopped" in machine.log
        assert machine.bridge("--check").returncode == 3
        assert not machine.pid_file.exists()
        if manager is not None:
            assert manager.daemon is not None
            assert manager.daemon.wait(20) == 0  # or Restart=on-failure would bring it back
            assert ["--user", "--no-block", "stop", "bridge.service"] in manager.asked
        idle = "; systemd holds" in stopped.stdout and "bridge.socket" in stopped.stdout
        assert idle == (how == "notify and sockets"), stopped.stdout
    record("lifecycle", f"start, check, reload, stop: {how}", "each with 0, nothing left")


@pytest.mark.parametrize("how", KEEPERS)
def test_restart(machine: World, how: str) -> None:
    """A restart makes another process of it; one that a service manager keeps stays its own."""
    with kept(machine, how) as manager:
        before = found(machine)
        done = machine.bridge("--restart")
        assert done.returncode == 0, done.stderr
        assert f"serving on 127.0.0.1:{machine.port}" in done.stdout
        after = found(machine)
        assert (after.pid, after.instance) != (before.pid, before.instance)
        assert machine.ask()[0] == 200
        if manager is not None:
            assert (after.keeper, after.sockets) == KEEPERS[how]
            assert manager.asked[-1] == ["--user", "--no-block", "restart", "bridge.service"]
        assert machine.bridge("--stop").returncode == 0
    record("lifecycle", f"restart: {how}", "another process, the same keeper")


def test_a_manager_that_does_not_answer(machine: World) -> None:
    """Without a bus to ask, a stop is a signal, and a restart says that the daemon has moved."""
    with Supervisor(machine) as manager:
        machine.variables["PATH"] = f"{machine.home}:/usr/bin:/bin"
        systemctl = machine.home / "systemctl"
        systemctl.write_text("#!/bin/sh\necho Failed to connect to bus >&2\nexit 1\n")
        systemctl.chmod(0o755)
        daemon = manager.start()
        manager.hears("READY")
        done = machine.bridge("--restart")
        assert done.returncode == 0, done.stderr
        assert "systemd does not answer here, so it is no longer its own" in done.stdout
        assert daemon.wait(20) == 0
        assert found(machine).keeper == "hand"


def test_under_launchd(machine: World) -> None:
    """A launchd agent logs to the rotated file, and a restart leaves it to launchd to start it."""
    launchctl, asked = machine.home / "launchctl", machine.home / "asked"
    starts = f"XPC_SERVICE_NAME={LABEL} {installed()} --foreground >/dev/null 2>&1 &"
    launchctl.write_text(f'#!/bin/sh\necho "$@" >> {asked}\n{starts}\n')
    launchctl.chmod(0o755)
    machine.variables["PATH"] = f"{machine.home}:/usr/bin:/bin"
    daemon = machine.spawn("--foreground", environment={"XPC_SERVICE_NAME": LABEL})
    while machine.bridge("--check").returncode:
        assert daemon.poll() is None
    assert found(machine).keeper == "launchd"
    assert machine.bridge("--restart").returncode == 0
    assert daemon.communicate(timeout=20) == ("", "")
    assert daemon.returncode == 0  # or KeepAlive would bring it back
    assert asked.read_text() == f"kickstart gui/{os.getuid()}/{LABEL}\n"
    assert found(machine).keeper == "launchd"
    assert machine.log.count("daemon started") == 2
    assert machine.bridge("--stop").stdout == "bridge: stopped\n"


def test_a_service_of_the_same_name_is_not_asked(machine: World) -> None:
    """A manager whose service is another process is left alone; the daemon gets the signal."""
    with Supervisor(machine) as manager, manager.answering():
        stranger = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, text=True
        )
        daemon = manager.start()
        manager.hears("READY")
        manager.daemon = stranger
        with stranger:
            assert machine.bridge("--stop").stdout == "bridge: stopped\n"
            assert daemon.wait(20) == 0
            assert {words[1] for words in manager.asked} == {"show"}
            assert stranger.poll() is None
            stranger.communicate("\n")


def test_a_check_of_one_that_leaves(machine: World) -> None:
    """While streams end under a socket unit a check says so, and is no first request itself."""
    with Counter() as api, doors(machine) as passed:
        machine.variables["KIMI_CODE_BASE_URL"] = f"{api.url}/coding/v1"
        with Supervisor(machine, passed=passed) as manager:
            daemon = manager.start()
            manager.hears("READY")
            with asking(machine.port) as client:
                stream = api.arrives()
                stream.begins()
                daemon.terminate()
                machine.draining()
                told = machine.bridge("--check", "-v")
                assert (told.returncode, "is stopping" in told.stderr) == (4, True)
                stream.concludes()
                client.hears(LAST_CHUNK)
            assert daemon.wait(20) == 0
            passed[0].setblocking(False)
            with pytest.raises(BlockingIOError):  # nobody waits for the next one
                passed[0].accept()


def test_an_enabled_service_is_told(machine: World) -> None:
    """Where a service is enabled a stop says when it starts the daemon again, and how to end it."""
    wants = machine.home / ".config/systemd/user/default.target.wants"
    wants.mkdir(parents=True)
    (wants / "bridge.service").symlink_to("../bridge.service")
    started = machine.bridge()
    assert "the service starts it too: bridge service status" in started.stdout
    told = "systemd starts it at your next login; to end that: bridge service uninstall"
    assert machine.bridge("--stop").stdout == f"bridge: stopped; {told}\n"
    assert machine.bridge("--stop").stdout == f"bridge: not running; {told}\n"


def test_a_wrong_edit_stops_nothing(machine: World) -> None:
    """A restart that could not start again is refused before anything is stopped."""
    machine.start()
    before = machine.pid
    machine.configure("[server]\nprot = 1\n")
    assert "server.prot: unknown key" in machine.told("--restart", code=78)
    assert machine.pid == before
    assert machine.bridge("--check").returncode == 0


def test_a_start_from_within_a_service(machine: World) -> None:
    """What a manager told the shell that starts the daemon is for none of the daemon's programs."""
    seen = machine.home / "seen"
    command = f'["sh", "-c", "env > {seen}; echo sk-0123456789abcdef"]'
    machine.configure(f"[providers.minimax]\nkey = {{ command = {command} }}\n")
    with Supervisor(machine) as manager:
        machine.variables |= {
            "NOTIFY_SOCKET": str(manager._folder / "notify"),
            "LISTEN_FDS": "1",
            "LISTEN_PID": str(os.getpid()),
        }
        machine.start()
        assert found(machine).keeper == "hand"
        machine.ask("/minimax/v1/models", method="GET")
        names = {line.partition("=")[0] for line in seen.read_text().splitlines()}
        assert "HOME" in names
        assert not names & {"NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID"}
        assert machine.bridge("--stop").returncode == 0
        with pytest.raises(TimeoutError):
            manager.hears("READY", patience=0.01)


def test_a_pid_file_that_cannot_be_read(nobody: World) -> None:
    """A PID file that the daemon's own user cannot read is named, by each command in a line."""
    nobody.start()
    nobody.pid_file.chmod(0)
    try:
        for words in (["--stop"], ["--restart"], ["--reload"]):
            assert f"{nobody.pid_file} cannot be read" in nobody.told(*words)
        told = nobody.bridge("--check", "-v")
        assert str(nobody.pid_file) in told.stderr
        assert told.returncode in {1, 4}
    finally:
        nobody.pid_file.chmod(0o600)
    assert nobody.bridge("--stop").stdout == "bridge: stopped\n"


def test_a_home_on_a_read_only_disk(machine: World) -> None:
    """Where nothing can be written a start says so in a line; the others tell the truth."""
    mount = 'mount --bind "$HOME" "$HOME" && mount -o remount,ro,bind "$HOME" && exec "$@"'
    prefix = ["unshare", "-m", "sh", "-c", mount, "sh"]
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare here")
    if subprocess.run([*prefix, "true"], env=machine.environment, check=False).returncode:
        pytest.skip("this user may not mount anything")
    machine.prefix = prefix
    for words in ([], ["--foreground"], ["--restart"], ["up", "kimi"]):
        assert "(Read-only file system): mend that" in machine.told(*words)
    assert machine.bridge("--check").returncode == 3
    assert machine.bridge("--stop").stdout == "bridge: not running\n"
    machine.prefix = []
    machine.start()
    record("lifecycle", "home on a read-only disk", "one line, nothing started")


def test_a_configuration_that_is_being_written(machine: World) -> None:
    """Who writes in place empties the file first: it is not taken for an empty one at once."""
    config = machine.configure("[server]\ndrain_seconds = 5\n")
    machine.start()
    config.write_text("")
    emptied = config.stat().st_mtime
    machine.until(lambda: "configuration reloaded" in machine.log)
    (line,) = [each for each in machine.log.splitlines() if "configuration reloaded" in each]
    read = datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S,%f").astimezone().timestamp()
    assert read - emptied > FILLING_SECONDS - 0.01
