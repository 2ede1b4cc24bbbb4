"""``bridge service`` with stand-ins for the managers' programs, and the real daemon under them.

A real user manager and macOS are not to be had here: what is proved is which files are written and
which calls are made, and that a daemon serves that is started from exactly these files.
"""

from __future__ import annotations

import json
import os
import plistlib
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.units.label import LABEL, SERVICE, SOCKET
from tests.fakes import keeper
from tests.fakes.unit import Unit
from tests.world import World, installed, world

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]
activates = pytest.mark.skipif(
    not shutil.which("systemd-socket-activate"), reason="systemd's tools are not installed"
)


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> Iterator[World]:
    """A machine with a login and, as far as its programs tell, a user's systemd."""
    with world(tmp_path) as machine:
        machine.log_in()
        manage(machine, "systemctl", "loginctl")
        yield machine
        keeper.ended(memory(machine))


@pytest.fixture(name="mac")
def _mac(tmp_path: Path) -> Iterator[World]:
    """A machine with a login and, as far as its programs tell, launchd."""
    with world(tmp_path) as machine:
        machine.log_in()
        manage(machine, "launchctl")
        yield machine
        keeper.ended(memory(machine))


def manage(machine: World, *programs: str) -> None:
    """Give *machine* the service manager's *programs*."""
    memory(machine).mkdir()
    keeper.installed(memory(machine), *programs)
    machine.variables |= {
        "KEEPER": str(memory(machine)),
        "PATH": f"{memory(machine)}/bin:{os.environ['PATH']}",
    }


def memory(machine: World) -> Path:
    """Where the service manager keeps what it knows."""
    return machine.home.parent / "keeper"


def units(machine: World) -> Path:
    """Where the user's units are."""
    return machine.home / ".config/systemd/user"


def jobs(machine: World) -> list[str]:
    """What the manager was told to do so far, without the words that are always there."""
    return [" ".join(each).removeprefix("systemctl --user ") for each in made(machine)]


def made(machine: World) -> list[list[str]]:
    """The calls that were made and are no questions."""
    return keeper.calls(memory(machine))


def done(machine: World, *words: str) -> list[str]:
    """Run ``bridge service`` and return what it says on standard output, line by line."""
    ran = machine.bridge("service", *words)
    assert ran.returncode == 0, (ran.stdout, ran.stderr, journal(machine))
    return ran.stdout.splitlines()


def journal(machine: World) -> str:
    """What the daemon said to the manager's journal."""
    path = memory(machine) / "journal"
    return path.read_text() if path.exists() else ""


def standing(machine: World, code: int = 0) -> dict[str, object]:
    """What ``bridge service status`` says."""
    ran = machine.bridge("service", "status", "--json")
    assert ran.returncode == code, ran.stdout
    document: dict[str, object] = json.loads(ran.stdout)
    return document


def files(machine: World) -> set[str]:
    """Every file of the home but the credential's."""
    found = (path for path in machine.home.rglob("*") if not path.is_dir())
    return {str(path.relative_to(machine.home)) for path in found}


class TestInstall:
    """The units are written, enabled and started, and the daemon serves."""

    def test_files_calls_and_words(self, machine: World) -> None:
        """One command does it all, says each step, and returns when the daemon answers."""
        before = files(machine)
        said = done(machine, "install")
        assert jobs(machine) == [
            "daemon-reload",
            f"reset-failed {SERVICE}",
            f"enable {SERVICE}",
            f"start {SERVICE}",
        ]
        path = units(machine) / SERVICE
        assert said[:4] == [
            f"bridge: write {path}",
            "bridge: run systemctl --user daemon-reload",
            f"bridge: run systemctl --user enable {SERVICE}",
            f"bridge: run systemctl --user start {SERVICE}",
        ]
        assert f"serving on 127.0.0.1:{machine.port}" in said[-1]
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        assert Unit(path.read_text()).command == [installed(), "--foreground"]
        assert machine.bridge("--check", "kimi").returncode == 0
        assert machine.ask()[0] == 200
        written = {name for name in files(machine) - before if ".local" not in name}
        assert {name for name in written if not name.startswith(".kimi")} == {
            f".config/systemd/user/{SERVICE}",
            f".config/systemd/user/default.target.wants/{SERVICE}",
        }

    def test_twice(self, machine: World) -> None:
        """A second install changes only what is different now; then the daemon starts by that."""
        done(machine, "install")
        pid, before = machine.pid, len(jobs(machine))
        assert "write" not in "".join(done(machine, "install"))
        assert machine.pid == pid  # no stream has ended
        assert not [job for job in jobs(machine)[before:] if "restart" in job or "stop" in job]
        machine.variables["XDG_STATE_HOME"] = str(machine.home / "state")
        assert standing(machine)["current"] is False
        done(machine, "install")
        assert machine.pid != pid
        assert jobs(machine)[-1] == f"restart {SERVICE}"
        assert (machine.home / "state/bridge/key").exists()
        assert standing(machine)["current"] is True

    def test_takeover(self, machine: World) -> None:
        """A daemon that was started by hand is stopped in good order, and the service follows."""
        machine.start()
        pid = machine.pid
        said = done(machine, "install")
        assert f"bridge: stopping the running daemon (pid {pid})" in said
        assert machine.pid not in {None, pid}
        assert f"daemon stopped pid={pid}" in machine.log
        assert standing(machine)["pid"] == machine.pid

    def test_does_not_start(self, machine: World) -> None:
        """A service that does not start is told with the place where the reason is."""
        blocker = machine.home / ".local/run/bridge.pid"
        blocker.mkdir(parents=True)  # no file of ours: the daemon cannot claim it
        done = machine.bridge("service", "install")
        assert done.returncode == 1
        assert f"start {SERVICE} failed" in done.stderr
        assert f"journalctl --user -u {SERVICE}" in done.stderr
        assert "bridge.pid cannot be written" in journal(machine)


@activates
class TestSocket:
    """With --socket systemd holds the port, and the first request starts the daemon."""

    def test_install(self, machine: World) -> None:
        """The socket unit is enabled and started, the service is not, and it has been tried out.

        Once the daemon is stopped, the unit that waits is neither a dead daemon nor a stranger,
        and being asked does not wake it.
        """
        said = done(machine, "install", "--socket")
        assert jobs(machine) == [
            "daemon-reload",
            f"reset-failed {SERVICE}",
            f"enable {SOCKET}",
            f"start {SOCKET}",
        ]
        assert "serving on" in said[-1]
        assert sorted(path.name for path in units(machine).glob("bridge.*")) == [SERVICE, SOCKET]
        state = standing(machine)
        assert (state["socket"], state["enabled"], state["current"]) == ("active", True, True)
        assert state["pid"] == machine.pid
        words = ("systemctl", "--user", "stop", SERVICE)
        subprocess.run(words, env=machine.environment, check=True)
        state = standing(machine)
        assert state["idle"] is True
        assert "systemd holds" in str(state["check"])
        assert "systemd" in str(state["holder"])
        assert state["pid"] == 0
        assert machine.ask()[0] == 200
        assert standing(machine)["idle"] is False

    def test_from_service_to_socket_and_back(self, machine: World) -> None:
        """One kind of installation becomes the other, and nothing of the first is left."""
        done(machine, "install")
        before = len(jobs(machine))
        done(machine, "install", "--socket")
        assert jobs(machine)[before + 2 :] == [
            f"disable {SERVICE}",
            f"enable {SOCKET}",
            f"stop {SERVICE}",
            f"start {SOCKET}",
        ]
        before = len(jobs(machine))
        done(machine, "install")
        assert jobs(machine)[before] == f"disable --now {SOCKET}"
        assert not (units(machine) / SOCKET).exists()
        assert not (units(machine) / "sockets.target.wants" / SOCKET).is_symlink()
        assert machine.ask()[0] == 200


class TestUninstall:
    """Everything is undone, and what is the person's stays."""

    @pytest.mark.parametrize("words", [[], pytest.param(["--socket"], marks=activates)])
    def test_nothing_is_left(self, machine: World, words: list[str]) -> None:
        """After it no unit, no link and no daemon is there; the login is."""
        done(machine, "install", *words)
        login = machine.credential.read_text()
        said = done(machine, "uninstall")
        assert "the service is gone" in said[-1]
        assert not [name for name in files(machine) if "systemd" in name]
        assert machine.bridge("--check").returncode == 3
        assert machine.credential.read_text() == login
        assert (machine.home / ".local/state/bridge/key").exists()
        assert standing(machine, code=3)["installed"] is False

    def test_without_a_manager(self, machine: World) -> None:
        """Where no manager answers the files go all the same, and a daemon that runs is named."""
        done(machine, "install")
        (memory(machine) / "down").touch()
        said = done(machine, "uninstall")
        assert f"a daemon still runs (pid {machine.pid})" in said[-1]
        assert not [name for name in files(machine) if "systemd" in name]


class TestStatus:
    """It says what is installed, what runs, and who has the port."""

    def test_words(self, machine: World) -> None:
        """People get a line for each fact; what is wrong with the unit or the file is told."""
        done(machine, "install")
        text = machine.bridge("service", "status").stdout
        assert "service   systemd, enabled" in text
        assert f"program   {installed()}\n" in text
        assert f"pid {machine.pid}, user" in text
        assert f"state     active, pid {machine.pid}" in text
        path = units(machine) / SERVICE
        good = path.read_text()
        path.write_text(good.replace(installed(), "/nowhere/kimi-bridge"))
        assert "it is gone" in machine.bridge("service", "status").stdout
        path.write_text(good.replace(installed(), "/bin/true"))
        assert "another installation" in machine.bridge("service", "status").stdout
        path.write_text(good.replace('"version": "', '"version": "0.'))
        assert "install renews it" in machine.bridge("service", "status").stdout
        machine.configure("[server]\nport = true\n")
        assert standing(machine)["active"] == "active"


class TestLaunchd:
    """The same on a machine with launchd."""

    def test_install_and_uninstall(self, mac: World) -> None:
        """The agent is written, loaded and started with its environment; uninstall undoes that.

        A daemon that was started by hand is stopped first.
        """
        mac.start()
        pid = mac.pid
        domain = f"gui/{os.getuid()}"
        path = mac.home / f"Library/LaunchAgents/{LABEL}.plist"
        said = done(mac, "install")
        assert made(mac) == [
            ["launchctl", "enable", f"{domain}/{LABEL}"],
            ["launchctl", "bootstrap", domain, str(path)],
        ]
        assert f"bridge: stopping the running daemon (pid {pid})" in said
        assert "serving on" in said[-1]
        assert mac.pid not in {None, pid}
        agent = plistlib.loads(path.read_bytes())
        assert agent["ProgramArguments"] == [installed(), "--foreground"]
        assert agent["EnvironmentVariables"]["BRIDGE_PORT"] == str(mac.port)
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        assert mac.ask()[0] == 200
        assert "daemon started" in (mac.home / ".local/state/bridge/bridge.log").read_text()
        state = standing(mac)
        assert (state["active"], state["pid"]) == ("running", mac.pid)
        done(mac, "uninstall")
        assert not path.exists()
        assert mac.bridge("--check").returncode == 3

    def test_renewal(self, mac: World) -> None:
        """An agent that has changed is unloaded first; one that has not is only kicked."""
        done(mac, "install")
        pid = mac.pid
        done(mac, "install")
        assert made(mac)[-1][1] == "kickstart"
        assert mac.pid == pid
        mac.variables["XDG_STATE_HOME"] = str(mac.home / "state")
        done(mac, "install")
        assert [call[1] for call in made(mac)[-3:]] == ["enable", "bootout", "bootstrap"]
        assert mac.pid != pid
