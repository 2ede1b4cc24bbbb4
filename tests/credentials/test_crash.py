"""kill -9 at each step of a refresh: what is in the file, and what the next start makes of it."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.clock import SystemClock
from tests.credentials.program import BridgeProcess
from tests.fakes.authorization import AuthorizationProcess
from tests.fakes.credential import credential_file, write_credential
from tests.fakes.neighbour import Neighbour

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]

#: Seconds by which a process is ahead for which a refresh is due, or the token about to end.
DUE, ENDING = 460, 860
#: What is said of a login about which there is nothing to say, and of the refresh that was killed.
WELL = {"ready": True, "problem": None, "note": None, "failure": None}
CUT = "it was cut short (power cut or kill)"
MAY_BE_SPENT = (
    r"^a refresh begun at [-\d: ]{8,19} was cut short: its refresh token may have been spent; "
    r"if the next refresh is refused, run: bridge login$"
)
WAS_SPENT = (
    r"^the refresh token was most likely spent by a refresh that was cut short at [-\d: ]{8,19} "
    r"\(power cut or kill\), not by a logout elsewhere: run: bridge login$"
)


class Scene:
    """A login that is about to be refreshed, by a bridge that will not live to see it."""

    def __init__(self, share_dir: Path, server: AuthorizationProcess) -> None:
        self.share_dir = share_dir
        self.server = server
        self.path = credential_file(share_dir)
        write_credential(share_dir, server.seed(), SystemClock().now())
        self.before = self.held()

    def held(self) -> dict[str, Any]:
        """Return what the file holds, which is always whole and private."""
        assert stat.S_IMODE(self.path.stat().st_mode) == 0o600
        document: dict[str, Any] = json.loads(self.path.read_bytes())
        assert {"access_token", "refresh_token", "expires_at"} <= set(document)
        return document

    def dies_at(self, step: str) -> None:
        """Let a bridge refresh, and kill it at *step* of its own."""
        with BridgeProcess(self.share_dir, self.server.url, ahead=DUE, step=step) as bridge:
            bridge.tell("current")
            assert bridge.stopped()
            bridge.dies()

    def dies_while_the_server(self, **holding: object) -> None:
        """Let a bridge refresh, and kill it while the server holds its request."""
        self.server.set(**holding)
        with BridgeProcess(self.share_dir, self.server.url, ahead=DUE) as bridge:
            bridge.tell("current")
            self.server.ask("arrived")
            bridge.dies()
        self.server.ask("release")

    def starts_again(self, ahead: float) -> dict[str, Any]:
        """Return what a bridge that starts now gives to its first request."""
        with BridgeProcess(self.share_dir, self.server.url, ahead=ahead) as bridge:
            return bridge.does("current")

    def says(self, ahead: float, command: str = "start") -> dict[str, Any]:
        """Return the condition that a bridge finds which starts now."""
        with BridgeProcess(self.share_dir, self.server.url, ahead=ahead) as bridge:
            return bridge.does(command)

    def ends(self, ahead: float) -> dict[str, Any]:
        """Return the condition of a bridge that starts now, and whose first request is refused."""
        with BridgeProcess(self.share_dir, self.server.url, ahead=ahead) as bridge:
            ended = bridge.does("current")
            assert (ended["error"], "bridge login" in ended["text"]) == ("RefreshRefused", True)
            return bridge.does("tell")

    def neighbour_turns(self) -> dict[str, int]:
        """Let the official CLI take its turn, and return what it did."""
        with Neighbour(self.share_dir, self.server.url, force=True) as neighbour:
            return neighbour.wait()

    @property
    def beside(self) -> int:
        """How many files lie beside the credential and its lock."""
        return len({p.name for p in self.path.parent.iterdir()} - {self.path.name}) - (
            1 if self.path.with_suffix(".lock").exists() else 0
        )

    @property
    def journal(self) -> bytes:
        """What the journal holds, which is private and names no token."""
        path = self.share_dir / "state" / "journal"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        content = path.read_bytes()
        for value in (self.before["refresh_token"], self.held()["refresh_token"]):
            assert value[:8].encode() not in content
        return content


@pytest.fixture(name="scene", params=[False, True], ids=["lenient", "stern"])
def _scene(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Scene]:
    """The scene, before a server that refuses reuse, or one that ends the login for it."""
    with AuthorizationProcess(stern=request.param) as server:
        yield Scene(tmp_path, server)


@pytest.mark.parametrize("step", ["before the lock", "lock held"])
def test_killed_before_anything_was_done(scene: Scene, step: str) -> None:
    """The file is as it was, the kernel frees the lock, and the next start refreshes."""
    scene.dies_at(step)
    assert scene.held() == scene.before
    assert scene.beside == 0
    assert scene.says(0) == WELL
    assert scene.starts_again(DUE) == {"access": scene.before["access_token"]}
    assert scene.held()["refresh_token"] != scene.before["refresh_token"]
    state = scene.server.state()
    assert (state["refreshes"], state["spent_presented"], state["revoked"]) == (1, 0, 0)


@pytest.mark.parametrize("step", ["room reserved", "begin noted"])
def test_killed_before_anything_was_sent(scene: Scene, step: str) -> None:
    """Nothing was sent, which nobody knows: the token is spared while it lives, and then works."""
    scene.dies_at(step)
    assert scene.held() == scene.before
    assert re.search(MAY_BE_SPENT, scene.says(0)["note"])
    assert scene.starts_again(DUE) == {"access": scene.before["access_token"]}
    assert scene.server.state()["refreshes"] == 0
    scene.starts_again(ENDING)
    assert scene.held()["refresh_token"] != scene.before["refresh_token"]
    assert scene.beside == 0
    assert scene.says(0)["note"] is None
    state = scene.server.state()
    assert (state["refreshes"], state["spent_presented"], state["revoked"]) == (1, 0, 0)


def test_killed_and_the_room_is_gone(scene: Scene) -> None:
    """What the journal knows counts, though the leftover beside the credential did not survive."""
    scene.dies_at("begin noted")
    for leftover in scene.path.parent.glob(".*.tmp"):
        leftover.unlink()
    assert re.search(MAY_BE_SPENT, scene.says(0)["note"])
    assert scene.starts_again(DUE) == {"access": scene.before["access_token"]}
    assert scene.server.state()["refreshes"] == 0


def test_killed_and_the_journal_is_gone(scene: Scene) -> None:
    """Without the journal the leftover beside the credential says enough to spare the token."""
    scene.dies_at("begin noted")
    (scene.share_dir / "state" / "journal").unlink()
    assert scene.starts_again(DUE) == {"access": scene.before["access_token"]}
    assert scene.server.state()["refreshes"] == 0
    assert re.search(MAY_BE_SPENT, scene.says(0)["note"])


def test_killed_while_the_request_was_on_its_way(scene: Scene) -> None:
    """The server did nothing, which nobody knows: as with the room reserved, nothing is lost."""
    scene.dies_while_the_server(hold_before=1, lose=1, loses_before=1)
    assert scene.held() == scene.before
    assert re.search(MAY_BE_SPENT, scene.says(0)["note"])
    assert scene.starts_again(DUE) == {"access": scene.before["access_token"]}
    assert scene.server.state()["refreshes"] == 0
    scene.starts_again(ENDING)
    assert scene.held()["refresh_token"] != scene.before["refresh_token"]
    state = scene.server.state()
    assert (state["refreshes"], state["spent_presented"], state["revoked"]) == (1, 0, 0)


@pytest.mark.parametrize("step", ["before rotation", "after rotation", "answer received"])
def test_killed_with_the_new_token_nowhere(scene: Scene, step: str) -> None:
    """The only copy of the new token is gone: the old is used up, then a login is asked for."""
    if step == "answer received":
        scene.dies_at(step)
    else:
        scene.dies_while_the_server(**{f"hold_{step.removesuffix(' rotation')}": 1})
    assert scene.held() == scene.before
    assert scene.starts_again(DUE) == {"access": scene.before["access_token"]}
    assert scene.server.state()["spent_presented"] == 0
    assert scene.starts_again(ENDING) == {"access": scene.before["access_token"]}
    assert scene.server.state()["spent_presented"] == 1
    ended = scene.ends(ENDING + 60)
    assert re.search(WAS_SPENT, ended["note"])
    assert ended["problem"] == "the login has ended: run: bridge login"
    assert re.search(WAS_SPENT, scene.says(0)["note"])
    assert scene.held() == scene.before
    assert scene.journal
    write_credential(scene.share_dir, scene.server.seed(), SystemClock().now())
    assert scene.starts_again(0) == {"access": scene.held()["access_token"]}


def test_killed_between_writing_and_renaming(scene: Scene) -> None:
    """The successor is on disk: the next start puts it in its place, and nobody is asked."""
    scene.dies_at("written")
    assert scene.held() == scene.before
    assert scene.beside == 1
    assert scene.says(0) == {**WELL, "failure": CUT}
    scene.starts_again(DUE)
    assert scene.held()["refresh_token"] != scene.before["refresh_token"]
    assert scene.beside == 0
    state = scene.server.state()
    assert (state["refreshes"], state["spent_presented"], state["revoked"]) == (1, 0, 0)
    assert scene.neighbour_turns() == {"refreshed": 1}


@pytest.mark.parametrize("step", ["renamed", "end noted"])
def test_killed_after_renaming(scene: Scene, step: str) -> None:
    """The new token is in the file, for the next start and for the neighbour."""
    scene.dies_at(step)
    after = scene.held()
    assert after["refresh_token"] != scene.before["refresh_token"]
    assert scene.beside == 0
    assert scene.says(0) == {**WELL, "failure": None if step == "end noted" else CUT}
    assert scene.starts_again(0) == {"access": after["access_token"]}
    assert scene.neighbour_turns() == {"refreshed": 1}
    state = scene.server.state()
    assert (state["refreshes"], state["spent_presented"], state["revoked"]) == (2, 0, 0)
