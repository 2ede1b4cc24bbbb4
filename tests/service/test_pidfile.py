"""One process holds the PID file, and from outside one sees which and whether it lives."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bridge.clock import SystemClock
from bridge.errors import NotRunning, ServiceError
from bridge.service.pidfile import (
    CLAIM_ATTEMPTS,
    FOREIGN,
    FREE,
    HELD,
    STALE,
    UNREADABLE,
    AlreadyClaimed,
    PidFile,
    look,
    read,
    signal_owner,
    state,
)
from bridge.service.record import Record, ourselves
from tests.fakes.standin import StandIn

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc here")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
INSTANCE = "ab" * 16


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> str:
    """Where the PID file is to be; the folder does not exist yet."""
    return str(tmp_path / "local" / "run" / "bridge.pid")


CLOCK = SystemClock()


def claim(path: str, pause: Callable[[float], None] = CLOCK.pause) -> PidFile:
    """Claim the file for the test's own process."""
    return PidFile.claim(path, port=18462, instance=INSTANCE, version="1.2.3", pause=pause)


@contextlib.contextmanager
def held_with(path: str, content: str) -> Iterator[None]:
    """A file with any content, locked by the test's own process."""
    Path(path).parent.mkdir(parents=True)
    with Path(path).open("w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(content)
        file.flush()
        yield


def record(**fields: str | int) -> Record:
    """The record of the test's own process, with some fields exchanged."""
    found = ourselves(address="127.0.0.1", port=1, instance=INSTANCE, version="1")
    for name, value in fields.items():
        setattr(found, name, value)
    return found


def started(program: str, *arguments: str) -> subprocess.Popen[str]:
    """A child that runs *program*, spoken to through its standard input and output."""
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_claimed_file_says_who_we_are(path: str) -> None:
    """It names process, address, port and instance, for the user's eyes only."""
    pid_file = claim(path)
    found = read(path)
    assert found is not None
    assert (found.pid, found.place()) == (os.getpid(), "127.0.0.1:18462")
    assert (found.instance, found.version) == (INSTANCE, "1.2.3")
    assert found.alive()
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(path).parent.stat().st_mode) == 0o700
    assert state(path) == HELD
    pid_file.release()


def test_a_claimed_file_says_who_keeps_us(path: str) -> None:
    """It names keeper and sockets, for those who would stop the daemon or start it again."""
    pid_file = PidFile.claim(
        path,
        port=1,
        instance=INSTANCE,
        version="1",
        pause=CLOCK.pause,
        address="::1",
        keeper="systemd",
        sockets="passed",
    )
    found = read(path)
    assert found is not None
    assert (found.place(), found.keeper, found.sockets) == ("[::1]:1", "systemd", "passed")
    pid_file.release()


def test_a_stop_is_written_down(path: str) -> None:
    """Who leaves says so in the file that it still holds."""
    pid_file = claim(path)
    pid_file.stopping()
    found = read(path)
    assert found is not None
    assert (found.pid, found.stage, state(path)) == (os.getpid(), "stopping", HELD)
    pid_file.release()
    pid_file.stopping()  # too late, and no harm


def test_released_is_gone(path: str) -> None:
    """After a release nothing is left, and a second release touches nobody else's file."""
    first = claim(path)
    first.release()
    assert state(path) == FREE
    second = claim(path)
    first.release()
    assert state(path) == HELD
    second.release()


def test_a_second_claimer_is_refused(path: str) -> None:
    """Who comes second learns who was first."""
    with StandIn("--pid-file", path) as daemon:
        with pytest.raises(AlreadyClaimed, match=f"already running \\(pid {daemon.pid}") as refusal:
            claim(path)
        assert refusal.value.record is not None
        assert refusal.value.record.port == daemon.port
        assert daemon.leave() == 0
    assert state(path) == FREE


def test_a_crash_frees_the_file(path: str) -> None:
    """After kill -9 the file is stale, and the next claim takes it over."""
    with StandIn("--pid-file", path) as daemon:
        daemon.crash()
        kind, left = look(path)
        assert kind == STALE
        assert left is not None
        assert left.pid == daemon.pid
    pid_file = claim(path)
    assert [state(path), getattr(read(path), "pid", 0)] == [HELD, os.getpid()]
    pid_file.release()


def test_a_child_does_not_inherit_the_lock(path: str) -> None:
    """A program that the daemon started does not keep the file claimed."""
    program = (
        "import subprocess, sys; from bridge.service.pidfile import PidFile\n"
        "PidFile.claim(sys.argv[1], port=1, instance='a', version='1', pause=None)\n"
        "subprocess.Popen([sys.executable, '-c', 'import sys; sys.stdin.read()'], close_fds=False)"
    )
    with started(program, path) as child:
        assert child.stdin
        assert child.wait() == 0
        assert state(path) == STALE
        child.stdin.close()


@pytest.mark.parametrize("patience", [1, CLAIM_ATTEMPTS])
def test_a_claim_outlasts_a_probe(path: str, patience: int) -> None:
    """A lock that a probe holds for a moment delays a claim; one that stays refuses it."""
    claim(path).release()
    Path(path).touch()
    with Path(path).open("rb") as probe:
        fcntl.flock(probe, fcntl.LOCK_SH)
        pauses: list[float] = []

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == patience:
                fcntl.flock(probe, fcntl.LOCK_UN)

        if patience < CLAIM_ATTEMPTS:
            claim(path, pause).release()
        else:
            with pytest.raises(AlreadyClaimed, match="held by another process"):
                claim(path, pause)
    assert sum(pauses) == pytest.approx(0.01 * patience)


def test_claims_succeed_under_a_hail_of_probes(path: str) -> None:
    """A hundred claims beside two processes that do nothing but look: none is refused."""
    program = (
        "import select, sys; from bridge.service.pidfile import state; print(flush=True)\n"
        "while not select.select([sys.stdin], [], [], 0)[0]: state(sys.argv[1])"
    )
    with started(program, path) as one, started(program, path) as two:
        for child in (one, two):
            assert child.stdout
            child.stdout.readline()
        for _ in range(100):
            claim(path).release()
        for child in (one, two):
            child.communicate()
            assert child.returncode == 0


def test_twenty_claimers_have_one_winner(path: str) -> None:
    """Of twenty processes that claim at once exactly one gets the file."""
    program = (
        "import sys; from bridge.service.pidfile import *; from time import sleep\n"
        "sys.stdin.readline()\n"
        "try: held = PidFile.claim(sys.argv[1], port=1, instance='a', version='1', pause=sleep)\n"
        "except AlreadyClaimed: print('lost', flush=True)\n"
        "else: print('won', flush=True)\n"
        "sys.stdin.read()"
    )
    with contextlib.ExitStack() as stack:
        children = [stack.enter_context(started(program, path)) for _ in range(20)]
        for child in children:
            assert child.stdin
            child.stdin.write("go\n")
            child.stdin.flush()
        said = sorted(child.stdout.readline() for child in children if child.stdout)
        assert said == ["lost\n"] * 19 + ["won\n"]
        for child in children:
            child.communicate()


def test_claim_and_release_exclude_each_other(path: str) -> None:
    """Processes that claim and release in turn never hold the file together."""
    program = (
        "import os, sys; from bridge.service.pidfile import *; from time import sleep\n"
        "path = sys.argv[1]; rounds = 0\n"
        "while rounds < 50:\n"
        "    try: held = PidFile.claim(path, port=1, instance='a', version='1', pause=sleep)\n"
        "    except AlreadyClaimed: continue\n"
        "    os.close(os.open(path + '.inside', os.O_CREAT | os.O_EXCL)); rounds += 1\n"
        "    os.unlink(path + '.inside'); held.release()"
    )
    Path(path).parent.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        children = [stack.enter_context(started(program, path)) for _ in range(4)]
        assert [child.wait() for child in children] == [0] * 4
    assert state(path) == FREE


def test_a_claim_does_not_fall_for_a_file_that_is_gone(path: str) -> None:
    """A file that its owner unlinks while a claim waits for it is not taken for the file."""
    first = claim(path)

    def pause(_: float) -> None:
        first.release()

    second = claim(path, pause)
    assert [state(path), getattr(read(path), "pid", 0)] == [HELD, os.getpid()]
    second.release()
    assert state(path) == FREE


def test_a_file_that_is_being_written_is_held_by_nobody_known(path: str) -> None:
    """Between the lock and the text, a file is held and says nothing."""
    with held_with(path, ""):
        assert look(path) == (HELD, None)


@pytest.mark.parametrize("content", ["", "garbage\n\0", "123"])
def test_a_leftover_that_says_nothing_is_stale(path: str, content: str) -> None:
    """A file that nobody holds is stale, whatever it says, and can be claimed."""
    with held_with(path, content):
        pass
    assert look(path) == (STALE, None)
    claim(path).release()


@linux_only
@pytest.mark.parametrize("field", ["boot", "pidns"])
def test_a_file_held_elsewhere_is_foreign(path: str, field: str) -> None:
    """A daemon of another machine or container on a shared home is seen as such."""
    elsewhere = record(**{field: "another", "host": "laptop"})
    with held_with(path, elsewhere.text()):
        assert state(path) == FOREIGN
        with pytest.raises(AlreadyClaimed, match="held by bridge on laptop"):
            claim(path, pause=lambda _: None)
        with pytest.raises(ServiceError, match="runs on laptop"):
            signal_owner(path, elsewhere, signal.SIGTERM)
    assert state(path) == STALE


def test_a_signal_goes_to_the_owner(path: str) -> None:
    """The daemon that holds the file gets the signal."""
    with StandIn("--pid-file", path) as daemon:
        found = read(path)
        assert found is not None
        signal_owner(path, found, signal.SIGTERM)
        assert daemon.ends() == -signal.SIGTERM
        with pytest.raises(NotRunning, match="not running: start it with: bridge"):
            signal_owner(path, found, signal.SIGTERM)


def test_a_signal_never_goes_by_number_alone(path: str) -> None:
    """A held file that names another living process, or another daemon, signals nobody."""
    with StandIn() as bystander:
        recycled = record(pid=bystander.pid)
        with held_with(path, recycled.text()):
            with pytest.raises(NotRunning, match="has just ended"):
                signal_owner(path, recycled, signal.SIGKILL)
            with pytest.raises(NotRunning, match="not running"):
                signal_owner(path, record(instance="another"), signal.SIGKILL)
        assert bystander.leave() == 0


@needs_root
def test_a_daemon_of_another_user_is_not_signalled(path: str) -> None:
    """Where the kernel forbids the signal, one line says whose shell to use."""
    program = (
        "import os, signal, sys; from bridge.errors import ServiceError\n"
        "from bridge.service.pidfile import *\n"
        "os.chown(sys.argv[1], 65534, -1); os.setuid(65534)\n"
        "try: signal_owner(sys.argv[1], read(sys.argv[1]), signal.SIGTERM)\n"
        "except ServiceError as error: print(error)"
    )
    with held_with(path, record().text()), contextlib.chdir(Path(path).parent):
        Path.cwd().chmod(0o755)  # the folders above may stay closed to others
        with started(program, Path(path).name) as child:
            assert "use its own user's shell" in child.communicate()[0]


def _link(path: Path) -> None:
    path.symlink_to(path.with_name("target"))


@pytest.mark.parametrize("make", [_link, os.mkfifo, os.mkdir], ids=["symlink", "fifo", "folder"])
def test_what_is_no_file_is_not_used(path: str, make: Callable[[Path], None]) -> None:
    """A symbolic link, a pipe or a folder in the file's place is named, and left as it is."""
    Path(path).parent.mkdir(parents=True)
    make(Path(path))
    assert look(path) == (UNREADABLE, None)
    with pytest.raises(ServiceError, match=f"{path}.*--pid-file"):
        claim(path)
    assert not Path(path).with_name("target").exists()


@needs_root
def test_a_file_of_another_user_is_not_used(path: str) -> None:
    """Another user's file is neither believed nor written."""
    with held_with(path, record().text()):
        pass
    os.chown(path, 65534, 65534)
    assert look(path) == (UNREADABLE, None)
    with pytest.raises(ServiceError, match="not a file of ours"):
        claim(path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file where a folder should be gives one line with the file and the next step."""
    (tmp_path / "local").touch()
    path = str(tmp_path / "local" / "bridge.pid")
    assert state(path) == FREE
    with pytest.raises(ServiceError, match=r"cannot be written .*--pid-file"):
        claim(path)


def test_a_full_disk_is_named(path: str) -> None:
    """A file that cannot take its text gives one line, and is not held."""
    program = (
        "import resource, sys; from bridge.errors import ServiceError\n"
        "from bridge.service.pidfile import PidFile\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))\n"
        "try: PidFile.claim(sys.argv[1], port=1, instance='a', version='1', pause=None)\n"
        "except ServiceError as error: print(error, flush=True)\n"
        "sys.stdin.read()"
    )
    with started(program, path) as child:
        assert child.stdout
        assert f"{path} cannot be written (File too large)" in child.stdout.readline()
        assert state(path) == STALE
        child.communicate()


def test_a_release_survives_a_folder_that_is_closed(path: str) -> None:
    """A file that can no longer be removed is left behind, and seen to be stale."""
    program = (
        "import os, sys; from bridge.service.pidfile import *\n"
        "if os.geteuid() == 0: os.chown('.', 65534, -1); os.setuid(65534)\n"
        "held = PidFile.claim(sys.argv[1], port=1, instance='a', version='1', pause=None)\n"
        "os.chmod('.', 0o500); held.release(); print(state(sys.argv[1])); os.chmod('.', 0o700)"
    )
    Path(path).parent.mkdir(parents=True)
    with contextlib.chdir(Path(path).parent), started(program, Path(path).name) as child:
        assert child.communicate()[0] == "stale\n"


def test_a_release_survives_a_folder_that_is_gone(path: str) -> None:
    """Whoever cleaned up under a running daemon does not disturb its end."""
    pid_file = claim(path)
    Path(path).unlink()
    Path(path).parent.rmdir()
    pid_file.release()
    assert state(path) == FREE


def test_a_file_name_that_cannot_be_is_unreadable(tmp_path: Path) -> None:
    """A path that the system refuses is reported, not raised."""
    assert state(str(tmp_path / ("x" * 300))) == UNREADABLE


def test_a_socket_in_its_place_is_unreadable(tmp_path: Path) -> None:
    """Even what cannot be opened at all is only unreadable."""
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        assert state(path) == UNREADABLE
