"""The authorization server takes its time, or asks for a lot of ours.

A refresh is never given up before its patience ends, agents wait half a minute at most, and nobody
waits for ever. Here minutes are seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from tests.faults.relay import Script
from tests.faults.scene import FULL, Scene
from tests.faults.scripts import HTML, answer, hears_and_is_silent, repeats, says
from tests.faults.test_authorization import OOPS
from tests.faults.test_upstream import HEAD, SIZED, never_answers
from tests.faults.verdict import Own, Served

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]

#: How much faster than the daemon the relay must be.
PACE: Final = 60.0
#: A byte each half second of the daemon's, for as long as it listens.
SLOWLY: Final = 0.5 / PACE
CASES: Final[dict[str, Script]] = {
    "accepts-and-never-answers": never_answers,
    "hears-and-never-answers": hears_and_is_silent,
    "stalls-in-the-head": says(HEAD, "silence"),
    "stalls-after-the-head": says(SIZED, "silence"),
    "stalls-in-the-body": says(SIZED + OOPS, "silence"),
    "drips-a-head-without-end": repeats(HEAD, b"x-more: and more\r\n", SLOWLY),
    "drips-a-body-without-end": repeats(HEAD + b"\r\n", b" ", SLOWLY),
}


@pytest.fixture(name="scene", scope="module")
def _scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One daemon for all, for whom a minute is a second."""
    with Scene(tmp_path_factory.mktemp("patience"), pace=PACE, stern=True) as scene:
        scene.start()
        yield scene
        scene.ends_well()


@pytest.mark.parametrize("case", CASES)
def test_of_the_authorization_server(scene: Scene, case: str) -> None:
    """Agents are told to come back after 30 s, the answer is waited for, then it counts as lost."""
    scene.suffers("authorization", CASES[case])
    failed = scene.log.count("token refresh failed")
    scene.logs_in(lives=-1)
    saw = Own(503, "more than 30 s").looks(scene)
    scene.settles(
        lambda: scene.log.count("token refresh failed") > failed, "the refresh does not end"
    )
    seconds = scene.recovers("authorization")
    scene.is_unharmed()
    scene.holds(f"authorization server: {case}", saw, seconds)


@pytest.mark.parametrize("case", CASES if FULL else ["hears-and-never-answers"])
def test_it_is_no_matter_while_the_token_lives(scene: Scene, case: str) -> None:
    """Beside a refresh that hangs, requests go on as if nothing were."""
    scene.suffers("authorization", CASES[case])
    failed = scene.log.count("token refresh failed")
    scene.logs_in(lives=300)
    Served().looks(scene)
    scene.settles(
        lambda: scene.log.count("token refresh failed") > failed, "the refresh does not end"
    )
    Served().looks(scene)
    scene.relays["authorization"].heals()
    scene.logs_in(lives=-1)
    Served().looks(scene)
    scene.is_unharmed()


@pytest.mark.parametrize("status", [401, 403])
def test_a_bare_refusal(scene: Scene, status: int) -> None:
    """A 401 or 403 that says nothing of OAuth, as of a captive portal, counts for five minutes."""
    scene.suffers("authorization", says(answer(status, HTML, "text/html")))
    scene.logs_in(lives=-1)
    saw = Own(401, "login needed", again=False).looks(scene)
    seconds = scene.recovers("authorization", within=360)
    scene.is_unharmed()
    scene.holds(f"authorization server: status-{status}", saw, seconds)


def test_it_asks_for_a_year(scene: Scene) -> None:
    """A ``retry-after`` is honoured for five minutes at most."""
    year = answer(503, OOPS, more=["retry-after: 31536000"])
    scene.suffers("authorization", says(year))
    scene.logs_in(lives=-1)
    saw = Own(503).looks(scene)
    seconds = scene.recovers("authorization", within=360)
    scene.is_unharmed()
    scene.holds("authorization server: 503-retry-after-a-year", saw, seconds)
