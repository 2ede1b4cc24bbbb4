"""The authorization server does wrong, in every way there is, while a token wants a successor.

As long as the access token lives no agent notices anything. When it is over they are told to come
back, and once the server is well again the next try has a new token: no login is lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

import pytest

from tests.faults.relay import Script
from tests.faults.scene import Scene
from tests.faults.scripts import (
    HTML,
    acts_but_says,
    answer,
    chunked,
    closes_after_hearing,
    drips,
    loses,
    repeats,
    resets_after_hearing,
    resets_at_once,
    says,
)
from tests.faults.test_upstream import BIG, HEAD, SIZED
from tests.faults.verdict import Own, Served, Verdict

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]

#: What agents see when no token is left: "come back", with ``retry-after``.
LATER: Final = Own(503)
STATUSES: Final = (400, 402, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529)
OOPS: Final = json.dumps({"message": "as told"}).encode()
ODD_JSON: Final = {
    "an-array": b'["access_token"]',
    "null": b"null",
    "a-number": b"42",
    "a-string": b'"access_token"',
    "truncated": b'{"access_token": "ACC',
    "deeply-nested": b'{"access_token": ' + b"[" * 100_000,
    "NaN": b'{"access_token": NaN, "expires_in": NaN}',
    "an-empty-object": b"{}",
    "an-empty-token": b'{"access_token": "", "refresh_token": ""}',
    "a-token-of-another-type": b'{"access_token": {"a": 1}, "refresh_token": ["b"]}',
    "a-token-with-a-line-break": b'{"access_token": "a\\r\\nx: y", "refresh_token": "b"}',
    "no-bytes": b"",
    "bad-utf-8": b'{"access_token": "\xff\xfe"}',
    "a-number-of-5000-digits": b'{"expires_in": ' + b"9" * 5000 + b"}",
}

CASES: Final[dict[str, tuple[Script | None, Verdict]]] = {
    "refuses": (None, LATER),
    "RST-at-once": (resets_at_once, LATER),
    "RST-before-the-head": (resets_after_hearing, LATER),
    "FIN-before-the-head": (closes_after_hearing, LATER),
    "RST-in-the-head": (says(HEAD, "RST"), LATER),
    "FIN-in-the-head": (says(HEAD, "FIN"), LATER),
    "RST-after-the-head": (says(SIZED, "RST"), LATER),
    "FIN-after-the-head": (says(SIZED, "FIN"), LATER),
    "RST-in-a-sized-body": (says(SIZED + OOPS, "RST"), LATER),
    "FIN-in-a-sized-body": (says(SIZED + OOPS, "FIN"), LATER),
    "RST-in-a-chunked-body": (says(chunked(OOPS), "RST"), LATER),
    "FIN-in-a-chunked-body": (says(chunked(OOPS), "FIN"), LATER),
    "RST-in-a-body-until-the-end": (says(HEAD + b"\r\n" + OOPS[:9], "RST"), LATER),
    "FIN-in-a-body-until-the-end": (says(HEAD + b"\r\n" + OOPS[:9], "FIN"), LATER),
    "drips-a-byte-at-a-time": (drips(0), Served()),
    **{f"status-{status}": (says(answer(status, OOPS)), LATER) for status in STATUSES},
    "429-retry-after-5": (says(answer(429, OOPS, more=["retry-after: 5"])), LATER),
    "HTML-502": (says(answer(502, HTML, "text/html")), LATER),
    "HTML-200": (says(answer(200, HTML, "text/html")), LATER),
    **{f"JSON-{name}": (says(answer(200, body)), LATER) for name, body in ODD_JSON.items()},
    "length-too-long": (says(answer(200, OOPS).replace(b"h: ", b"h: 1"), "FIN"), LATER),
    "length-too-short": (says(answer(200, OOPS) + OOPS), LATER),
    "length-and-chunks": (
        says(chunked(OOPS, more="content-length: 9\r\n") + b"0\r\n\r\n"),
        LATER,
    ),
    "two-lengths": (says(answer(200, OOPS, more=["content-length: 9"])), LATER),
    "chunk-of-words": (says(chunked(OOPS) + b"many\r\n"), LATER),
    "headers-without-end": (repeats(HEAD, b"x-more: and more\r\n" * 500), LATER),
    "interim-answers-without-end": (
        repeats(b"", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * 100),
        LATER,
    ),
    "body-without-end": (repeats(HEAD + b"\r\n", b"{" * 65536), LATER),
    "another-protocol": (says(b"SSH-2.0-OpenSSH_9.6\r\n"), LATER),
    "10-MiB": (says(answer(200, BIG)), LATER),
    "redirect-to-another-host": (
        says(answer(302, b"", more=["location: https://elsewhere.test/"])),
        LATER,
    ),
    "redirect-of-a-POST": (
        says(answer(307, b"", more=["location: http://127.0.0.1:1/api/oauth/token"])),
        LATER,
    ),
}

#: The server rotates, and its answer does not come: nobody has the new token.
LOST: Final[dict[str, Script]] = {
    "no-byte-RST": loses(0, "RST"),
    "no-byte-FIN": loses(0, "FIN"),
    "half-a-head": loses(20, "RST"),
    "half-a-body-FIN": loses(400, "FIN"),
    "half-a-body-RST": loses(400, "RST"),
    "a-gateway's-502": acts_but_says(answer(502, HTML, "text/html")),
    "a-gateway's-504": acts_but_says(answer(504, HTML, "text/html")),
    "a-200-of-a-portal": acts_but_says(answer(200, HTML, "text/html")),
}


@pytest.fixture(name="scene", scope="module")
def _scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One daemon for all, forty times as fast; its server is stern with who repeats a token."""
    with Scene(tmp_path_factory.mktemp("authorization"), pace=40, stern=True) as scene:
        scene.start()
        yield scene
        scene.ends_well()


@pytest.mark.parametrize("case", CASES)
def test_of_the_authorization_server(scene: Scene, case: str) -> None:
    """Unnoticed while the token lives; then "come back"; then, as soon as may be, a new token."""
    script, verdict = CASES[case]
    scene.suffers("authorization", script)
    tries = scene.log.count("token refresh failed")
    refreshed = scene.log.count("token refreshed")
    scene.logs_in(lives=300)
    Served().looks(scene)
    scene.settles(
        lambda: (
            scene.log.count("token refresh failed") > tries
            or scene.log.count("token refreshed") > refreshed
        ),
        "no refresh came to an end",
    )
    scene.logs_in(lives=-1)
    saw = verdict.looks(scene)
    scene.lets_go("authorization", kept=0)
    seconds = scene.recovers("authorization")
    assert scene.authorization.state()["spent_presented"] == 0
    scene.is_unharmed()
    scene.holds(f"authorization server: {case}", saw, seconds)


def test_a_true_refusal(scene: Scene) -> None:
    """``invalid_grant`` is a verdict: the agent shows where to log in, and a new login counts."""
    refusal = answer(400, b'{"error": "invalid_grant"}')
    scene.suffers("authorization", says(refusal))
    scene.logs_in(lives=-1)
    saw = Own(401, "login needed", again=False).looks(scene)
    scene.relays["authorization"].heals()
    scene.logs_in()
    assert scene.looks().status == 200
    scene.is_unharmed()
    scene.holds("authorization server: invalid_grant", saw)


@pytest.mark.parametrize("case", LOST)
def test_the_answer_is_lost_after_the_rotation(scene: Scene, case: str) -> None:
    """The access token is used up and the refresh token spared, so that no theft is suspected.

    Then one try is refused, and the agent is told where to log in: nothing is left to be saved.
    """
    spent = scene.authorization.state()["spent_presented"]
    tries = scene.log.count("token refresh failed")
    scene.suffers("authorization", LOST[case])
    login = scene.logs_in(lives=300)
    Served().looks(scene)
    scene.settles(lambda: scene.log.count("token refresh failed") > tries, "no refresh ended")
    scene.relays["authorization"].heals()
    for _ in range(20):
        assert scene.looks().status == 200
    assert scene.authorization.state()["spent_presented"] == spent
    assert scene.token()["refresh_token"] == login["refresh_token"]
    scene.logs_in(lives=-1)
    assert scene.looks().status == 200
    scene.is_unharmed()
    scene.holds(f"authorization server: answer lost after the rotation, {case}", "nothing", 0.0)
