"""The provider does wrong, in every way there is; what an agent sees of it is in the table.

After each fault the daemon lives, the next request is served, and nothing is held any more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

import pytest

from tests.faults.relay import Line, Script
from tests.faults.scene import Scene
from tests.faults.scripts import (
    EVENT,
    HTML,
    answer,
    chunked,
    closes_after_hearing,
    drips,
    hears_and_is_silent,
    keeps_saying,
    refuses_early,
    repeats,
    resets_after_hearing,
    resets_at_once,
    says,
    serves_once,
)
from tests.faults.verdict import Cut, Own, Passes, Served, Verdict

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]

MEBIBYTE: Final = 1 << 20
BIG: Final = bytes(range(256)) * (10 * MEBIBYTE // 256)
OOPS: Final = json.dumps(
    {"type": "error", "error": {"type": "told", "message": "as told"}}
).encode()
STATUSES: Final = (400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529)
ODD_JSON: Final = {
    "an-array": b"[1, 2]",
    "null": b"null",
    "a-number": b"42",
    "truncated": b'{"id": "msg_1", "content": [{"ty',
    "deeply-nested": b"[" * 200_000,
    "NaN": b'{"usage": NaN}',
    "no-bytes": b"",
    "bad-utf-8": b'{"id": "\xff\xfe"}',
}
HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
SIZED: Final = HEAD + b"content-length: 1000\r\n\r\n"
BODY: Final = EVENT * 3


async def never_answers(line: Line) -> None:
    """Accept, and take nothing."""
    await line.holds()


CASES: Final[dict[str, tuple[Script | None, Verdict]]] = {
    "refuses": (None, Own(502, "refused")),
    "accepts-and-never-answers": (never_answers, Own(504, "did not begin to answer")),
    "hears-and-never-answers": (hears_and_is_silent, Own(504, "did not begin to answer")),
    "RST-at-once": (resets_at_once, Own(502)),
    "RST-before-the-head": (resets_after_hearing, Own(502, "closed the connection")),
    "FIN-before-the-head": (closes_after_hearing, Own(502, "closed the connection")),
    "RST-in-the-head": (says(HEAD, "RST"), Own(502)),
    "FIN-in-the-head": (says(HEAD, "FIN"), Own(502)),
    "RST-after-the-head": (says(SIZED, "RST"), Cut()),
    "FIN-after-the-head": (says(SIZED, "FIN"), Cut()),
    "RST-in-a-sized-body": (says(SIZED + BODY, "RST"), Cut(BODY)),
    "FIN-in-a-sized-body": (says(SIZED + BODY, "FIN"), Cut(BODY)),
    "RST-in-a-chunked-body": (says(chunked(BODY), "RST"), Cut(BODY)),
    "FIN-in-a-chunked-body": (says(chunked(BODY), "FIN"), Cut(BODY)),
    "FIN-in-a-chunk": (says(chunked(BODY)[:-7], "FIN"), Cut(BODY[:-5])),
    "FIN-before-the-last-chunk-ends": (says(chunked(BODY) + b"0\r\n", "FIN"), Cut(BODY)),
    "RST-in-a-body-until-the-end": (says(HEAD + b"\r\n" + BODY, "RST"), Cut(BODY)),
    "stalls-in-the-head": (says(HEAD, "silence"), Own(504)),
    "stalls-after-the-head": (says(SIZED, "silence"), Cut()),
    "stalls-in-the-body": (says(chunked(BODY), "silence"), Cut(BODY)),
    "drips-a-byte-at-a-time": (drips(0.0005), Served()),
    **{
        f"status-{status}": (
            keeps_saying(answer(status, OOPS, more=["retry-after: 7"])),
            Passes(status, OOPS),
        )
        for status in STATUSES
    },
    "HTML-502": (keeps_saying(answer(502, HTML, "text/html")), Passes(502, HTML)),
    "HTML-200": (keeps_saying(answer(200, HTML, "text/html")), Passes(200, HTML)),
    **{
        f"JSON-{name}": (keeps_saying(answer(200, body)), Passes(200, body))
        for name, body in ODD_JSON.items()
    },
    "length-too-long": (says(answer(200, BODY).replace(b"h: ", b"h: 1"), "FIN"), Cut(BODY)),
    "length-too-short": (
        keeps_saying(answer(200, BODY) + b"and more than was announced"),
        Passes(200, BODY),
    ),
    "a-second-answer-unasked": (keeps_saying(answer(200, BODY) * 2), Passes(200, BODY)),
    "length-and-chunks": (
        says(chunked(BODY, more="content-length: 9\r\n") + b"0\r\n\r\n"),
        Own(502, "not HTTP"),
    ),
    "two-lengths": (says(answer(200, BODY, more=["content-length: 9"])), Own(502, "not HTTP")),
    "length-of-words": (says(HEAD + b"content-length: many\r\n\r\n"), Own(502, "not HTTP")),
    "length-negative": (says(HEAD + b"content-length: -1\r\n\r\n"), Own(502, "not HTTP")),
    "length-beyond-all": (says(HEAD + b"content-length: 99999999999999999999\r\n\r\n"), Own(502)),
    "chunk-of-words": (says(chunked(BODY) + b"many\r\n"), Cut(BODY, may_be_told=True)),
    "chunk-beyond-all": (says(chunked(BODY) + b"f" * 40), Cut(BODY, may_be_told=True)),
    "chunk-longer-than-said": (
        says(chunked() + b"3\r\nmore\r\n0\r\n\r\n"),
        Cut(b"mor", may_be_told=True),
    ),
    "headers-without-end": (repeats(HEAD, b"x-more: and more\r\n" * 500), Own(502, "not HTTP")),
    "a-header-without-end": (repeats(HEAD + b"x-more: ", b"y" * 9000), Own(502, "not HTTP")),
    "interim-answers-without-end": (
        repeats(b"", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * 100),
        Own(502, "not HTTP"),
    ),
    "trailers-without-end": (
        repeats(chunked(BODY) + b"0\r\n", b"x-more: and more\r\n" * 500),
        Cut(BODY),
    ),
    "another-protocol": (says(b"SSH-2.0-OpenSSH_9.6\r\n"), Own(502, "not HTTP")),
    "binary-noise": (says(bytes(range(256)) * 8), Own(502, "not HTTP")),
    "switches-protocols": (
        says(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
        Own(502, "not HTTP"),
    ),
    "gzip-transfer-coding": (
        says(HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        Own(502, "not HTTP"),
    ),
    "10-MiB-sized": (keeps_saying(answer(200, BIG)), Passes(200, BIG)),
    "10-MiB-chunked": (keeps_saying(chunked(BIG) + b"0\r\n\r\n"), Passes(200, BIG)),
    "10-MiB-until-the-end": (says(answer(200, BIG, sized=False)), Passes(200, BIG)),
    "redirect-to-another-host": (
        keeps_saying(answer(302, b"", more=["location: https://elsewhere.test/"])),
        Own(502, "redirect", again=False),
    ),
    "redirect-at-home": (
        keeps_saying(answer(307, b"", more=["location: /coding/v2/messages"])),
        Passes(307, b""),
    ),
}


@pytest.fixture(name="scene", scope="module")
def _scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One daemon for all: ten times as fast, and patient with a silence for one second."""
    with Scene(tmp_path_factory.mktemp("upstream"), pace=10) as scene:
        scene.configure("[server]\nidle_seconds = 10\n")
        scene.start()
        yield scene
        scene.ends_well()


@pytest.mark.parametrize("case", CASES)
def test_of_the_upstream(scene: Scene, case: str) -> None:
    """Each client sees an error that helps, the very answer, or a reset; then all is well."""
    script, verdict = CASES[case]
    scene.logs_in()
    scene.suffers("upstream", script)
    saw = verdict.looks(scene)
    scene.lets_go("upstream", kept=1 if isinstance(verdict, Passes | Served) else 0)
    seconds = scene.recovers("upstream")
    scene.is_unharmed()
    scene.holds(f"upstream: {case}", saw, seconds)


@pytest.mark.parametrize("farewell", ["FIN", "RST"])
def test_a_kept_connection_is_closed_while_idle(scene: Scene, farewell: str) -> None:
    """Nobody sees anything of it."""
    assert scene.looks().status == 200
    scene.relays["upstream"].drops_idle(reset=farewell == "RST")
    saw = Served().looks(scene)
    scene.is_unharmed()
    scene.holds(f"upstream: {farewell}-on-an-idle-connection", saw, 0.0)


@pytest.mark.parametrize("farewell", ["FIN", "RST"])
@pytest.mark.parametrize("surface", ["anthropic", "openai", "count", "models"])
def test_a_kept_connection_is_closed_under_a_request(
    scene: Scene, surface: str, farewell: str
) -> None:
    """What may cost money is left to the client, and what changes nothing is asked once more."""
    scene.suffers("upstream", serves_once(farewell, on_request=True))  # type: ignore[arg-type]
    assert scene.looks(surface).content == b'{"served": "once"}'
    accepted = scene.relays["upstream"].accepted
    sight = scene.looks(surface)
    asked = scene.relays["upstream"].accepted - accepted
    if surface in {"anthropic", "openai"}:
        Own(502, "closed the connection").check(sight, surface)
        assert asked == 0
    else:
        assert (sight.status, asked) == (200, 1)
    seconds = scene.recovers("upstream")
    scene.is_unharmed()
    saw = "502, may be tried again" if sight.status == 502 else "nothing: a whole answer"
    scene.holds(f"upstream: {farewell}-under-a-request ({surface})", saw, seconds)


def test_an_answer_before_the_request_is_read(scene: Scene) -> None:
    """An upstream that has seen enough of a large request is heard, and not waited for."""
    scene.suffers("upstream", refuses_early(answer(413, OOPS)))
    sight = scene.looks(padding=8 * MEBIBYTE)
    assert (sight.status, sight.content, sight.end) == (413, OOPS, "whole")
    seconds = scene.recovers("upstream")
    scene.is_unharmed()
    scene.holds("upstream: answers-before-it-has-read", "413 as it came", seconds)
