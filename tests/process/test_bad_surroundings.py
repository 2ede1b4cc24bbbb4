"""Wrong configuration, environment and files around the daemon: one clear line, nothing done."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.service.record import Record
from tests.world import NOBODY, World, belongs_to, world

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> Iterator[World]:
    """A machine with a login."""
    with world(tmp_path) as machine:
        machine.log_in()
        yield machine


WRONG = {
    "[server]\nport = \n": ":2:",
    "[server\nport = 1\n": ":1:",
    "[server]\nprot = 1\n": ":2: server.prot: unknown key (did you mean port?)",
    '[server]\nport = "18462"\n': ":2: server.port: expected a whole number",
    "[server]\nport = 70000\n": ":2: server.port: expected a whole number from 1 to 65535",
    "server = 1\n": ":1: server: expected a table",
    "[providers.nobody]\n": "providers.nobody",
    '[log]\nlevel = "loud"\n': ":2: log.level: expected one of",
    "[server]\nport = 1\nport = 2\n": ":3:",
    "\x00": ":1:",
}


def test_wrong_configurations(machine: World) -> None:
    """Each names file, line and key, with code 78, before anything has been started."""
    for text, words in WRONG.items():
        config = machine.configure(text)
        line = machine.told(code=78)
        assert line.startswith(str(config)), line
        assert words in line, line
    for command in ("--foreground", "--restart", "--reload", "login", "token", "up"):
        assert machine.told(command, code=78).startswith(str(config))
    machine.configure("[server]\nprot = 1\n[log]\nlevel = 3\n")
    done = machine.bridge()
    assert (done.returncode, done.stderr.count("\n")) == (78, 2)
    assert machine.bridge("--check").returncode == 3


def test_a_configuration_that_is_no_text(machine: World) -> None:
    """A configuration that cannot be read says why, and one that was named must exist."""
    config = machine.configure("")
    config.write_bytes(b"\xff\xfe")
    assert "not UTF-8" in machine.told(code=78)
    config.unlink()
    config.mkdir()
    assert "Is a directory" in machine.told(code=78)
    gone = machine.home / "gone.toml"
    assert f"{gone} does not exist" in machine.told("--config", str(gone), code=78)


def test_wrong_environments(machine: World) -> None:
    """A variable that leads nowhere good is named, and nothing is started or sent."""
    cases = {
        "KIMI_CODE_BASE_URL": ("http://example.org/coding/v1", "unencrypted"),
        "KIMI_CODE_OAUTH_HOST": ("http://example.org", "unencrypted"),
        "BRIDGE_PORT": ("many", "expected a whole number"),
        "KIMI_SHARE_DIR": ("relative/folder", "relative"),
        "HTTPS_PROXY": ("socks5://127.0.0.1:1", "write http://HOST:PORT"),
        "SSL_CERT_FILE": ("/nonexistent.pem", "/nonexistent.pem"),
    }
    for name, (value, words) in cases.items():
        machine.variables = {name: value}
        for command in ([], ["--foreground"], ["token"]):
            assert words in machine.told(*command, code=78), (name, command)
    machine.variables = {}
    assert machine.bridge("--check").returncode == 3


def test_without_a_home(machine: World) -> None:
    """Without HOME nothing is guessed: it is said what to set."""
    for home in ("", "relative"):
        machine.variables = {"HOME": home}
        for command in ([], ["token"], ["--check", "-v"], ["--stop"]):
            assert "HOME" in machine.told(*command, code=78), (home, command)
    machine.variables = {}


def test_unknown_providers(machine: World) -> None:
    """A provider that nobody knows is named, on the command line and in a request."""
    machine.start()
    for verb in ("login", "logout", "token", "up"):
        assert "nobody" in machine.told(verb, "nobody", code=2)
    assert machine.bridge("--check", "nobody").returncode not in {0, 3}


def test_a_port_in_use(machine: World) -> None:
    """A port that is a stranger's fails a start in the foreground, too, and says whose it is."""
    with socket.create_server(("127.0.0.1", machine.port)):
        text = machine.told("--foreground", code=4)
        assert f"port {machine.port} on 127.0.0.1 is taken by" in text
        assert f"pid {os.getpid()}" in text
    machine.start()


def test_a_stop_with_a_wrong_configuration(machine: World) -> None:
    """An edit that went wrong keeps nobody from stopping the daemon, which goes on until then."""
    machine.start()
    machine.configure("[server]\nprot = 1\n")
    assert machine.ask()[0] == 200
    assert machine.bridge("--check").returncode == 0
    done = machine.bridge("--stop")
    assert (done.returncode, done.stdout) == (0, "bridge: stopped\n")


def test_a_pid_file_with_the_number_of_another(machine: World) -> None:
    """A PID file that names a living stranger is stale: nobody is signalled, and a start works."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        machine.start()
        text = machine.pid_file.read_text()
        assert machine.bridge("--stop").returncode == 0
        machine.pid_file.write_text(text.replace(text.split("\n")[0], str(stranger.pid), 1))
        assert machine.bridge("--check").returncode == 1
        assert machine.bridge("--stop").stdout == "bridge: not running\n"
        assert machine.told("--reload", code=3)
        machine.start()
        assert stranger.poll() is None
        stranger.kill()
    assert machine.pid != stranger.pid


@pytest.mark.parametrize("content", ["", "nonsense", "\x00\xff" * 3000, "-1\n", "1\n"])
def test_a_garbled_pid_file(machine: World, content: str) -> None:
    """A PID file of which nothing can be made is stale, and the next start replaces it."""
    machine.pid_file.parent.mkdir(parents=True)
    machine.pid_file.write_text(content)
    assert machine.bridge("--check").returncode == 1
    assert machine.bridge("--stop").stdout == "bridge: not running\n"
    machine.start()
    assert machine.bridge("--check").returncode == 0


def test_a_pid_file_that_is_none(machine: World) -> None:
    """A folder or a FIFO in the place of the PID file is named, with the way out."""
    machine.pid_file.parent.mkdir(parents=True)
    for make in (os.mkdir, os.mkfifo):
        make(machine.pid_file)
        for words in ([], ["--foreground"]):
            text = machine.told(*words)
            assert str(machine.pid_file) in text
            assert "--pid-file" in text
        assert machine.bridge("--check").returncode == 1
        machine.pid_file.rmdir() if make is os.mkdir else machine.pid_file.unlink()
    machine.start()


def test_a_foreign_pid_file(nobody: World) -> None:
    """A PID file of another user, readable or not, is named and left alone."""
    nobody.pid_file.parent.mkdir(parents=True)
    belongs_to(nobody.home / ".local", NOBODY)
    nobody.pid_file.write_text("1\n")
    for mode in (0o644, 0o600):
        nobody.pid_file.chmod(mode)
        assert str(nobody.pid_file) in nobody.told()
        assert nobody.pid_file.read_text() == "1\n"
    nobody.pid_file.unlink()
    nobody.start()


def test_a_daemon_of_another_machine(machine: World) -> None:
    """On a home that two machines share, a stop says where the daemon is, and ends nothing."""
    machine.pid_file.parent.mkdir(parents=True)
    there = Record(pid=42, port=machine.port, instance="i", boot="another", host="laptop")
    machine.pid_file.write_text(there.text())
    with machine.pid_file.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        told = machine.bridge("--stop")
    assert told.returncode == 0
    assert "not running here; bridge on laptop (pid 42) holds" in told.stdout


def test_a_log_that_cannot_be_written(machine: World) -> None:
    """A log that cannot be written is a failed start that says so, and no daemon without a log."""
    state = machine.home / ".local/state"
    state.mkdir(parents=True)
    (state / "bridge").write_text("in the way")
    text = machine.told()
    assert f"the log {state}/bridge/bridge.log cannot be written" in text
    assert machine.bridge("--check").returncode == 3
    (state / "bridge").unlink()
    machine.start()


def test_a_log_folder_without_rights(nobody: World) -> None:
    """The same where the folder's mode forbids it."""
    state = nobody.home / ".local/state/bridge"
    state.mkdir(parents=True)
    belongs_to(nobody.home / ".local", NOBODY)
    state.chmod(0o500)
    assert "Permission denied" in nobody.told()
    state.chmod(0o700)
    nobody.start()


def test_a_spoilt_caller_key(machine: World) -> None:
    """A key file that is empty is filled; one that others can read, or that is none, is refused."""
    key = machine.home / ".local/state/bridge/key"
    key.parent.mkdir(parents=True)
    key.write_text("bridge-" + "k" * 40)
    key.chmod(0o644)
    assert f"{key} can be read by others" in machine.told()
    key.chmod(0o600)
    key.write_text("short")
    assert "too short" in machine.told()
    key.unlink()
    key.mkdir()
    assert str(key) in machine.told()
    key.rmdir()
    key.write_text("")
    machine.start()
    assert len(key.read_text()) > 32
    assert key.stat().st_mode & 0o777 == 0o600
