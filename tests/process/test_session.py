"""An hour of work over tokens of a quarter of an hour, in a few seconds: nobody notices a thing."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.exchange import fingerprint
from tests.world import World, message, world

pytestmark = [pytest.mark.process, pytest.mark.timeout(90)]

_now: Callable[[], float] = time.time  # noqa: TID251 - the daemon is a real process in real time

#: 15 minutes, compressed; an hour has at least as many refreshes as this.
LIFETIME = 3
REFRESHES = 6


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> Iterator[World]:
    """A machine with a login and a daemon, whose tokens live for three seconds."""
    with world(tmp_path, stern=True, expires_in=LIFETIME) as machine:
        machine.log_in()
        machine.start()
        yield machine


class Agent:
    """A client that asks on one connection, as agents do, now whole and now streamed."""

    def __init__(self, machine: World) -> None:
        self.statuses: Counter[int] = Counter()
        self._connection = http.client.HTTPConnection("127.0.0.1", machine.port, timeout=30)

    def asks(self, *, stream: bool) -> None:
        """Ask once and read the answer to its end."""
        body = json.dumps(message("Hello", stream=stream)).encode()
        headers = {"Authorization": "Bearer dummy", "Content-Type": "application/json"}
        self._connection.request("POST", "/kimi/v1/messages?beta=true", body, headers)
        response = self._connection.getresponse()
        content = response.read()
        assert (b"message_stop" if stream else b"end_turn") in content
        self.statuses[response.status] += 1

    def leaves(self) -> None:
        """Close the connection."""
        self._connection.close()


def descriptors(machine: World) -> int:
    """Return how many descriptors the daemon has open."""
    return len(list(Path(f"/proc/{machine.pid}/fd").iterdir()))


def resident(machine: World) -> int:
    """Return the daemon's resident memory in KiB."""
    status = Path(f"/proc/{machine.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def test_an_hour_of_work(machine: World) -> None:
    """Back to back over six refreshes every request is answered well, and nothing is used up."""
    agent = Agent(machine)
    for number in range(200):  # pools and caches are filled
        agent.asks(stream=bool(number % 2))
    before, memory = descriptors(machine), resident(machine)
    while machine.authorization.state()["refreshes"] < REFRESHES:
        for number in range(50):
            agent.asks(stream=bool(number % 2))
    assert set(agent.statuses) == {200}
    assert descriptors(machine) <= before + 2  # the authorization server's connection, for one
    assert resident(machine) - memory < 8 * 1024
    agent.leaves()
    state = machine.authorization.state()
    assert (state["spent_presented"], state["refused"], state["revoked"]) == (0, 0, 0)
    shown = {str(request["bearer"]) for request in machine.upstream.requests()}
    assert len(shown) in {state["refreshes"], state["refreshes"] + 1}
    assert "rejected" not in machine.log
    assert "failed" not in machine.log


def test_nobody_waits_for_a_refresh(machine: World) -> None:
    """While the server sits on a refresh, requests go on with the token that still lives."""
    machine.authorization.set(expires_in=900, hold_after=1)
    old = machine.log_in(expires_at=_now() + 300)
    arrived = threading.Thread(target=machine.authorization.ask, args=["arrived"])
    arrived.start()
    agent = Agent(machine)
    for _ in range(20):
        agent.asks(stream=True)
    arrived.join()
    for _ in range(20):
        agent.asks(stream=False)
    shown = {str(request["bearer"]) for request in machine.upstream.requests()}
    assert shown == {fingerprint(old["access_token"])}
    machine.authorization.ask("release")
    machine.until(lambda: machine.token()["access_token"] != old["access_token"])
    agent.asks(stream=True)
    agent.leaves()
    latest = machine.upstream.requests()[-1]
    assert latest["bearer"] == fingerprint(machine.token()["access_token"])
    assert set(agent.statuses) == {200}
    assert machine.authorization.state()["refreshes"] == 1


def test_a_machine_that_slept(machine: World) -> None:
    """After a sleep in which the token died, the first request is answered by one refresh.

    Nothing rests on timers: by the wall clock the token is over, whatever they say.
    """
    assert machine.ask()[0] == 200
    before = machine.authorization.state()["refreshes"]
    machine.log_in(expires_at=_now() - 8 * 3600)
    assert machine.ask()[0] == 200
    state = machine.authorization.state()
    assert state["refreshes"] in {before + 1, before + 2}
    assert state["spent_presented"] == 0
