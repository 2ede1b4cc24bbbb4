"""Refreshes at process level: one for all who ask, none that is spent twice, in any company."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.exchange import fingerprint
from tests.fakes.neighbour import Neighbour
from tests.fakes.upstream import UNAUTHENTICATED
from tests.ports import free_port
from tests.world import World, world

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]

_now: Callable[[], float] = time.time  # noqa: TID251 - the daemon is a real process in real time


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> Iterator[World]:
    """A machine whose authorization server takes a spent refresh token for theft."""
    with world(tmp_path, stern=True) as machine:
        yield machine


def bearers(machine: World) -> list[str]:
    """Return the fingerprints of the access tokens that the upstream was shown."""
    return [str(request["bearer"]) for request in machine.upstream.requests()]


def unharmed(machine: World) -> dict[str, Any]:
    """Assert that nobody presented a spent token and the login lives; return the counters."""
    state = machine.authorization.state()
    assert (state["spent_presented"], state["revoked"], state["refused"]) == (0, 0, 0)
    assert machine.credential.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in machine.credential.parent.iterdir()) == [
        "kimi-code.json",
        "kimi-code.lock",
    ]
    return state


def test_fifty_at_once(machine: World) -> None:
    """Fifty requests that find the token expired cost one refresh, and all are answered."""
    machine.log_in(expires_at=_now() - 1)
    machine.start()
    with ThreadPoolExecutor(50) as crowd:
        answers = list(crowd.map(lambda _: machine.ask(), range(50)))
    assert {status for status, _, _ in answers} == {200}
    assert unharmed(machine)["refreshes"] == 1
    assert set(bearers(machine)) == {fingerprint(machine.token()["access_token"])}


def test_an_upstream_that_refuses_every_token(machine: World) -> None:
    """An upstream that answers 401 to all costs one refresh, and the client sees its very 401."""
    machine.log_in()
    machine.start()
    machine.upstream.refuse_all()
    error = {"type": "authentication_error", "message": UNAUTHENTICATED}
    for _ in range(10):
        status, _, body = machine.ask()
        assert (status, json.loads(body)) == (401, {"type": "error", "error": error})
    assert unharmed(machine)["refreshes"] == 1
    machine.upstream.refuse_all(False)
    assert machine.ask()[0] == 200
    assert len(set(bearers(machine))) == 2


def test_a_neighbour_rotates(machine: World) -> None:
    """What the official CLI rotated is used from the next request on, and nothing is spent."""
    machine.log_in()
    machine.start()
    assert machine.ask()[0] == 200
    with Neighbour(machine.share, machine.authorization.url, force=True) as neighbour:
        assert neighbour.wait()["refreshed"] == 1
    assert machine.ask()[0] == 200
    assert unharmed(machine)["refreshes"] == 1
    assert bearers(machine)[-1] == fingerprint(machine.token()["access_token"])
    assert len(set(bearers(machine))) == 2


def test_a_neighbour_is_faster(machine: World) -> None:
    """While the official CLI refreshes under the lock, we wait and adopt what it fetched."""
    machine.log_in(expires_at=_now() - 1)
    machine.start()
    with (
        Neighbour(machine.share, machine.authorization.url, stop_at="answered") as neighbour,
        ThreadPoolExecutor() as crowd,
    ):
        neighbour.until("answered")
        asked = [crowd.submit(machine.ask) for _ in range(3)]
        machine.until(lambda: machine.health()["streams"] == 3)
        neighbour.go_on()
        assert neighbour.wait()["refreshed"] == 1
        assert {answer.result()[0] for answer in asked} == {200}
    assert unharmed(machine)["refreshes"] == 1


def test_a_thousand_refreshes(machine: World) -> None:
    """Two daemons, three neighbours and ``bridge token`` refresh one file a thousand times.

    The server ends the login for which a spent token is presented, and tokens of 20 s are
    compressed to 10 ms. Nobody is logged out, and the file stays whole and private.
    """
    machine.authorization.set(expires_in=0.01)
    machine.log_in()
    machine.start()
    other = free_port()
    elsewhere = ["--port", str(other), "--pid-file", str(machine.home / "other.pid")]
    assert machine.bridge(*elsewhere).returncode == 0
    with ExitStack() as stack:
        stack.callback(machine.bridge, "--stop", *elsewhere)
        # Their pauses are compressed too, but none may lose patience: that is tried elsewhere.
        options: dict[str, Any] = {"rounds": 120, "pause": 0.01, "patience": 0.05}
        neighbours = [
            stack.enter_context(
                Neighbour(machine.share, machine.authorization.url, impatient_after=1000, **options)
            )
            for _ in range(3)
        ]
        crowd = stack.enter_context(ThreadPoolExecutor(8))
        printed = [crowd.submit(machine.bridge, "token") for _ in range(10)]
        asked = [crowd.submit(_ask_on, machine, port, 1000) for port in (machine.port, other)]
        counts = [neighbour.wait() for neighbour in neighbours]
        assert {done.result().returncode for done in printed} == {0}
        for client in asked:
            client.result()
    assert machine.bridge("token").returncode == 0
    assert machine.bridge("--stop").returncode == 0
    assert all(not {"unlocked", "refused", "lost", "logged-out"} & set(each) for each in counts)
    assert min(each["refreshed"] for each in counts) > 0
    assert unharmed(machine)["refreshes"] >= 1000


def _ask_on(machine: World, port: int, refreshes: int) -> None:
    """Ask until there have been so many *refreshes*, whatever the answer.

    A token that lives for 10 ms may die on its way; every loss of a login shows in the counters.
    """
    while machine.authorization.state()["refreshes"] < refreshes:
        for _ in range(20):
            assert machine.ask(port=port)[0] in {200, 401, 503}
