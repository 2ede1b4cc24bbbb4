"""A daemon that stands still for longer than its token lives, as when a lid is closed, and goes on.

SIGSTOP is harder than a suspended machine: both clocks of the process go on, and so do the servers.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.child import ROOT
from tests.process.gauge import Gauge
from tests.process.wire import LAST_CHUNK, Counter, asking
from tests.verdicts import record
from tests.world import World

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]

_now: Callable[[], float] = time.time  # noqa: TID251 - the daemon is a real process in real time

#: Seconds that a token lives here.
LIFETIME = 2


@contextmanager
def asleep(process: subprocess.Popen[str]) -> Iterator[None]:
    """Let *process* stand still for the length of the block."""
    process.send_signal(signal.SIGSTOP)
    while "T (stopped)" not in Path(f"/proc/{process.pid}/status").read_text():
        continue
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def dead(machine: World, access: str) -> None:
    """Return once the server no longer takes that token for good."""
    while machine.authorization.valid(access):
        continue


def unchunked(content: bytes) -> bytes:
    """Return what was sent in those chunks."""
    whole = b""
    while content:
        size, _, content = content.partition(b"\r\n")
        length = int(size, 16)
        whole, content = whole + content[:length], content[length + 2 :]
    return whole


def unharmed(machine: World) -> dict[str, Any]:
    """Assert that no spent token was presented and no login lost; return the counters."""
    state = machine.authorization.state()
    assert (state["spent_presented"], state["refused"], state["revoked"]) == (0, 0, 0)
    assert machine.credential.stat().st_mode & 0o777 == 0o600
    return state


def test_longer_than_a_token(machine: World) -> None:
    """The first requests after a sleep in which the token died cost one refresh and wait for it."""
    machine.authorization.set(expires_in=LIFETIME)
    access = machine.log_in()["access_token"]
    daemon = machine.foreground()
    assert machine.ask()[0] == 200
    access = machine.token()["access_token"]
    before = unharmed(machine)["refreshes"]
    machine.authorization.set(expires_in=900)
    with ThreadPoolExecutor(10) as crowd:
        with asleep(daemon):
            asked = [crowd.submit(machine.ask) for _ in range(9)]
            dead(machine, access)
        begun = _now()
        assert machine.ask()[0] == 200
        taken = _now() - begun
        assert {each.result()[0] for each in asked} == {200}
    assert unharmed(machine)["refreshes"] <= before + 2  # one may have been under way
    assert taken < 5
    record("power", "stopped for longer than a token lives", "the next request is answered", taken)


def test_streams_that_are_open(machine: World, api: Counter) -> None:
    """A stream goes on where it stood; what came meanwhile is passed on, to the last byte.

    An idle connection serves on as well.
    """
    machine.log_in()
    daemon = machine.foreground()
    with asking(machine.port) as client, asking(machine.port) as idle:
        stream, other = api.arrives(), api.arrives()
        stream.begins()
        stream.streams("message_start")
        client.hears(b"message_start")
        other.begins()
        other.concludes()
        idle.hears(LAST_CHUNK)
        with asleep(daemon):
            for number in range(50):
                stream.says(b"%d " % number * 500)
            stream.concludes()
        _, _, content = client.hears(LAST_CHUNK).partition(b"\r\n\r\n")
        assert unchunked(content).endswith(b"".join(b"%d " % n * 500 for n in range(50)))
        idle.received = b""
        idle.sends(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % machine.port)
        assert idle.hears(b"\r\n\r\n").startswith(b"HTTP/1.1 200")
    record("power", "stopped with streams open and idle", "every byte passed on")


@pytest.mark.parametrize("speaks", [True, False])
def test_a_silence_that_was_only_ours(machine: World, api: Counter, speaks: bool) -> None:
    """A stream that lived through a sleep longer than ``idle_seconds`` goes on, or is seen to end.

    One on which nothing came is broken off by a reset; none ever ends as if it were whole.
    """
    machine.configure("[server]\nidle_seconds = 1\n")
    machine.log_in()
    daemon = machine.foreground()
    with asking(machine.port) as client:
        stream = api.arrives()
        stream.begins()
        stream.streams("message_start")
        client.hears(b"message_start")
        until = _now() + 2
        with asleep(daemon):
            if speaks:
                stream.streams("message_delta")
            while _now() < until:
                machine.authorization.state()
        saw = "goes on"
        try:
            client.hears(b"message_delta")
            stream.streams("message_stop")
            stream.concludes()
            client.hears(LAST_CHUNK)
        except ConnectionResetError:
            saw = "cut by a reset"
            assert LAST_CHUNK not in client.received
        assert speaks or saw == "cut by a reset"
    assert machine.ask("/health", method="GET")[0] == 200
    record("power", f"stopped beyond idle_seconds, upstream {'spoke' if speaks else 'silent'}", saw)


def test_a_refresh_under_way(machine: World) -> None:
    """An answer of the server that waits in the kernel is taken when the daemon wakes up.

    However long that took: the refresh token is spent, and its successor is nowhere else.
    """
    before = machine.log_in(expires_at=_now() - 1)
    daemon = machine.foreground()
    machine.authorization.set(hold_after=1)
    with ThreadPoolExecutor() as crowd:
        asked = crowd.submit(machine.ask)
        machine.authorization.ask("arrived")
        with asleep(daemon):
            machine.authorization.ask("release")
            while machine.authorization.state()["refreshes"] < 1:
                continue
            assert machine.token()["refresh_token"] == before["refresh_token"]
        begun = _now()
        assert asked.result()[0] == 200
        taken = _now() - begun
    assert machine.token()["refresh_token"] != before["refresh_token"]
    assert unharmed(machine)["refreshes"] == 1
    record("power", "stopped with a refresh under way", "its answer is not lost", taken)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_an_answer_that_waits_longer_than_we_would(machine: World, loop: str) -> None:
    """An answer that is here by the time we wake up is read, although our patience is over."""
    machine.log_in()
    machine.authorization.set(hold_after=1)
    words = [str(machine.share), machine.authorization.url, "0.5", loop]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.power.patient", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as patient:
        machine.authorization.ask("arrived")
        until = _now() + 1
        with asleep(patient):
            machine.authorization.ask("release")
            while _now() < until:
                machine.authorization.state()
        assert patient.communicate(timeout=30)[0] == "refreshed\n"
    record("power", f"stopped beyond the patience for a refresh ({loop})", "its answer is read")


def _pending(machine: World) -> tuple[subprocess.Popen[str], str]:
    """Begin a login and return its process and code, once it polls."""
    login = machine.spawn("login", "--no-browser")
    while not (state := machine.authorization.state())["polls"]:
        assert login.poll() is None
    return login, state["pending"][-1]


@pytest.mark.parametrize("verdict", ["approve", "expire"])
def test_a_login_that_is_pending(machine: World, verdict: str) -> None:
    """What became of the code meanwhile is found out when the command wakes up."""
    login, code = _pending(machine)
    with asleep(login):
        machine.authorization.ask(verdict, user_code=code)
    output, errors = login.communicate(timeout=30)
    if verdict == "approve":
        assert (login.returncode, errors) == (0, "")
        assert "Logged in" in output
        assert machine.authorization.valid(machine.token()["access_token"])
    else:
        assert (login.returncode, errors.count("\n")) == (1, 1)
        assert "bridge login" in errors
        assert not machine.credential.exists()
    record("power", f"login stopped, code: {verdict}", "told when it wakes up")


def test_a_login_in_the_daemon(machine: World) -> None:
    """A code that was shown in an agent and approved while the daemon slept works afterwards."""
    daemon = machine.foreground()
    assert machine.ask()[0] == 401
    (code,) = machine.authorization.state()["pending"]
    with asleep(daemon):
        assert machine.authorization.ask("approve", user_code=code)["pending"] == []
    machine.until(machine.credential.exists)
    machine.until(lambda: machine.health()["providers"]["kimi"]["ready"])
    assert machine.ask()[0] == 200
    unharmed(machine)
    record("power", "stopped with a login pending in an agent", "approved, works")


def test_whoever_asks_a_daemon_that_sleeps(machine: World) -> None:
    """``--check`` says in a few seconds that the daemon does not answer, and waits for nobody."""
    machine.log_in()
    daemon = machine.foreground()
    before = Gauge(daemon.pid).descriptors
    with asleep(daemon):
        begun = _now()
        done = machine.bridge("--check", "-v")
        taken = _now() - begun
        assert (done.returncode, (done.stdout + done.stderr).count("\n")) == (4, 1), done
    assert machine.bridge("--check").returncode == 0
    assert machine.ask()[0] == 200
    assert Gauge(daemon.pid).descriptors <= before + 2
    assert taken < 10
    record("power", "--check of a daemon that stands still", "exit code 4", taken)
