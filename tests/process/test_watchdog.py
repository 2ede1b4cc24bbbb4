"""What a service manager hears of the daemon, and what is left when it loses patience with it."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fakes.supervisor import Supervisor
from tests.process.wire import LAST_CHUNK, Counter, asking
from tests.verdicts import record
from tests.world import World, world

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


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
def test_a_life_as_the_manager_hears_it(machine: World, abstract: bool) -> None:
    """READY once it serves, RELOADING and READY around each reload, STOPPING; then exit 0."""
    machine.log_in()
    with Supervisor(machine, abstract=abstract) as manager:
        daemon = manager.start()
        ready = manager.hears("READY")
        assert machine.bridge("--check").returncode == 0
        assert ready["MAINPID"] == str(daemon.pid)
        assert ready["STATUS"] == f"serving on 127.0.0.1:{machine.port}, 0 streams"
        assert "WATCHDOG" not in str(manager.heard)
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        daemon.send_signal(signal.SIGHUP)
        began = manager.hears("RELOADING")
        assert before <= int(began["MONOTONIC_USEC"]) < before + 10_000_000
        assert manager.hears("READY")["READY"] == "1"
        machine.configure('[server]\ndefault_provider = "minimax"\n')
        manager.hears("RELOADING")
        assert "degraded" in manager.hears("READY")["STATUS"]
        daemon.terminate()
        stopping = manager.hears("STOPPING")
        assert "STATUS" in stopping
        assert int(stopping["EXTEND_TIMEOUT_USEC"]) > 1_000_000
        assert daemon.wait(20) == 0


def test_a_wrong_edit_ends_the_reload_too(machine: World) -> None:
    """A manager is never left waiting for a reload that came to nothing."""
    machine.configure("")
    with Supervisor(machine) as manager:
        daemon = manager.start()
        manager.hears("READY")
        machine.configure("[server]\nprot = 1\n")
        daemon.send_signal(signal.SIGHUP)
        manager.hears("RELOADING")
        manager.hears("READY")
        machine.until(lambda: "configuration not reloaded" in machine.log)


def test_a_failed_start_is_told(machine: World) -> None:
    """A start that fails never says READY; what was wrong is in the unit's status, code 78."""
    machine.configure("[server]\nprot = 1\n")
    with Supervisor(machine) as manager:
        daemon = manager.start()
        assert "server.prot: unknown key" in manager.hears("STATUS")["STATUS"]
        assert daemon.wait(20) == 78
        assert not [message for message in manager.heard if "READY" in message]


def test_the_variables_are_not_handed_on(machine: World) -> None:
    """A program that the daemon runs for a key knows nothing of the manager's sockets."""
    seen = machine.home / "seen"
    command = f'["sh", "-c", "env > {seen}; echo sk-0123456789abcdef"]'
    machine.configure(f"[providers.minimax]\nkey = {{ command = {command} }}\n")
    with Supervisor(machine, watchdog=20) as manager:
        manager.start()
        manager.hears("READY")
        machine.ask("/minimax/v1/models", method="GET")
    names = {line.partition("=")[0] for line in seen.read_text().splitlines()}
    assert "HOME" in names
    assert not names & {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS"}


def test_the_status_follows_the_streams(machine: World, api: Counter) -> None:
    """The manager's status tells the streams under way, a beat later, and again when they end."""
    machine.log_in()
    with Supervisor(machine, watchdog=0.4) as manager:
        manager.start()
        manager.hears("READY")
        with asking(machine.port) as client:
            stream = api.arrives()
            stream.begins()
            manager.hears("STATUS", "1 stream")
            stream.concludes()
            client.hears(LAST_CHUNK)
            manager.hears("STATUS", "0 streams")


def test_the_watchdog_is_fed_at_its_rhythm(machine: World) -> None:
    """WATCHDOG=1 comes twice in each period, as sd_watchdog_enabled(3) asks for."""
    with Supervisor(machine, watchdog=1.0) as manager:
        manager.start()
        manager.hears("READY")
        manager.hears("WATCHDOG")
        began = _now()
        for _ in range(4):
            manager.hears("WATCHDOG", patience=1.0)
        assert 1.5 < _now() - began < 4.0


def test_a_drain_asks_for_patience(machine: World, api: Counter) -> None:
    """While streams end after a stop the watchdog is fed and the stop's time is stretched."""
    machine.log_in()
    with Supervisor(machine, watchdog=0.4) as manager:
        daemon = manager.start()
        manager.hears("READY")
        with asking(machine.port) as client:
            stream = api.arrives()
            stream.begins()
            daemon.terminate()
            manager.hears("STOPPING")
            for _ in range(3):
                message = manager.hears("WATCHDOG", patience=5)
                assert int(message["EXTEND_TIMEOUT_USEC"]) >= 400_000
                assert "STATUS" not in message
            stream.concludes()
            client.hears(LAST_CHUNK)
        assert daemon.wait(20) == 0


def test_a_hung_daemon_is_given_up_in_mid_refresh(machine: World) -> None:
    """A loop that hangs feeds nobody; killed in mid-refresh, it leaves a credential that is sound.

    The server has not acted yet when the manager loses patience; the daemon that comes next does
    the refresh, and no token is spent twice. The abort leaves no core file with tokens in it.
    """
    before = machine.log_in(expires_at=_now() - 1)
    with contextlib.ExitStack() as stack:
        soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
        stack.callback(resource.setrlimit, resource.RLIMIT_CORE, (soft, hard))
        manager = stack.enter_context(Supervisor(machine, watchdog=0.4))
        hung = manager.start()
        manager.hears("READY")
        machine.authorization.set(hold_before=1, lose=1, loses_before=1)
        crowd = stack.enter_context(ThreadPoolExecutor())
        asked = crowd.submit(machine.ask)
        machine.authorization.ask("arrived")
        os.kill(hung.pid, signal.SIGSTOP)
        manager.forgets()
        with pytest.raises(TimeoutError):
            manager.hears("WATCHDOG", patience=0.8)
        began = _now()
        assert manager.gives_up() == -signal.SIGKILL  # a stopped process does not even abort
        assert asked.exception() is not None
        machine.authorization.ask("release")
        assert machine.token()["refresh_token"] == before["refresh_token"]
        assert machine.credential.stat().st_mode & 0o777 == 0o600
        manager.start()
        manager.hears("READY")
        assert machine.ask()[0] == 200
        record("watchdog", "hung in mid-refresh", "killed, started anew, refreshed", _now() - began)
        assert machine.authorization.valid(machine.token()["access_token"])
        state = machine.authorization.state()
        assert (state["refreshes"], state["spent_presented"], state["revoked"]) == (1, 0, 0)
        assert manager.gives_up() == -signal.SIGABRT
        assert manager.core_files == []
