"""Several bridges and several official CLIs on one credential, refreshing as fast as they can.

A token's life of 20 seconds is compressed to a third of one, and a neighbour's impatience with it
as far as the machine allows: it makes more tries, closer together, over the same 5 to 10 seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.clock import SystemClock
from tests.credentials.program import BridgeProcess
from tests.fakes.authorization import AuthorizationProcess
from tests.fakes.credential import KEYS, credential_file, write_credential
from tests.fakes.neighbour import Neighbour

FULL = os.environ.get("BRIDGE_TEST_FULL") == "1"
#: Refreshes in all, by whomever: a thousand in the full form, over both modes of the server.
REFRESHES = 500 if FULL else 75
BRIDGES, NEIGHBOURS = 3, 2
LIFETIME = 0.35

pytestmark = [pytest.mark.process, pytest.mark.timeout(600 if FULL else 90)]


class Watcher(threading.Thread):
    """Reads the credential all the time and remembers what was wrong with it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.looks = 0
        self.faults: list[str] = []
        self._enough = threading.Event()

    def run(self) -> None:
        """Look until it is enough."""
        while not self._enough.wait(0.002):
            self.looks += 1
            try:
                mode = stat.S_IMODE(self.path.stat().st_mode)
                document = json.loads(self.path.read_bytes())
            except (OSError, ValueError) as error:
                self.faults.append(repr(error))
                continue
            if mode != 0o600 or set(document) != set(KEYS) or not all(document.values()):
                self.faults.append(f"{mode:o} {sorted(document)}")

    def stop(self) -> None:
        """Stop looking."""
        self._enough.set()
        self.join()


@contextlib.contextmanager
def watched(path: Path) -> Iterator[Watcher]:
    """Watch *path* for the length of the block."""
    watcher = Watcher(path)
    watcher.start()
    try:
        yield watcher
    finally:
        watcher.stop()


def neighbour(share_dir: Path, url: str) -> Neighbour:
    """Return an official CLI that works until it is ended."""
    return Neighbour(
        share_dir,
        url,
        rounds=10**9,
        pause=0.02,
        patience=0.2,
        impatient_after=30,
    )


@pytest.mark.parametrize("stern", [False, True], ids=["lenient", "stern"])
def test_nobody_is_ever_logged_out(tmp_path: Path, stern: bool) -> None:
    """However many share it, no spent token is presented and the file is whole and private."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(AuthorizationProcess(stern=stern, expires_in=LIFETIME))
        path = write_credential(tmp_path, server.seed(), SystemClock().now())
        watcher = stack.enter_context(watched(path))
        bridges = [stack.enter_context(BridgeProcess(tmp_path, server.url)) for _ in range(BRIDGES)]
        for bridge in bridges:
            bridge.tell("hammer")
        neighbours = [
            stack.enter_context(neighbour(tmp_path, server.url)) for _ in range(NEIGHBOURS)
        ]
        while (missing := REFRESHES - server.state()["refreshes"]) > 0:
            for _ in range(missing):
                said = bridges[0].said()
                assert "tokens" in said, said
        for official in neighbours:
            official.until("refreshed")  # they took their part
        for bridge in bridges:
            bridge.tell("enough")
        summaries = [summary(bridge) for bridge in bridges]
        state = server.state()
        for official in neighbours:
            official.stop()
    assert all("error" not in said for said in summaries), summaries
    assert state["refreshes"] >= REFRESHES
    assert (state["spent_presented"], state["refused"], state["revoked"]) == (0, 0, 0)
    assert watcher.faults == []
    assert watcher.looks > REFRESHES
    assert credential_file(tmp_path).exists()


def summary(bridge: BridgeProcess) -> dict[str, object]:
    """Return the last thing that *bridge* says."""
    while "tokens" in (said := bridge.said()):
        pass
    return said
