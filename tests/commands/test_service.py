"""``bridge service`` where no daemon has to run: what it says, leaves alone and refuses."""

from __future__ import annotations

import json
import os
import plistlib
import socket
from pathlib import Path

import pytest

from bridge.commands import service
from bridge.errors import PortTaken, ServiceError, UsageError
from bridge.units.label import LABEL, SERVICE, SOCKET
from tests.fakes import keeper
from tests.fakes.unit import Unit
from tests.ports import free_port


class Machine:
    """A home whose PATH leads to a service manager's stand-ins."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self.memory = home.parent / "keeper"
        self.units = home / ".config/systemd/user"
        self.options = {"port": free_port()}
        self._capsys = capsys

    def install(self, *, socket: bool = False) -> tuple[list[str], str]:
        """Say what install would do; return its lines and what it warned of."""
        assert service.install(self.options, socket=socket, dry_run=True) == 0
        said = self._capsys.readouterr()
        return said.out.splitlines(), said.err

    def printed(self, *, socket: bool = False) -> str:
        """Return the units as they would be written."""
        self._capsys.readouterr()
        assert service.show(self.options, socket=socket) == 0
        return self._capsys.readouterr().out

    def said(self) -> str:
        """Return what was said since the last look."""
        return self._capsys.readouterr().out

    def everything(self) -> list[Path]:
        """Return every file and folder of the home."""
        return sorted(self.home.rglob("*"))


@pytest.fixture(name="machine")
def _machine(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Machine:
    """A machine with a user's systemd."""
    return _with(home, capsys, monkeypatch, "systemctl", "loginctl")


@pytest.fixture(name="mac")
def _mac(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Machine:
    """A machine with launchd."""
    return _with(home, capsys, monkeypatch, "launchctl")


def _with(
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    *programs: str,
) -> Machine:
    machine = Machine(home, capsys)
    machine.memory.mkdir()
    keeper.installed(machine.memory, *programs)
    monkeypatch.setenv("KEEPER", str(machine.memory))
    monkeypatch.setenv("PATH", f"{machine.memory}/bin:{os.environ['PATH']}")
    return machine


class TestDryRun:
    """--dry-run says what would be done and touches nothing."""

    def test_install(self, machine: Machine) -> None:
        """The steps of an install are told in their order."""
        said, _ = machine.install(socket=True)
        assert said == [
            f"bridge: would write {machine.units / SERVICE}",
            f"bridge: would write {machine.units / SOCKET}",
            "bridge: would run systemctl --user daemon-reload",
            f"bridge: would run systemctl --user enable {SOCKET}",
            f"bridge: would run systemctl --user start {SOCKET}",
        ]
        assert machine.everything() == []
        assert keeper.calls(machine.memory) == []

    def test_uninstall(self, machine: Machine) -> None:
        """The steps of an uninstall are told in their order."""
        machine.units.mkdir(parents=True)
        (machine.units / SERVICE).write_text(machine.printed())
        before = machine.everything()
        assert service.uninstall({}, dry_run=True) == 0
        assert machine.said().splitlines() == [
            f"bridge: would run systemctl --user disable --now {SERVICE}",
            f"bridge: would remove {machine.units / SERVICE}",
            "bridge: would run systemctl --user daemon-reload",
        ]
        assert machine.everything() == before
        assert keeper.calls(machine.memory) == []

    def test_launchd(self, mac: Machine) -> None:
        """On a machine with launchd these are other steps."""
        path = mac.home / f"Library/LaunchAgents/{LABEL}.plist"
        domain = f"gui/{os.getuid()}"
        said, _ = mac.install()
        assert said == [
            f"bridge: would write {path}",
            f"bridge: would run launchctl enable {domain}/{LABEL}",
            f"bridge: would run launchctl bootstrap {domain} {path}",
        ]
        assert mac.everything() == []


class TestRefusals:
    """What cannot be done is told before anything is."""

    def test_no_user_manager(self, machine: Machine) -> None:
        """Without a user manager nothing is written, and the way out is told."""
        (machine.memory / "down").touch()
        with pytest.raises(ServiceError, match=r"\(XDG_RUNTIME_DIR .*loginctl enable-linger"):
            service.install(machine.options, socket=False, dry_run=False)
        assert machine.everything() == []

    def test_no_session(self, mac: Machine) -> None:
        """Without a session at the screen nothing is written."""
        (mac.memory / "down").touch()
        with pytest.raises(ServiceError, match="launchd has no session"):
            service.install(mac.options, socket=False, dry_run=False)
        assert mac.everything() == []

    def test_socket_of_launchd(self, mac: Machine) -> None:
        """What launchd cannot do is wrong usage."""
        with pytest.raises(UsageError, match="leave out --socket"):
            service.install(mac.options, socket=True, dry_run=False)

    @pytest.mark.parametrize("name", [SERVICE, SOCKET])
    def test_somebody_elses_unit(self, machine: Machine, name: str) -> None:
        """A unit that somebody else wrote is left alone by install and by uninstall."""
        machine.units.mkdir(parents=True)
        (machine.units / name).write_text("[Unit]\nDescription=mine\n")
        with pytest.raises(ServiceError, match="was not written by bridge service install"):
            service.install(machine.options, socket=False, dry_run=False)
        with pytest.raises(ServiceError, match="was not written by bridge service install"):
            service.uninstall({}, dry_run=False)
        assert (machine.units / name).read_text() == "[Unit]\nDescription=mine\n"
        assert keeper.calls(machine.memory) == []

    def test_somebody_elses_agent(self, mac: Machine) -> None:
        """The same holds for an agent of launchd."""
        path = mac.home / f"Library/LaunchAgents/{LABEL}.plist"
        path.parent.mkdir(parents=True)
        path.write_bytes(plistlib.dumps({"Label": LABEL}))
        with pytest.raises(ServiceError, match="was not written by bridge service install"):
            service.install(mac.options, socket=False, dry_run=False)
        assert keeper.calls(mac.memory) == []

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can look like sudo")
    def test_sudo(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        """Under sudo, or as root in somebody's home, nothing is installed."""
        os.chown(machine.home, 1000, 1000)
        with pytest.raises(ServiceError, match="belongs to uid 1000"):
            service.install(machine.options, socket=False, dry_run=False)
        os.chown(machine.home, 0, 0)
        monkeypatch.setenv("SUDO_UID", "1000")
        with pytest.raises(ServiceError, match="this is sudo"):
            service.install(machine.options, socket=False, dry_run=False)
        with pytest.raises(ServiceError, match="this is sudo"):
            service.uninstall({}, dry_run=False)
        assert machine.everything() == []

    def test_stranger_on_the_port(self, machine: Machine) -> None:
        """A port that is a stranger's is told with its owner, and nothing is written."""
        with (
            socket.create_server(("127.0.0.1", machine.options["port"])),
            pytest.raises(PortTaken, match=rf"taken by .*\(pid {os.getpid()}, user"),
        ):
            service.install(machine.options, socket=False, dry_run=False)
        assert machine.everything() == []

    def test_nothing_installed(self, machine: Machine) -> None:
        """Where nothing is installed uninstall says so, and that is no failure."""
        assert service.uninstall({}, dry_run=False) == 0
        assert machine.said() == "bridge: the service is not installed\n"
        assert keeper.calls(machine.memory) == []


class TestCautions:
    """What a person should know first is said on standard error, without any value."""

    def test_keys_of_the_shell(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        """Keys and passwords in the shell's variables are named, neither shown nor written."""
        monkeypatch.setenv("MINIMAX_API_KEY", "sk-cp-a1b2c3d4e5f6")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-a1b2c3d4e5f6")  # nobody looks for it
        monkeypatch.setenv("HTTPS_PROXY", "http://me:hunter2secret@127.0.0.1:9")
        said, warned = machine.install()
        assert "does not see MINIMAX_API_KEY of this shell" in warned
        assert "HTTPS_PROXY has a password" in warned
        everything = "".join(said) + warned + machine.printed()
        assert "a1b2c3d4e5f6" not in everything
        assert "hunter2secret" not in everything

    def test_lingering(self, machine: Machine) -> None:
        """That the service ends at logout is said, where it does."""
        assert "enable-linger" in machine.install()[1]
        (machine.memory / "linger").touch()
        assert "enable-linger" not in machine.install()[1]

    def test_programs_that_fetch_keys(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """For them restrictions are left out and PATH goes along; it is said."""
        program = machine.home / "bin/fetch"
        program.parent.mkdir()
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{program.parent}")
        config = machine.home / ".config/bridge/config.toml"
        config.parent.mkdir(parents=True)
        config.write_text('[providers.minimax]\nkey = { command = ["fetch"] }\n')
        assert "may write everywhere you may, for fetch" in machine.install()[1]
        unit = Unit(machine.printed())
        assert unit.environment["PATH"].endswith(str(program.parent))
        assert (unit.all("ProtectSystem"), unit.all("NoNewPrivileges")) == ([], ["yes"])
        program.chmod(0o2755)
        assert "not confined, for fetch" in machine.install()[1]
        program.rename(program.with_name("snap"))
        program.symlink_to("snap")
        program.chmod(0o755)
        assert "not confined, for fetch" in machine.install()[1]
        unit = Unit(machine.printed())
        assert (unit.all("ProtectSystem"), unit.all("NoNewPrivileges")) == ([], [])


class TestStatus:
    """It says how things stand, and its exit code does."""

    def test_nothing(self, machine: Machine) -> None:
        """Nothing installed is exit code 3."""
        assert service.status(machine.options, as_json=False) == 3
        assert "not installed: bridge service install" in machine.said()

    def test_stranger(self, machine: Machine) -> None:
        """A stranger on the port is named."""
        with socket.create_server(("127.0.0.1", machine.options["port"])):
            service.status(machine.options, as_json=True)
        document = json.loads(machine.said())
        assert f"(pid {os.getpid()}, user " in document["holder"]
        assert document["code"] == 4
        assert document["idle"] is False
