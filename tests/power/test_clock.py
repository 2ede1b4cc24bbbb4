"""A wall clock that jumps either way under a running daemon: no login is lost, no storm breaks out.

The monotonic clock goes on, as it does when a time server or a person sets the wall clock.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bridge.service.log import MAX_BYTES
from tests.power.wallclock import WallClock
from tests.verdicts import record
from tests.world import World

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]

FULL = os.environ.get("BRIDGE_TEST_FULL") == "1"
HOUR, DAY = 3600, 24 * 3600
#: Where the clock is turned to, one after the other.
TURNS = (2 * HOUR, 0, -2 * HOUR, 3 * DAY, -400 * DAY, 0) * (5 if FULL else 1)

_now: Callable[[], float] = time.time  # noqa: TID251 - the daemon is a real process in real time


def unharmed(machine: World) -> dict[str, Any]:
    """Assert that no spent token was presented and no login lost; return the counters."""
    state = machine.authorization.state()
    assert (state["spent_presented"], state["refused"], state["revoked"]) == (0, 0, 0)
    assert machine.credential.stat().st_mode & 0o777 == 0o600
    machine.token()
    return state


def started(machine: World) -> None:
    """Start the daemon and return once it serves.

    Nobody looks at its PID file meanwhile: it would pause then and try again, and with a monotonic
    clock that goes on libfaketime lets nobody sleep (EINVAL).
    """
    daemon = machine.unattended()
    while "daemon started" not in machine.log:
        assert daemon.poll() is None, machine.log


def crowd(machine: World, number: int) -> set[int]:
    """Let so many ask at once, and return the statuses of their answers."""
    with ThreadPoolExecutor(number) as people:
        return set(people.map(lambda _: machine.ask()[0], range(number)))


def timed(act: Callable[[], object]) -> float:
    """Return how many seconds *act* took."""
    begun = _now()
    act()
    return _now() - begun


def test_forwards_over_the_expiry(machine: World, clock: WallClock) -> None:
    """A jump beyond the token's end costs one refresh for all who ask, and no request."""
    machine.log_in()
    started(machine)
    assert machine.ask()[0] == 200
    clock.turn(2 * HOUR)
    taken = timed(lambda: crowd(machine, 25))
    assert unharmed(machine)["refreshes"] == 1
    assert crowd(machine, 25) == {200}
    assert unharmed(machine)["refreshes"] == 1
    record("power", "wall clock 2 h forwards", "one refresh for 50 requests", taken)


def test_backwards_after_a_refresh(machine: World, clock: WallClock) -> None:
    """A token that seems to live for hours, because the clock went back, is not clung to.

    The first 401 of the provider heals it, and its client sees none of that.
    """
    machine.log_in()
    started(machine)
    clock.turn(8 * HOUR)
    assert machine.ask()[0] == 200
    clock.turn(0)
    assert machine.token()["expires_at"] - _now() > 8 * HOUR
    machine.authorization.ask("revoke", token=machine.token()["access_token"])  # its time is over
    taken = timed(lambda: crowd(machine, 5))
    assert machine.ask()[0] == 200
    assert unharmed(machine)["refreshes"] == 2
    assert 0 < machine.token()["expires_at"] - _now() <= 900
    record("power", "wall clock 8 h backwards", "healed by the next 401, unseen", taken)


def test_back_and_forth(machine: World, clock: WallClock) -> None:
    """However often the clock jumps, each jump costs one refresh at most, and no request fails."""
    machine.log_in()
    started(machine)
    for number, off in enumerate(TURNS, 1):
        clock.turn(off)
        assert crowd(machine, 5) == {200}
        assert unharmed(machine)["refreshes"] <= number
    assert machine.bridge("--check", "kimi").returncode == 0
    assert "rejected" not in machine.log
    record("power", "wall clock back and forth", f"{len(TURNS)} jumps, no request failed")


@pytest.mark.parametrize("off", [2 * HOUR, -2 * HOUR])
def test_a_jump_in_the_middle_of_a_refresh(machine: World, clock: WallClock, off: int) -> None:
    """Who waits for the refresh gets its token, which lives as long as the clock says by then."""
    machine.log_in(expires_at=_now() - 1)
    started(machine)
    machine.authorization.set(hold_after=1)
    with ThreadPoolExecutor() as people:
        asked = people.submit(machine.ask)
        machine.authorization.ask("arrived")
        clock.turn(off)
        machine.authorization.ask("release")
        assert asked.result()[0] == 200
    assert abs(machine.token()["expires_at"] - (_now() + off) - 900) < 30
    assert machine.ask()[0] == 200
    assert unharmed(machine)["refreshes"] == 1
    record("power", f"wall clock {off / HOUR:+.0f} h during a refresh", "answered, token kept")


def test_a_server_in_trouble_and_a_jump(machine: World, clock: WallClock) -> None:
    """What restrains tries goes by the other clock: a jump neither hastens nor prolongs it."""
    machine.log_in(expires_at=_now() + 300)  # stale, and good for a while
    started(machine)
    machine.authorization.ask("answer", status=400, body='{"error": "invalid_request"}', times=9)
    assert machine.ask()[0] == 200
    machine.until(lambda: "token refresh failed" in machine.log)
    before = machine.log.count("token refresh failed")
    clock.turn(-DAY)
    assert crowd(machine, 10) == {200}
    clock.turn(5)
    assert crowd(machine, 10) == {200}
    assert machine.log.count("token refresh failed") <= before + 1
    unharmed(machine)
    record("power", "wall clock jumps while a refresh is put off", "neither hastened nor prolonged")


def test_an_unused_login_is_renewed(machine: World, clock: WallClock) -> None:
    """The keeper sees by the wall clock that three days have passed, and lives through a jump back.

    A login that nobody uses is renewed once for each time it is due.
    """
    machine.authorization.set(expires_in=4)
    machine.log_in()  # the keeper looks every second
    started(machine)
    clock.turn(4 * DAY)
    machine.until(lambda: unharmed(machine)["refreshes"] == 1)
    clock.turn(-4 * DAY)
    assert crowd(machine, 5) == {200}
    if FULL:  # it takes the keeper's longest nap
        clock.turn(9 * DAY)
        machine.until(lambda: unharmed(machine)["refreshes"] >= 2)
    assert "task ended" not in machine.log
    record("power", "wall clock days ahead of an unused login", "renewed once")


#: Logs each line that it reads, by the daemon's own log.
SCRIBE = """
import logging, sys
from pathlib import Path
from bridge.service import log
log.to_file(Path(sys.argv[1]), "info")
for line in sys.stdin:
    logging.getLogger("bridge").info("%s", line.strip())
    print("logged", flush=True)
"""


@pytest.mark.parametrize("off", [50 * 365 * DAY, -20 * 365 * DAY])
def test_the_log_goes_on(machine: World, clock: WallClock, off: int, tmp_path: Path) -> None:
    """The log turns its page by size alone, whatever year it is, and no line is lost."""
    log = tmp_path / "bridge.log"
    log.write_text(("x" * 99 + "\n") * (MAX_BYTES // 100 - 1))
    with subprocess.Popen(
        [sys.executable, "-c", SCRIBE, str(log)],
        env=machine.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as scribe:
        assert scribe.stdin
        assert scribe.stdout
        for turn in (0, off, 0):
            clock.turn(turn)
            scribe.stdin.write(f"{turn} {'y' * 100}\n")
            assert scribe.stdout.readline() == "logged\n"
        scribe.stdin.close()
    turned = log.with_name("bridge.log.1")
    assert turned.stat().st_size <= MAX_BYTES
    assert (log.read_text() + turned.read_text()).count("y\n") == 3
    record("power", f"log rotation, wall clock {off / DAY / 365:+.0f} years", "no line lost")


def _code(machine: World) -> str:
    """Return the code that an agent without a login is shown."""
    status, _, body = machine.ask()
    text = body.decode()
    assert (status, "Kimi login needed" in text) == (401, True)
    (pending,) = machine.authorization.state()["pending"][-1:]
    assert pending in text, text
    return str(pending)


@pytest.mark.parametrize("off", [-DAY, 2 * HOUR])
def test_a_login_that_is_pending(machine: World, clock: WallClock, off: int) -> None:
    """A code that was shown before the jump works after it, or the next request shows another."""
    started(machine)
    first = _code(machine)
    clock.turn(off)
    if off < 0:
        assert _code(machine) == first
    else:
        machine.until(lambda: "login not completed" in machine.log)
        assert _code(machine) != first
    machine.authorization.ask("approve", user_code=_code(machine))
    machine.until(machine.credential.exists)
    machine.until(lambda: machine.health()["providers"]["kimi"]["ready"])
    assert machine.ask()[0] == 200
    unharmed(machine)
    record("power", f"wall clock {off / HOUR:+.0f} h with a login pending", "approved, works")


def test_a_connection_that_is_kept(machine: World, clock: WallClock) -> None:
    """No connection of a client or a provider is given up because of a jump."""
    machine.log_in()
    started(machine)
    connection = http.client.HTTPConnection("127.0.0.1", machine.port, timeout=30)
    for off in (0, DAY, -DAY):
        clock.turn(off)
        connection.request("GET", "/health")
        response = connection.getresponse()
        assert response.status == 200
        response.read()
        assert connection.sock is not None
    descriptors = len(list(Path(f"/proc/{machine.pid}/fd").iterdir()))
    connection.close()
    assert descriptors < 64
    record("power", "wall clock jumps on a kept connection", "the same connection serves on")
