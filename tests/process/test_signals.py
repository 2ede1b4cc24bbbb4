"""Signals at the worst moments: whoever is in a hurry, no login is lost and no cut looks whole."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.process.wire import LAST_CHUNK, Counter, asking, dial
from tests.world import World, installed, message, world

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]

_now: Callable[[], float] = time.time  # noqa: TID251 - the daemon is a real process in real time


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> Iterator[World]:
    """A machine whose authorization server takes a spent refresh token for theft."""
    with world(tmp_path, stern=True) as machine:
        yield machine


@pytest.fixture(name="api")
def _api(machine: World) -> Iterator[Counter]:
    """An API whose answers the test gives by hand."""
    with Counter() as counter:
        machine.variables["KIMI_CODE_BASE_URL"] = f"{counter.url}/coding/v1"
        yield counter


def kept(machine: World, before: dict[str, Any]) -> None:
    """Assert that the one refresh there was is in the file, and good."""
    document = machine.token()
    assert document["refresh_token"] != before["refresh_token"]
    assert machine.authorization.valid(document["access_token"])
    state = machine.authorization.state()
    assert (state["refreshes"], state["spent_presented"], state["revoked"]) == (1, 0, 0)


def test_sigterm_during_a_refresh(machine: World) -> None:
    """SIGTERM between the server's rotation and its answer: daemon and client get the token."""
    before = machine.log_in(expires_at=_now() - 1)
    daemon = machine.foreground()
    machine.authorization.set(hold_after=1)
    with ThreadPoolExecutor() as crowd:
        asked = crowd.submit(machine.ask)
        machine.authorization.ask("arrived")
        daemon.send_signal(signal.SIGTERM)
        machine.draining()
        assert daemon.poll() is None
        machine.authorization.ask("release")
        assert asked.result()[0] == 200
    assert daemon.wait(20) == 0
    kept(machine, before)
    assert machine.bridge("--check").returncode == 3


def test_a_second_sigterm_during_a_refresh(machine: World, api: Counter) -> None:
    """A second SIGTERM drops the streams with a reset, but waits for the refresh."""
    before = machine.log_in(expires_at=_now() + 200)  # stale, yet good for this request
    daemon = machine.foreground()
    machine.authorization.set(hold_after=1)
    with asking(machine.port) as client:
        stream = api.arrives()
        stream.begins()
        stream.streams("ping")
        client.hears(b"ping")
        machine.authorization.ask("arrived")
        daemon.send_signal(signal.SIGTERM)
        machine.draining()
        daemon.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionResetError):
            client.rest()
    assert daemon.poll() is None
    assert machine.token()["refresh_token"] == before["refresh_token"]
    daemon.send_signal(signal.SIGTERM)  # a third changes nothing either
    machine.authorization.ask("release")
    assert daemon.wait(20) == 0
    kept(machine, before)
    assert "streams dropped count=1" in machine.log


@pytest.mark.parametrize("rotated", [False, True])
def test_kill_during_a_refresh(machine: World, rotated: bool) -> None:
    """After kill -9 in mid-refresh the next daemon uses the old token, which is all there is.

    Where the server had rotated already, only the killed process ever had the new one: the person
    is told to log in.
    """
    before = machine.log_in(expires_at=_now() - 1)
    daemon = machine.foreground()
    machine.authorization.set(hold_before=1)
    if not rotated:
        machine.authorization.set(lose=1, loses_before=1)
    with ThreadPoolExecutor() as crowd:
        asked = crowd.submit(machine.ask)
        machine.authorization.ask("arrived")
        daemon.kill()
        assert daemon.wait(20) == -signal.SIGKILL
        assert isinstance(asked.exception(), (ConnectionError, http.client.HTTPException))
    machine.authorization.ask("release")
    assert machine.token()["refresh_token"] == before["refresh_token"]
    machine.start()
    status, _, body = machine.ask()
    if rotated:
        assert (status, b"Kimi login needed" in body) == (401, True)
        assert machine.token()["refresh_token"] == before["refresh_token"]
    else:
        assert status == 200
        kept(machine, before)
    assert machine.credential.stat().st_mode & 0o777 == 0o600


def test_a_stop_lets_a_long_stream_end(machine: World, api: Counter) -> None:
    """A stream under way when SIGTERM comes is passed on to its very end; then the daemon leaves.

    Nobody new is let in meanwhile.
    """
    machine.log_in()
    daemon = machine.foreground()
    with asking(machine.port) as client:
        stream = api.arrives()
        stream.begins()
        stream.streams("message_start")
        client.hears(b"message_start")
        daemon.send_signal(signal.SIGTERM)
        machine.draining()
        with pytest.raises(ConnectionRefusedError):
            machine.ask("/health", method="GET")
        for name in ("ping", "message_delta", "message_stop"):
            stream.streams(name)
            client.hears(name.encode())
        stream.concludes()
        assert client.rest().endswith(LAST_CHUNK)
    assert daemon.wait(20) == 0
    assert "streams dropped" not in machine.log


def test_drain_seconds(machine: World, api: Counter) -> None:
    """A stream that outlives ``drain_seconds`` is broken off with a reset, never ended cleanly."""
    machine.log_in()
    machine.configure("[server]\ndrain_seconds = 0.2\n")
    daemon = machine.foreground()
    with asking(machine.port) as client:
        stream = api.arrives()
        stream.begins()
        stream.streams("ping")
        client.hears(b"ping")
        daemon.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionResetError):
            client.rest()
        assert LAST_CHUNK not in client.received
        with pytest.raises((ConnectionError, EOFError)):
            stream.hears(b"never")  # the upstream is told to stop
    assert daemon.wait(20) == 0


def test_kill_during_a_stream(machine: World, api: Counter) -> None:
    """After kill -9 the client of a stream sees an error and no end."""
    machine.log_in()
    daemon = machine.foreground()
    connection = http.client.HTTPConnection("127.0.0.1", machine.port, timeout=30)
    connection.request("POST", "/kimi/v1/messages", b"{}", {"Authorization": "Bearer dummy"})
    stream = api.arrives()
    stream.begins()
    stream.streams("ping")
    response = connection.getresponse()
    assert response.read1(10)
    daemon.kill()
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        response.read()
    connection.close()
    assert daemon.wait(20) == -signal.SIGKILL
    assert machine.bridge("--check").returncode == 1


def test_hangup_with_a_wrong_configuration(machine: World, api: Counter) -> None:
    """SIGHUP with a wrong configuration is told in the log, the old one stays, streams go on."""
    machine.log_in()
    config = machine.configure('[providers.kimi]\nheaders = { X-Test = "old" }\n')
    daemon = machine.foreground()
    with asking(machine.port) as client:
        stream = api.arrives()
        assert b"X-Test: old" in stream.head
        stream.begins()
        config.write_text('[providers.kimi]\nheaders = { X-Test = "new" }\nregoin = "cn"\n')
        daemon.send_signal(signal.SIGHUP)
        machine.until(lambda: "configuration not reloaded" in machine.log)
        assert f"{config}:3: providers.kimi.regoin" in machine.log
        stream.streams("message_stop")
        stream.concludes()
        client.hears(LAST_CHUNK)
    with asking(machine.port):
        asked = api.arrives()
        assert b"X-Test: old" in asked.head
        asked.answers(200, b"{}")
    daemon.terminate()
    assert daemon.wait(20) == 0


def test_interrupt_in_the_foreground(machine: World) -> None:
    """Ctrl-C ends a foreground daemon in good order, with 0 and without a traceback."""
    daemon = machine.foreground()
    daemon.send_signal(signal.SIGINT)
    assert daemon.wait(20) == 0
    assert "daemon stopped" in machine.log
    assert "Traceback" not in machine.log
    assert not machine.pid_file.exists()


def test_a_start_that_is_interrupted(machine: World) -> None:
    """Ctrl-C during a start leaves one daemon or none, no traceback, and the next start works."""
    machine.log_in()
    start = subprocess.Popen(
        [installed()],
        env=machine.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while True:  # until the launcher listens: half of the start is done then
        try:
            dial(machine.port).close()
            break
        except ConnectionRefusedError:
            assert start.poll() in {None, 0}
    os.killpg(start.pid, signal.SIGINT)  # as the terminal does: to the launcher, too
    _, stderr = start.communicate(timeout=30)
    assert start.returncode in {0, 130}
    assert "Traceback" not in stderr
    assert stderr.count("\n") <= 1
    machine.start()
    assert machine.ask()[0] == 200
    assert machine.bridge("--stop").returncode == 0
    assert machine.bridge("--check").returncode == 3


def test_many_hangups(machine: World) -> None:
    """Hang-ups in any number and at any time, the start included, never end the daemon."""
    machine.log_in()
    daemon = machine.foreground()
    for _ in range(50):
        daemon.send_signal(signal.SIGHUP)
        assert machine.ask(body=message("Hello"))[0] == 200
    daemon.terminate()
    assert daemon.wait(20) == 0
