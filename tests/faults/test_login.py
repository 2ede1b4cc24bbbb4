"""There is no login, and the authorization server cannot begin one: the agent is told what to do.

Once the server is well the next error has page and code in it, and what is approved counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import pytest

from tests.faults.relay import Script
from tests.faults.scene import FULL, Scene
from tests.faults.scripts import HTML, answer, hears_and_is_silent, resets_after_hearing, says
from tests.faults.test_authorization import ODD_JSON, OOPS
from tests.faults.test_upstream import HEAD, never_answers
from tests.faults.verdict import Own

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]

_SOME: Final = ODD_JSON if FULL else ("an-array", "an-empty-object", "deeply-nested")
CASES: Final[dict[str, Script | None]] = {
    "refuses": None,
    "accepts-and-never-answers": never_answers,
    "hears-and-never-answers": hears_and_is_silent,
    "stalls-in-the-head": says(HEAD, "silence"),
    "RST-before-the-head": resets_after_hearing,
    "status-403": says(answer(403, OOPS)),
    "status-429": says(answer(429, OOPS)),
    "status-500": says(answer(500, OOPS)),
    "HTML-200": says(answer(200, HTML, "text/html")),
    **{f"JSON-{name}": says(answer(200, ODD_JSON[name])) for name in _SOME},
}
#: Without a code the command is named alone.
ALONE: Final = Own(401, "login needed: run: bridge login", again=False)
CODE: Final = re.compile(r"open (\S+) and enter (\S+), or run: bridge login")


@pytest.fixture(name="scene", scope="module")
def _scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One daemon for all, forty times as fast."""
    with Scene(tmp_path_factory.mktemp("login"), pace=40) as scene:
        scene.start()
        yield scene
        scene.ends_well()


def _message(scene: Scene) -> str:
    """Return what the error says that a request gets now."""
    return str(scene.looks().document["error"]["message"])


@pytest.mark.parametrize("case", CASES)
def test_no_login_can_be_begun(scene: Scene, case: str) -> None:
    """The command is named at once; then the code is; then the login counts."""
    scene.suffers("authorization", CASES[case])
    scene.logs_in()
    scene.credential.unlink()
    saw = ALONE.looks(scene)
    scene.relays["authorization"].heals()
    scene.settles(lambda: CODE.search(_message(scene)), "no code comes")
    code = CODE.search(_message(scene))
    assert code is not None
    scene.authorization.ask("approve", user_code=code.group(2))
    seconds = scene.recovers()
    scene.is_unharmed()
    scene.holds(f"authorization server: {case}, at a login", saw, seconds)
