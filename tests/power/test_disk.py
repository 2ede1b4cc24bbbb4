"""Disks that are full or read-only under each thing that is written: one line, and nothing lost.

Memory that runs out (ENOMEM) is not tried: Linux kills instead of refusing, and what a kill leaves
is tried elsewhere.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.credential import write_credential
from tests.power.smalldisk import SmallDisk, mounted
from tests.verdicts import record
from tests.world import World

pytestmark = [pytest.mark.process, pytest.mark.timeout(90), mounted]

FULL = os.environ.get("BRIDGE_TEST_FULL") == "1"
_now: Callable[[], float] = time.time  # noqa: TID251 - the daemon is a real process in real time

REASONS = {"full": "No space left on device", "read-only": "Read-only file system"}


def unharmed(machine: World) -> dict[str, Any]:
    """Assert that no spent token was presented and no login lost; return the counters."""
    state = machine.authorization.state()
    assert (state["spent_presented"], state["refused"], state["revoked"]) == (0, 0, 0)
    return state


WRITTEN = {
    "PID file": (".local/run", "bridge.pid"),
    "log and caller key": (".local/state/bridge", "/.local/state/bridge/"),
}


@pytest.mark.parametrize("how", REASONS)
@pytest.mark.parametrize("what", WRITTEN)
def test_start(machine: World, what: str, how: str) -> None:
    """A start that cannot write what it must says which file and why; then it works at once."""
    folder, name = WRITTEN[what]
    machine.log_in()
    with SmallDisk(machine, machine.home / folder) as disk:
        disk.spoil(how)
        line = machine.told()
        assert name in line
        assert f"({REASONS[how]})" in line
        assert "mend that" in line
        assert machine.bridge("--check").returncode != 0
        disk.mend(how)
        begun = _now()
        machine.start()
        assert machine.ask()[0] == 200
        taken = _now() - begun
    record("power", f"start, {what}: disk {how}", "one line; starts with room", taken)


def test_a_log_without_room(machine: World) -> None:
    """A full disk costs lines of the log and nothing else; with room the log goes on."""
    machine.log_in()
    with SmallDisk(machine, machine.home / ".local/state/bridge") as disk:
        machine.start()
        disk.fill()
        assert {machine.ask()[0] for _ in range(100)} == {200}
        disk.empty()
        begun = _now()
        log = disk.path / "bridge.log"
        assert machine.ask()[0] == 200
        before = log.read_text().count("request answered")
        machine.until(lambda: _asked(machine) and _count(log) > before)
        taken = _now() - begun
        torn = [line for line in log.read_text().splitlines() if not _is_line(line)]
        assert len(torn) <= 2, torn
    record("power", "running, log: disk full", "requests answered; the log goes on", taken)


def _asked(machine: World) -> bool:
    return machine.ask()[0] == 200


def _count(log: Path) -> int:
    return log.read_text().count("request answered")


def _is_line(line: str) -> bool:
    return re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ ", line) is not None


def furnish(machine: World, disk: SmallDisk, **overrides: Any) -> dict[str, Any]:
    """Put a login onto the disk that is ``~/.kimi``, and return what the file holds."""
    answer = machine.authorization.seed()
    write_credential(disk.path, answer, _now(), **overrides)
    return answer


def held(disk: SmallDisk) -> str:
    """Return what is in the credential file."""
    return (disk.path / "credentials/kimi-code.json").read_text()


@pytest.mark.parametrize(
    ("how", "living"),
    [("full", False), ("read-only", True), *([("full", True), ("read-only", False)] * FULL)],
)
def test_refresh(machine: World, how: str, living: bool) -> None:
    """Where no successor could be stored none is fetched: nothing is spent, and it is said why.

    A token that lives is used on; one that is dead is a 503 that names the file. With room the
    refresh comes about by itself.
    """
    with SmallDisk(machine, machine.share) as disk:
        furnish(machine, disk, expires_at=_now() + (300 if living else -1))
        before = held(disk)
        disk.spoil(how)
        machine.start()
        status, _, body = machine.ask()
        assert status == (200 if living else 503)
        machine.until(lambda: "problem" in machine.health()["providers"]["kimi"])
        told = machine.health()["providers"]["kimi"]["problem"]
        for text in (told, body.decode()) if not living else (told,):
            assert "kimi-code" in text
            assert REASONS[how] in text
        assert unharmed(machine)["refreshes"] == 0
        assert held(disk) == before
        if not living:
            done = machine.bridge("token")
            assert (done.returncode, done.stderr.count("\n")) == (1, 1)
            assert REASONS[how] in done.stderr
        disk.mend(how)
        begun = _now()
        machine.until(lambda: _asked(machine) and held(disk) != before)
        taken = _now() - begun
        assert unharmed(machine)["refreshes"] == 1
        assert "problem" not in machine.health()["providers"]["kimi"]
    case = f"refresh ({'living' if living else 'dead'} token): disk {how}"
    record("power", case, "nothing is spent; heals by itself", taken)


def test_a_disk_that_fills_up_during_a_refresh(machine: World) -> None:
    """Room was made before the token was spent, so the new one is saved on a disk without any."""
    with SmallDisk(machine, machine.share) as disk:
        old = furnish(machine, disk, expires_at=_now() + 300)
        machine.start()
        machine.authorization.set(hold_after=1)
        assert machine.ask()[0] == 200
        machine.authorization.ask("arrived")
        disk.fill()
        machine.authorization.ask("release")
        machine.until(lambda: old["refresh_token"] not in held(disk))
        assert machine.ask()[0] == 200
        assert unharmed(machine)["refreshes"] == 1
    record("power", "refresh: disk fills up after the token is spent", "saved all the same")


def test_a_refresh_without_a_journal(machine: World) -> None:
    """Where only the state folder is full, a refresh goes on, and its journal is whole later on."""
    with SmallDisk(machine, machine.home / ".local/state/bridge") as disk:
        machine.log_in()
        machine.start()
        assert machine.ask()[0] == 200
        disk.fill()
        machine.log_in(expires_at=_now() - 1)
        assert machine.ask()[0] == 200
        assert unharmed(machine)["refreshes"] == 1
        disk.empty()
        machine.log_in(expires_at=_now() - 1)
        begun = _now()
        assert machine.ask()[0] == 200
        taken = _now() - begun
        assert unharmed(machine)["refreshes"] == 2
        for journal in disk.path.glob("refreshes-*.jsonl"):
            assert [json.loads(line) for line in journal.read_text().splitlines()]
        assert not list(disk.path.glob(".*.draft"))
    record("power", "refresh: journal's disk full", "goes on; the journal is whole again", taken)


@pytest.mark.parametrize("how", REASONS)
def test_login_and_logout(machine: World, how: str) -> None:
    """Nobody approves in vain: without room no code is asked for. A logout works or says why."""
    machine.authorization.set(auto_approve=1)
    with SmallDisk(machine, machine.share) as disk:
        disk.spoil(how)
        line = machine.told("login", "--no-browser")
        assert REASONS[how] in line
        assert str(machine.share) in line or "device id" in line
        assert machine.authorization.state()["device_flows"] == 0
        disk.mend(how)
        begun = _now()
        assert machine.bridge("login", "--no-browser").returncode == 0
        taken = _now() - begun
        before = held(disk)
        disk.spoil(how)
        done = machine.bridge("logout")
        if how == "full":
            assert done.returncode == 0
        else:
            assert (done.returncode, done.stderr.count("\n")) == (1, 1)
            assert REASONS[how] in done.stderr
            assert held(disk) == before
        disk.mend(how)
        assert machine.bridge("logout").returncode == 0
        assert not (disk.path / "credentials/kimi-code.json").exists()
    record("power", f"login and logout: disk {how}", "no code without room; repeatable", taken)


def test_a_disk_that_fills_up_during_a_login(machine: World) -> None:
    """What was approved waits for room, and is stored when there is some: nobody approves twice."""
    with SmallDisk(machine, machine.share) as disk:
        login = machine.spawn("login", "--no-browser", stderr=subprocess.STDOUT)
        while not (state := machine.authorization.state())["polls"]:
            assert login.poll() is None
        disk.fill()
        machine.authorization.ask("approve", user_code=state["pending"][-1])
        assert login.stdout is not None
        for line in login.stdout:
            if "No space left on device" in line:
                break
        assert login.poll() is None
        disk.empty()
        begun = _now()
        output, _ = login.communicate(timeout=30)
        taken = _now() - begun
        assert login.returncode == 0, output
        assert "Logged in" in output
        assert machine.authorization.valid(machine.bridge("token").stdout.strip())
    record("power", "login: disk fills up before the approval", "stored with room", taken)


def test_a_configuration_on_a_disk_without_room(machine: World) -> None:
    """An edit that a full disk cut short is told with its file, and the old one stays in force."""
    machine.log_in()
    with SmallDisk(machine, machine.home / ".config/bridge") as disk:
        config = disk.path / "config.toml"
        config.write_text('[providers.kimi]\nheaders = { X-Test = "old" }\n')
        machine.start()
        disk.fill()
        with config.open("w") as file:  # as an editor would that does not look at what comes back
            os.truncate(file.fileno(), 0)
            file.write("[providers.kimi]\nheaders = { X-Te")
        machine.until(lambda: "configuration not reloaded" in machine.log)
        assert machine.ask()[0] == 200
        disk.empty()
        config.write_text("[server]\n")
        machine.until(lambda: "configuration reloaded" in machine.log)
    record("power", "configuration cut short by a full disk", "told; the old one stays")
