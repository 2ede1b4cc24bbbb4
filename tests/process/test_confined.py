"""The daemon does its work within what its unit leaves it: folders, system calls, address families.

systemd itself is not needed for that: the kernel's namespaces are made as it makes them for the
unit of a user, and the system calls are counted against its own list.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.fakes.unit import Unit
from tests.world import World, world

pytestmark = [pytest.mark.process, pytest.mark.timeout(90)]
#: A user namespace of one's own, where nobody but oneself is known, and mounts of one's own.
NAMESPACES = ["unshare", "--user", "--map-current-user", "--keep-caps", "--mount"]
#: The home is read-only, but for the folders that are named behind it.
CONFINE = """\
home=$1; shift; mount --bind "$home" "$home"
while [ "$1" != -- ]; do mount --bind "$1" "$1"; shift; done; shift
mount -o remount,bind,ro "$home" && exec "$@"
"""


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> Iterator[World]:
    """A machine with a login that has expired, and the folders that an install makes."""
    trial = [*NAMESPACES, "mount", "--bind", str(tmp_path), str(tmp_path)]
    if subprocess.run(trial, check=False).returncode != 0:
        pytest.skip("namespaces are not permitted here")
    with world(tmp_path) as machine:
        machine.log_in(expires_at=time.time() - 5)  # noqa: TID251 - a real machine
        for folder in writable(machine):
            folder.mkdir(parents=True, exist_ok=True)
        yield machine


def unit(machine: World) -> Unit:
    """The unit that an install would write."""
    return Unit(machine.bridge("service", "print").stdout)


def writable(machine: World) -> list[Path]:
    """The folders that the unit lets the daemon write to."""
    return [Path(path.removeprefix("-")) for path in unit(machine).writes]


def confined(machine: World, folders: list[Path], *tracer: str) -> None:
    """Start the daemon in the foreground with nothing of the home to write to but *folders*."""
    words = ["sh", "-ec", CONFINE, "sh", str(machine.home), *map(str, folders), "--", *tracer]
    machine.prefix = [*NAMESPACES, "--propagation=private", *words]
    stderr = (machine.home.parent / "stderr.log").open("a")
    with stderr:
        child = machine.spawn("--foreground", stderr=stderr)
    machine.prefix = []
    while machine.bridge("--check").returncode != 0:
        if child.poll() is not None:
            raise RuntimeError(machine.log)


def works(machine: World) -> None:
    """Let the daemon do all that it does: answer, refresh, save, re-read, tell who is asking."""
    old = machine.token()["access_token"]
    assert machine.ask()[0] == 200
    assert machine.token()["access_token"] != old
    assert machine.bridge("--check", "kimi").returncode == 0
    machine.bridge("--reload")
    machine.until(lambda: "configuration reloaded" in machine.log)
    assert machine.bridge("--stop").returncode == 0
    assert "daemon stopped" in machine.log
    assert "Read-only" not in machine.log
    assert "ERROR" not in machine.log


def test_folders_and_calls(machine: World) -> None:
    """With the unit's folders alone it refreshes and saves, and makes only calls it may make."""
    trace = machine.home.parent / "trace"
    is_traced = bool(shutil.which("strace") and shutil.which("systemd-analyze"))
    tracer = ["strace", "-f", "-qq", "-o", str(trace)] if is_traced else []
    confined(machine, writable(machine), *tracer)
    works(machine)
    if is_traced:
        text = trace.read_text(errors="replace")
        called = set(re.findall(r"^\d+ +([a-z_0-9]+)\(", text, re.MULTILINE))
        assert "openat" in called
        assert called - allowed(unit(machine).one("SystemCallFilter")) == set()
        families = set(re.findall(r"socket\((AF_[A-Z0-9]+)", text))
        assert families <= set(unit(machine).one("RestrictAddressFamilies").split())


def test_each_folder_is_needed(machine: World) -> None:
    """Without any one of them the daemon does not start, or cannot save."""
    folders = writable(machine)
    for missing in folders:
        with contextlib.suppress(RuntimeError):
            confined(machine, [folder for folder in folders if folder != missing])
            machine.ask()
        machine.bridge("--stop")
        assert "read-only" in machine.log.lower(), (missing, machine.log)
        (machine.home.parent / "stderr.log").write_text("")


@cache
def allowed(name: str) -> frozenset[str]:
    """The system calls of systemd's set *name*."""
    words = ["systemd-analyze", "syscall-filter", name]
    listed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    found = {line.strip() for line in listed.splitlines()[1:] if line.strip()[:1] not in {"", "#"}}
    inner = [allowed(each) for each in found if each.startswith("@")]
    return frozenset().union({each for each in found if not each.startswith("@")}, *inner)
