"""Targets that try to leave the provider's prefix, or to reach another provider or host."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Final

import pytest

from tests.abuse.siege import Siege, asks, besieged, noted

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]

FULL: Final = os.environ.get("BRIDGE_TEST_FULL") == "1"

#: Forms of a target that only a forward proxy understands, or that are none.
NO_PATHS: Final = (
    *(b"http://evil.example/v1/messages", b"https://api.kimi.com/v1/messages", b"*", b"evil:443"),
    *(b"http://127.0.0.1/kimi/v1/messages", b"kimi/v1/messages", b"?x", b"file:///etc/passwd"),
    *(b"//evil.example@/v1/x#y", b"\\kimi\\v1", b"@evil.example/", b"ftp://evil.example/x"),
)
#: Ways out of a folder, for one or another server.
CLIMBS: Final = (
    *(b"../", b"..%2f", b"%2e%2e/", b"%2e%2e%2f", b".%2e/", b"%2E./", b"..;/", b"..;x=y/"),
    *(b"%252e%252e/", b"%252e%252e%252f", b"%25252e%25252e/", b"..%5c", b"%2e%2e%5c", b"..\\"),
    *(b"..%00/", b"..%3b/", b"..%3f", b"%c0%ae%c0%ae/", b"..%c0%af", b"./", b"%2e/", b"..%09/"),
    *(b"..%0d%0a/", b"%2e%2e%23", b"..%252f", b"%2e%2e;a=b%2f", b"..%0a"),
)
#: Bytes that no target may have, or that end one for somebody.
BYTES: Final = (
    b"\x00",
    b"\x01",
    b"\t",
    b"\x1b[2J",
    b"\x7f",
    b"\x80",
    b"\xe9",
    b"\xff",
    b"#f",
    b"\\",
)


async def refused(siege: Siege, target: bytes, method: bytes = b"POST") -> None:
    """Ask for *target*: it is a 4xx in one answer, and nothing arrives anywhere."""
    before = len(siege.arrived)
    answers = await siege.answers(asks(siege.host, target, method=method))
    assert len(answers) == 1, target
    assert 400 <= answers[0].status < 500, (target, answers)
    assert len(siege.arrived) == before, target


#: The provider's name as somebody might write it who is not meant to reach it.
DISGUISES: Final = (
    *(b"%6dinimax", b"minimax%00", b"MiniMax", b"minimax;x", b"minimax%2f", b"minimax%20"),
    *(b"kimi%2f..%2fminimax", b"minimax.", b"minimax@evil.example", b"minimax:80", b"%2fminimax"),
)


async def test_targets_that_mean_another_place(tmp_path: Path) -> None:
    """Forms of a proxy, dot segments however encoded, bytes that end a text: refused, unsent.

    And only a provider's plain name leads to it.
    """
    async with besieged(tmp_path) as siege:
        for target in NO_PATHS:
            await refused(siege, target)
        await refused(siege, b"*", b"OPTIONS")
        for authority in (b"evil.example:443", siege.host):
            await refused(siege, authority, b"CONNECT")
        await refused(siege, b"/kimi/v1/messages", b"TRACE")
        noted("targets that are no path", f"{len(NO_PATHS) + 4} forms refused, nothing sent")
        targets = [*climbing(), *broken()]
        for target in targets:
            await refused(siege, target)
        noted("dot segments and bytes in a path", f"{len(targets)} targets refused, nothing sent")
        for name in DISGUISES:
            for path in (b"/v1/messages", b"/v1/files", b""):
                assert len(await siege.answers(asks(siege.host, b"/" + name + path))) == 1
        assert siege.witnesses["minimax"].requests == []
        assert siege.witnesses["anthropic"].requests == []
        noted("providers' names in disguise", f"{3 * len(DISGUISES)} targets, none reached minimax")
        (answer,) = await siege.answers(asks(siege.host, b"//minimax//v1//messages"))
        assert answer.status == 200
        assert len(siege.witnesses["minimax"].requests) == 1
        await siege.serves()


def climbing() -> list[bytes]:
    """Return targets that climb out of a folder, from every place of a path."""
    return [
        target
        for climb in CLIMBS
        for target in (
            b"/kimi/" + climb + b"minimax/v1/messages",
            b"/kimi/v1/" + climb * 3 + b"admin",
            b"/" + climb + b"v1/messages",
            b"/minimax/v1/messages/" + climb.rstrip(b"/"),
        )
    ]


def broken() -> list[bytes]:
    """Return targets with a byte that none may have."""
    paths = [b"/kimi/v1/a" + byte + b"b" for byte in BYTES]
    # A backslash means nothing in a query, and stays there.
    return paths + [b"/kimi/v1/messages?q=" + byte for byte in BYTES if byte != b"\\"]


async def test_targets_at_random(tmp_path: Path) -> None:
    """Of any target made of such pieces: at most one request, below the right provider's base."""
    pieces = [
        *CLIMBS,
        *(
            b"/",
            b"//",
            b"kimi",
            b"minimax",
            b"anthropic",
            b"v1",
            b"messages",
            b"models",
            b"..",
            b".",
        ),
        *(
            b"?",
            b"&a=b",
            b"%",
            b";",
            b"@evil.example",
            b":80",
            b"%2f",
            b"%0d%0aX:y",
            b"chat/completions",
        ),
    ]
    seed = 20261121
    chance = random.Random(seed)
    accepted = 0
    async with besieged(tmp_path) as siege:
        for _ in range(20_000 if FULL else 700):
            target = b"/" + b"".join(chance.choices(pieces, k=chance.randrange(1, 9)))
            siege.forgets()
            answers = await siege.answers(asks(siege.host, target))
            arrived = siege.arrived
            assert len(answers) == 1, (seed, target)
            passed = [each for each in answers if each.header(b"x-bridge-provider")]
            assert len(arrived) == len(passed), (seed, target)
            siege.holds()
            for name, _ in arrived:
                first = target.lstrip(b"/").partition(b"?")[0].partition(b"/")[0].decode()
                assert name == (first if first in siege.witnesses else "kimi"), (seed, target)
                accepted += 1
        await siege.serves()
    assert accepted > 20
    noted("random targets", f"seed {seed}: {accepted} accepted, each where it was meant")
