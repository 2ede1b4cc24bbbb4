"""Files that are not what they seem: links, pipes, devices, giants, and other people's folders."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.abuse.siege import clean, noted
from tests.abuse.stranger import SOMEBODY
from tests.world import NOBODY, World, world

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]

_now: Callable[[], float] = time.time  # noqa: TID251 - the daemon is a real process in real time

PRECIOUS: Final = "somebody needs this\n"
#: Bytes; no file of ours has them, and none may be read whole.
GIANT: Final = 1 << 30
#: Of address space: who reads a giant or a device to its end is out of it.
ROOM: Final = ["prlimit", f"--as={900 << 20}"] if shutil.which("prlimit") else []


def _symlink(path: Path, precious: Path) -> None:
    path.symlink_to(precious)


def _dangling(path: Path, precious: Path) -> None:
    path.symlink_to(precious.with_name("nothing"))


def _hardlink(path: Path, precious: Path) -> None:
    path.hardlink_to(precious)


def _fifo(path: Path, precious: Path) -> None:
    os.mkfifo(path, 0o600)


def _folder(path: Path, precious: Path) -> None:
    path.mkdir()


def _device(path: Path, precious: Path) -> None:
    path.symlink_to("/dev/zero")


def _giant(path: Path, precious: Path) -> None:
    with path.open("w") as file:
        file.truncate(GIANT)
    path.chmod(0o600)


KINDS: Final = (_symlink, _dangling, _hardlink, _fifo, _folder, _device, _giant)
FULL: Final = os.environ.get("BRIDGE_TEST_FULL") == "1"
#: Below the home; what stands there while the daemon starts, a token is asked for, and it stops.
PLACES: Final = {
    "credential": ".kimi/credentials/kimi-code.json",
    "lock": ".kimi/credentials/kimi-code.lock",
    "device id": ".kimi/device_id",
    "caller key": ".local/state/bridge/key",
    "log": ".local/state/bridge/bridge.log",
    "PID file": ".local/run/bridge.pid",
    "configuration": ".config/bridge/config.toml",
}


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> Iterator[World]:
    """A machine with a login whose token has to be refreshed, so that everything is used."""
    with world(tmp_path) as machine:
        machine.log_in(expires_at=_now() - 5)
        yield machine


#: What is worth trying in each place at every run; all of them in every place takes minutes.
TELLING: Final[dict[str, tuple[Callable[[Path, Path], None], ...]]] = {
    "credential": (_device,),
    "lock": (_symlink, _hardlink),
    "device id": (_fifo, _giant),
    "caller key": (_giant,),
    "log": (_fifo, _hardlink),
    "PID file": (_symlink, _hardlink),
    "configuration": (_fifo, _giant),
}


@pytest.mark.timeout(900 if FULL else 120)
def test_files_that_are_something_else(machine: World) -> None:
    """Whatever stands in its place: what it leads to keeps its content, and nobody waits for it.

    The daemon runs, or a line says why not.
    """
    precious = machine.home / "precious"
    for name, where in PLACES.items():
        for make in KINDS if FULL else TELLING[name]:
            precious.write_text(PRECIOUS)
            precious.chmod(0o600)
            with _instead(machine.home / where, make, precious):
                _lives_with(machine, name)
                assert precious.read_text() == PRECIOUS, (name, make.__name__)
                assert precious.stat().st_mode & 0o777 == 0o600, (name, make.__name__)
                assert not precious.with_name("nothing").exists(), (name, make.__name__)
            machine.log_in(expires_at=_now() - 5)
        noted(f"the {name} is a link, a pipe, a device or a giant", "nothing lost, nobody waits")
    machine.start()
    assert machine.ask()[0] == 200
    clean(machine.log)


@contextlib.contextmanager
def _instead(place: Path, make: Callable[[Path, Path], None], precious: Path) -> Iterator[None]:
    """Put something else in the place of a file, and the file back again."""
    place.parent.mkdir(parents=True, exist_ok=True)
    aside = place.with_name(f"{place.name}.aside")
    if place.exists():
        place.rename(aside)
    make(place, precious)
    yield
    if place.is_dir() and not place.is_symlink():
        place.rmdir()
    with contextlib.suppress(FileNotFoundError):
        place.unlink()
    if aside.exists():
        aside.rename(place)


def _lives_with(machine: World, name: str) -> None:
    """Start, use and stop with what is there: no traceback, no wait, no content of it shown."""
    machine.prefix = ROOM
    for words in ([], *([["token"]] if name in {"credential", "lock"} else []), ["--stop"]):
        done = machine.bridge(*words, timeout=45)
        told = (name, words, done.returncode, done.stderr)
        assert "Traceback" not in done.stderr, told
        assert "MemoryError" not in done.stderr, told
        assert done.returncode in {0, 1, 78, 150}, told
        assert done.returncode == 0 or done.stderr.startswith("bridge: "), told
        assert PRECIOUS.strip() not in done.stdout + done.stderr, told
    machine.prefix = []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("folder", [".", ".local"] if FULL else [".local/state/bridge"])
def test_folders_that_everybody_writes_to(nobody: World, folder: str) -> None:
    """In such a folder somebody else puts links where our files were: nothing of ours goes there.

    They can keep the daemon from starting; they cannot have it write or read a file of theirs.
    """
    nobody.start()
    assert nobody.bridge("--stop").returncode == 0
    open_to_all = nobody.home / folder
    trap = nobody.home.parent / "trap"
    trap.write_text("")
    trap.chmod(0o666)
    os.chown(trap, SOMEBODY, SOMEBODY)
    for name in (path for path in PLACES.values() if folder == "." or path.startswith(folder)):
        place = nobody.home / name
        aside = place.with_name("aside")
        open_to_all.chmod(0o777)
        if place.exists():
            place.rename(aside)
        place.parent.mkdir(parents=True, exist_ok=True)
        for leads_to in (trap, None):
            if leads_to is None:
                place.write_text('{"access_token": "theirs", "refresh_token": "theirs"}')
            else:
                place.symlink_to(leads_to)
            os.chown(place, SOMEBODY, SOMEBODY, follow_symlinks=False)
            done = nobody.bridge(timeout=45)
            assert "Traceback" not in done.stderr, (name, done.stderr)
            if done.returncode == 0:
                nobody.ask()
                assert nobody.bridge("--stop").returncode == 0
            assert trap.read_text() == "", name
            assert "theirs" not in str(nobody.upstream.requests())
            with contextlib.suppress(FileNotFoundError):
                place.unlink()
        if aside.exists():
            aside.rename(place)
    open_to_all.chmod(0o700)
    noted(f"~/{folder} is world-writable", "nothing of ours is written to or read from theirs")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be under sudo")
def test_sudo_in_somebodys_home(machine: World) -> None:
    """As root with somebody's HOME, or with their folders in variables: nothing is left there."""
    home = machine.home.parent / "alice"
    home.mkdir(mode=0o755)
    os.chown(home, NOBODY, NOBODY)
    sudo = {"SUDO_USER": "nobody", "SUDO_UID": str(NOBODY), "SUDO_GID": str(NOBODY)}
    for name, path in (
        ("HOME", home),
        ("XDG_STATE_HOME", home / "state"),
        ("KIMI_SHARE_DIR", home / "kimi"),
        ("BRIDGE_PID_FILE", home / "run/bridge.pid"),
    ):
        done = machine.bridge(environment={**sudo, name: str(path)})
        assert done.returncode == 1, name
        assert f"this is root, but {home} belongs to uid {NOBODY}" in done.stderr
        assert list(home.rglob("*")) == [], name
    noted("sudo in somebody else's home", "one line, no file of root's is left there")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_home_that_is_not_ours(nobody: World) -> None:
    """Somebody with another's HOME and no right to it: a line, and nothing is made."""
    user = [f"--reuid={SOMEBODY}", f"--regid={SOMEBODY}", "--clear-groups"]
    nobody.prefix = ["setpriv", *user]
    before = sorted(str(path) for path in nobody.home.rglob("*"))
    for words in ([], ["token"], ["login", "--no-browser"]):
        done = nobody.bridge(*words)
        assert done.returncode != 0
        assert done.stderr.count("\n") == 1, done.stderr
    assert sorted(str(path) for path in nobody.home.rglob("*")) == before
    nobody.prefix = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    noted("somebody with another's HOME", "one line, nothing made")


def test_names_with_dots(machine: World) -> None:
    """No name that a person or a client gives leads to a file: of a provider, a region, a model."""
    machine.log_in()
    machine.start()
    before = sorted(str(path) for path in machine.home.parent.rglob("*"))
    for name in ("../../etc/passwd", ".", "kimi/../x", "%2e%2e"):
        for verb in ("--check", "env", "logout"):
            done: subprocess.CompletedProcess[str] = machine.bridge(verb, name)
            assert done.returncode != 0, (verb, name)
            assert "Traceback" not in done.stderr
        assert machine.ask(f"/health?provider={name}", method="GET")[0] == 200
    assert sorted(str(path) for path in machine.home.parent.rglob("*")) == before
    noted("dots and slashes in names", "each is an unknown provider")
