"""After a crash in the middle of a refresh, everybody who is asked says what is known of it."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.verdicts import record
from tests.world import World, world

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]

_now: Callable[[], float] = time.time  # noqa: TID251 - the daemon is a real process in real time

MAY_BE_SPENT = (
    r"a refresh begun at [-\d: ]{8,19} was cut short: its refresh token may have been spent"
)
WAS_SPENT = (
    r"the refresh token was most likely spent by a refresh that was cut short at [-\d: ]{8,19} "
    r"\(power cut or kill\), not by a logout elsewhere"
)


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> Iterator[World]:
    """A machine whose login is due for a refresh and lives a while."""
    with world(tmp_path, stern=True) as machine:
        machine.log_in(expires_at=_now() + 300)
        yield machine


def note(machine: World) -> str:
    """Return what the daemon has to say of the login besides."""
    return str(machine.health()["providers"]["kimi"].get("note", ""))


def test_killed_in_mid_refresh(machine: World) -> None:
    """The next daemon says what happened, spares the token, and puts a refusal down to it."""
    machine.start()
    machine.authorization.set(hold_after=1)
    assert machine.ask()[0] == 200
    machine.authorization.ask("arrived")
    assert machine.pid is not None
    os.kill(machine.pid, signal.SIGKILL)
    machine.authorization.ask("release")
    began = _now()
    machine.start()
    machine.until(lambda: bool(re.match(f"{MAY_BE_SPENT}; if the next", note(machine))))
    recovered = _now() - began
    assert machine.ask()[0] == 200
    assert machine.authorization.state()["spent_presented"] == 0
    assert re.search(MAY_BE_SPENT, machine.bridge("doctor").stdout)
    document = {**machine.token(), "expires_at": _now() - 1}
    machine.credential.write_text(json.dumps(document))
    status, _, body = machine.ask()
    message = json.loads(body)["error"]["message"]
    assert (status, "cut short" in message, len(message) < 300) == (401, False, True)
    assert re.match(f"{WAS_SPENT}: run: bridge login", note(machine))
    assert re.search(WAS_SPENT, machine.bridge("doctor").stdout)
    assert machine.log.count("token refresh cut short provider=kimi") == 1
    assert machine.log.count("token refused provider=kimi") == 1
    [journal] = (machine.home / ".local/state/bridge").glob("refreshes-*.jsonl")
    assert stat.S_IMODE(journal.stat().st_mode) == 0o600
    record("power", "kill -9 in mid-refresh", "told in words, token spared", recovered)
