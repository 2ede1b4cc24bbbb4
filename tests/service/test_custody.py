"""Who keeps the daemon is told from what is its own, and only its own manager is asked."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bridge.service import custody
from bridge.service.record import FOREGROUND, HAND, LAUNCHD, SYSTEMD, Record

PID = str(os.getpid())


@pytest.mark.parametrize(
    ("environment", "keeper"),
    [
        ({}, FOREGROUND),
        ({"NOTIFY_SOCKET": "/run/user/1/systemd/notify"}, SYSTEMD),
        ({"SYSTEMD_EXEC_PID": PID}, SYSTEMD),
        ({"SYSTEMD_EXEC_PID": "1", "INVOCATION_ID": "ab", "JOURNAL_STREAM": "1:2"}, FOREGROUND),
        ({"XPC_SERVICE_NAME": "io.bridge-proxy.bridge"}, LAUNCHD),
        ({"XPC_SERVICE_NAME": "application.com.apple.Terminal.1"}, FOREGROUND),
        ({"XPC_SERVICE_NAME": "0"}, FOREGROUND),
    ],
)
def test_the_keeper(environment: dict[str, str], keeper: str) -> None:
    """What a terminal inherits from the desktop's units does not make it a service."""
    assert custody.keeper(environment) == keeper


class Program:
    """A manager's program on the PATH that answers as told; *calls* is what it was asked."""

    def __init__(self, folder: Path, name: str, body: str) -> None:
        self._log = folder / f"{name}.log"
        script = folder / name
        script.write_text(f'#!/bin/sh\necho "$@" >> {self._log}\n{body}\n')
        script.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        """Return each call's words."""
        return self._log.read_text().splitlines() if self._log.exists() else []


@pytest.fixture(name="path")
def _path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of the PATH, besides the system's own for what a script needs."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def kept(keeper: str) -> Record:
    """The record of a daemon, pid 42."""
    return Record(pid=42, port=1, instance="a", keeper=keeper)


SHOWN = 'case "$*" in *show*) printf "MainPID=%s\\nActiveState=%s\\n" ;; esac'
SHOW = "--user show --property=MainPID,ActiveState bridge.service"


@pytest.mark.parametrize("verb", ["stop", "restart"])
def test_systemd_is_asked_about_its_own(path: Path, verb: str) -> None:
    """A service whose process it is gets the job, without waiting for its end."""
    systemctl = Program(path, "systemctl", SHOWN % (42, "active"))
    asked = custody.stopped if verb == "stop" else custody.restarted
    assert asked(kept(SYSTEMD))
    assert systemctl.calls == [SHOW, f"--user --no-block {verb} bridge.service"]


@pytest.mark.parametrize(
    "body",
    [SHOWN % (43, "active"), SHOWN % (42, "deactivating"), SHOWN % (0, "inactive"), "exit 1", ""],
)
def test_systemd_is_not_given_what_is_not_its_own(path: Path, body: str) -> None:
    """Another process, one that it is ending already, no bus, no sense: the signal is ours."""
    systemctl = Program(path, "systemctl", body)
    assert not custody.stopped(kept(SYSTEMD))
    assert systemctl.calls == [SHOW]


@pytest.mark.parametrize("keeper", [HAND, FOREGROUND, LAUNCHD, ""])
def test_nobody_else_is_asked(path: Path, keeper: str) -> None:
    """What systemd does not keep, and what older versions wrote, is not asked of it."""
    systemctl = Program(path, "systemctl", SHOWN % (42, "active"))
    assert not custody.stopped(kept(keeper))
    assert not custody.restarted(kept(keeper))
    assert systemctl.calls == []


def test_a_job_that_is_refused(path: Path) -> None:
    """A manager that knows the process and takes no job leaves it to the signal."""
    refuse = 'case "$*" in *restart*|*stop*) exit 1 ;; esac'
    Program(path, "systemctl", f"{SHOWN % (42, 'active')}\n{refuse}")
    assert not custody.stopped(kept(SYSTEMD))


def test_without_the_program(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no such manager there is nobody to ask."""
    monkeypatch.setenv("PATH", str(path))
    assert not custody.stopped(kept(SYSTEMD))
    assert not custody.started(kept(LAUNCHD))


def test_launchd_starts_its_own_again(path: Path) -> None:
    """After a signal has ended its daemon, launchd is asked for another; nobody else's."""
    launchctl = Program(path, "launchctl", "")
    assert custody.started(kept(LAUNCHD))
    assert not custody.started(kept(HAND))
    assert launchctl.calls == [f"kickstart gui/{os.getuid()}/io.bridge-proxy.bridge"]


@pytest.mark.skipif(sys.platform == "darwin", reason="launchd's agents are elsewhere")
@pytest.mark.parametrize("folder", ["config", ""])
def test_an_enabled_service_comes_back(tmp_path: Path, folder: str) -> None:
    """What is enabled starts at a login; what is only installed does not."""
    environment = {"HOME": str(tmp_path)}
    if folder:
        environment["XDG_CONFIG_HOME"] = str(tmp_path / folder)
    units = tmp_path / (folder or ".config") / "systemd/user"
    (units / "default.target.wants").mkdir(parents=True)
    (units / "bridge.service").touch()
    assert custody.comes_back(environment) == ""
    (units / "default.target.wants/bridge.service").symlink_to("../gone")
    assert custody.comes_back(environment).startswith("systemd starts it at your next login; ")
