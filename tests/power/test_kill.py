"""kill -9 at each step of start, stop, reload, login and logout, and what is left afterwards.

The steps of a refresh are in ``tests/credentials/test_crash.py``. Afterwards files are whole, no
lock is stale, the port is free, nothing is left running, and the next command does what it should.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from bridge import peer
from tests.power.processes import kin
from tests.process.wire import LAST_CHUNK, Counter, asking
from tests.verdicts import record
from tests.world import World, installed

pytestmark = [pytest.mark.process, pytest.mark.timeout(90)]

FULL = os.environ.get("BRIDGE_TEST_FULL") == "1"
MORTAL = [sys.executable, str(Path(__file__).with_name("mortal.py"))]
SEED = int(os.environ.get("BRIDGE_TEST_SEED", "0")) or random.SystemRandom().randrange(1 << 30)

_now: Callable[[], float] = time.time  # noqa: TID251 - the daemon is a real process in real time


@contextlib.contextmanager
def fated(machine: World, step: str) -> Iterator[None]:
    """Let whatever is started in the block die at *step*."""
    machine.prefix = [*MORTAL, step]
    try:
        yield
    finally:
        machine.prefix = []


def ended(machine: World) -> None:
    """Return once no process of the machine is left, nor what was open in it.

    The dead have no environment any more, but let go of files and sockets a bit later.
    """
    until = _now() + 20
    while (left := kin(machine)) or not unlocked(machine.pid_file) or listens(machine):
        assert _now() < until, left


def listens(machine: World) -> bool:
    """Say whether anybody listens on the machine's port."""
    return any(peer.listener(address, machine.port) for address in ("127.0.0.1", "::1"))


def unlocked(path: Path) -> bool:
    """Say whether nobody holds that file."""
    if not path.exists():
        return True
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def whole(machine: World) -> None:
    """Assert that nothing is spoilt and nobody waits for the dead."""
    assert unlocked(machine.pid_file)
    assert unlocked(machine.credential.with_suffix(".lock"))
    if machine.credential.exists():
        assert machine.credential.stat().st_mode & 0o777 == 0o600
        assert json.loads(machine.credential.read_text())["refresh_token"]


def works(machine: World) -> float:
    """Assert that the next start and its first request work; return the seconds that both took."""
    begun = _now()
    done = machine.bridge()
    assert done.returncode == 0, done
    assert machine.ask()[0] == 200
    taken = _now() - begun
    assert machine.bridge("--check", "kimi").returncode == 0
    daemons = [words for words in kin(machine).values() if "bridge" in words]
    assert len(daemons) == 1, daemons
    printed = machine.bridge("token").stdout.strip()
    assert machine.authorization.valid(printed)
    return taken


def some(steps: Mapping[str, str], *names: str) -> list[str]:
    """Return those steps, or all of them in the full form."""
    return list(steps) if FULL else list(names)


START = {
    "before anything": "call bridge/service/listen.py bind",
    "bound": "return bridge/service/listen.py bind",
    "detached": "return bridge/service/detach.py Reporter.detach",
    "claimed": "return bridge/service/pidfile.py PidFile.claim",
    "key made": "return bridge/service/key.py caller_key",
    "about to be ready": "call bridge/service/detach.py Reporter.ready",
    "ready": "return bridge/service/detach.py Reporter.ready",
}


@pytest.mark.parametrize("step", some(START, "bound", "claimed", "ready"))
def test_start(machine: World, step: str) -> None:
    """Whatever became of a start, it is told in a line, and the next start works."""
    machine.log_in()
    with fated(machine, START[step]):
        done = machine.bridge()
    if step == "ready":
        assert done.returncode in {0, 1}
    else:
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done
        assert "died while it was starting" in done.stderr
    ended(machine)
    whole(machine)
    left = machine.pid_file.exists()
    assert machine.bridge("--check").returncode == (1 if left else 3)
    assert machine.bridge("--stop").returncode == 0
    record("power", f"kill -9 in a start: {step}", "the next start works", works(machine))


STOP = {
    "signalled": "call bridge/service/run.py Daemon._asked_to_stop",
    "draining": "call bridge/proxy/server.py FrontDoor.drain",
    "leaving": "call bridge/service/house.py House.close",
    "about to free the PID file": "call bridge/service/pidfile.py PidFile.release",
    "PID file freed": "return bridge/service/pidfile.py PidFile.release",
}


@pytest.mark.parametrize("step", some(STOP, "draining", "about to free the PID file"))
def test_stop(machine: World, step: str) -> None:
    """A daemon that dies while it stops has stopped: the command says so, and a start works."""
    machine.log_in()
    with fated(machine, STOP[step]):
        machine.start()
    assert machine.ask()[0] == 200
    done = machine.bridge("--stop")
    assert (done.returncode, done.stdout) == (0, "bridge: stopped\n")
    ended(machine)
    whole(machine)
    assert machine.bridge("--check").returncode == (1 if machine.pid_file.exists() else 3)
    record("power", f"kill -9 in a stop: {step}", "the next start works", works(machine))


def test_kill_during_the_drain(machine: World, api: Counter) -> None:
    """A stream that was allowed to end is cut so that its client can see it."""
    machine.log_in()
    daemon = machine.foreground()
    with asking(machine.port) as client:
        stream = api.arrives()
        stream.begins()
        stream.streams("ping")
        client.hears(b"ping")
        daemon.terminate()
        machine.draining()
        daemon.kill()
        with contextlib.suppress(ConnectionResetError):
            client.rest()
        assert LAST_CHUNK not in client.received
    assert daemon.wait(20) == -signal.SIGKILL
    ended(machine)
    whole(machine)
    del machine.variables["KIMI_CODE_BASE_URL"]
    record("power", "kill -9 with a stream in the drain", "cut visibly", works(machine))


RELOAD = {
    "before reading": "call bridge/service/settings.py Settings.reread",
    "read": "return bridge/service/settings.py Settings.reread",
    "about to adopt": "call bridge/service/house.py House.adopt",
    "adopted": "return bridge/service/house.py House.adopt",
}


@pytest.mark.parametrize("edited", [True, False], ids=["edited", "asked"])
@pytest.mark.parametrize("step", some(RELOAD, "about to adopt"))
def test_reload(machine: World, step: str, edited: bool) -> None:
    """A daemon that dies over a new configuration is dead, and the next start has the new one."""
    machine.log_in()
    config = machine.configure("")
    with fated(machine, RELOAD[step]):
        machine.start()
    config.write_text('[providers.kimi]\nheaders = { X-Test = "new" }\n')
    if not edited:
        machine.bridge("--reload")
    ended(machine)
    whole(machine)
    assert machine.bridge("--check").returncode == 1
    how = "edited" if edited else "asked"
    record("power", f"kill -9 in a reload ({how}): {step}", "the next start works", works(machine))


LOGIN = {
    "device named": "return bridge/credentials/device.py Device.persist",
    "code received": "return bridge/oauth/grant.py DeviceGrant.started",
    "granted, in memory only": "call bridge/credentials/store.py Store.replace",
    "room made": "return bridge/credentials/successor.py Successor.reserve",
    "written": "return bridge/credentials/successor.py Successor.write",
    "renamed": "return bridge/credentials/successor.py Successor.install",
}


@pytest.mark.parametrize(
    "again", [False, True] if FULL else [True], ids=lambda again: "anew" if again else "first"
)
@pytest.mark.parametrize("step", some(LOGIN, "granted, in memory only", "written", "renamed"))
def test_login(machine: World, step: str, again: bool) -> None:
    """A login that died is none or whole, never half of one; a login that was there lives on."""
    if again:
        machine.log_in()
    elif step == "room made":
        pytest.skip("room is made before anything is asked, too: see 'device named'")
    before = machine.token() if again else None
    machine.authorization.set(auto_approve=1)
    with fated(machine, LOGIN[step]):
        assert machine.bridge("login", "--no-browser").returncode == -signal.SIGKILL
    ended(machine)
    whole(machine)
    there = again or step == "renamed"
    assert machine.credential.exists() == there
    if again and step != "renamed":
        assert machine.token() == before
    printed = machine.bridge("token")
    assert (printed.returncode == 0) == there, printed
    if not there:
        assert "bridge login" in printed.stderr
    done = machine.bridge("login", "--no-browser")
    assert done.returncode == 0, done
    taken = works(machine)
    assert littered(machine) == []
    which = "anew" if again else "first"
    record("power", f"kill -9 in a login ({which}): {step}", "none or whole", taken)


def littered(machine: World) -> list[str]:
    """Return what lies beside the credential and its lock, once the daemon has looked."""
    usual = {"kimi-code.json", "kimi-code.lock"}
    folder = machine.credential.parent
    return sorted(each.name for each in folder.iterdir() if each.name not in usual)


LOGOUT = {
    "before the lock": "call bridge/credentials/store.py Store.lock",
    "lock held": "call bridge/credentials/store.py Store.remove",
    "cleared away": "return bridge/credentials/successor.py recover",
    "removed": "return bridge/credentials/store.py Store.remove",
}


@pytest.mark.parametrize("step", some(LOGOUT, "lock held", "removed"))
def test_logout(machine: World, step: str) -> None:
    """A logout that died has done nothing or all, and may be repeated."""
    machine.log_in()
    with fated(machine, LOGOUT[step]):
        assert machine.bridge("logout").returncode == -signal.SIGKILL
    ended(machine)
    whole(machine)
    assert machine.credential.exists() == (step != "removed")
    assert machine.bridge("logout").returncode == 0
    assert not machine.credential.exists()
    assert machine.bridge("token").returncode == 150
    machine.log_in()
    record("power", f"kill -9 in a logout: {step}", "nothing or all", works(machine))


def _shoot(machine: World) -> None:
    """Kill everything of the machine that runs at this moment."""
    for pid in kin(machine):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_at_random(machine: World) -> None:
    """At whatever moment all processes of a start, a reload, a login or a stop are killed at once.

    The moments come from a seed, which is printed; ``BRIDGE_TEST_SEED`` repeats them.
    """
    print(f"BRIDGE_TEST_SEED={SEED}")
    chance = random.Random(SEED)
    machine.authorization.set(auto_approve=1, expires_in=900)
    machine.log_in()
    rounds, longest = (80 if FULL else 3), 0.0
    until = _now() + (70 if FULL else 20)
    done = 0
    while done < rounds and _now() < until:
        words = chance.choice(
            [[], ["--restart"], ["--stop"], ["--reload"], ["login", "--no-browser"], ["token"]]
        )
        if chance.random() < 0.5:
            machine.bridge()
        child = subprocess.Popen(
            [installed(), *words],
            env=machine.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(chance.uniform(0.0, 0.7))
        while kin(machine):
            _shoot(machine)
        child.wait(20)
        ended(machine)
        whole(machine)
        assert machine.bridge("--check").returncode in {1, 3}
        longest = max(longest, works(machine))
        done += 1
    state = machine.authorization.state()
    assert (state["spent_presented"], state["revoked"]) == (0, 0)
    record("power", "kill -9 of everything at random", f"{done} rounds, seed {SEED}", longest)


def test_a_logout_after_a_login_that_died(machine: World) -> None:
    """What a killed login has written and not put in place is no login, and a logout removes it."""
    machine.authorization.set(auto_approve=1)
    with fated(machine, LOGIN["written"]):
        assert machine.bridge("login", "--no-browser").returncode == -signal.SIGKILL
    assert len(littered(machine)) == 1
    assert machine.bridge("logout").returncode == 0
    assert littered(machine) == []
