"""Mixed load in bad weather: no wrong byte, no lost login, nothing that grows.

20 seconds by default; BRIDGE_TEST_FULL=1 takes 30 minutes, as does ``python -m tests.soak``.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest

from tests import verdicts
from tests.fakes.mirror import Order
from tests.proxy.doorway import Answer
from tests.soak.errand import Errand
from tests.soak.host import Keys
from tests.soak.life import LIFETIME, MEBIBYTE, Calm, Life, Report, life

FULL = os.environ.get("BRIDGE_TEST_FULL") == "1"
SECONDS = 1800.0 if FULL else 16.0
ORDER = Order(seed=3, size=900)


@pytest.mark.process
@pytest.mark.timeout(SECONDS + 120)
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel is asked through /proc")
async def test_a_busy_life_in_bad_weather(tmp_path: Path) -> None:
    """Every answer is right or is seen not to be whole, the login lives, and nothing grows."""
    seed = int(os.environ.get("BRIDGE_TEST_SEED", random.randrange(1 << 30)))
    async with life(tmp_path, seed, LIFETIME if FULL else 12.0) as soak:
        report = await soak.lasts(SECONDS, 20.0 if FULL else 4.0)
    assert report.wrong == [], "\n".join(report.lines())
    assert report.verdicts["whole"] > 100, report.lines()
    assert report.server["refreshes"] >= 1
    verdicts.record("soak", f"{SECONDS:.0f} s, seed {seed}", "; ".join(report.lines()[:5]))


def answer(content: bytes = ORDER.content, status: int = 200, **headers: str) -> Answer:
    """Return an answer of a host to the body ``{}``."""
    shown = {"x_request_hash": Keys.__name__, **headers}
    return Answer(status, "OK", [(k.replace("_", "-"), v) for k, v in shown.items()], content)


@pytest.mark.parametrize(
    ("fault", "got", "wrong"),
    [
        ("cut", answer(), "taken for whole"),
        ("", answer(ORDER.content[:-1]), "altered"),
        ("", answer(ORDER.content), "altered"),
        ("", answer(b'{"error": 1}', 502, x_request_hash=""), "told 502"),
        ("cut", answer(b'{"error": 1}', 200, x_request_hash=""), "told 200"),
        ("", answer(b'{"input_tokens": 0}', x_bridge_estimated="true"), "counted"),
    ],
)
def test_the_judge_is_awake(fault: str, got: Answer, wrong: str) -> None:
    """A cut taken for whole, a byte too few, another's request, an error out of nothing: seen."""
    errand = Errand("minimax", ORDER, b"{}", fault)
    assert wrong in errand._judged(got).wrong


async def test_a_strangers_credential_is_known() -> None:
    """The key of today is good, that of a moment ago too, and one that never was is neither."""
    keys = Keys("sk-one")
    keys.become("sk-two")
    judged = [await keys.judge(key) for key in ("sk-two", "sk-one", "sk-other")]
    assert judged == [True, True, None]


def test_growth_is_seen() -> None:
    """A mebibyte in each calm of thirty, or three descriptors, is more than may be."""
    flat = [Calm(float(n), 50 * MEBIBYTE, 20, 8) for n in range(30)]
    growing = [Calm(c.seconds, c.resident + n * MEBIBYTE, 20, 8) for n, c in enumerate(flat)]
    leaking = [Calm(c.seconds, c.resident, 20 + n // 3, 8) for n, c in enumerate(flat)]
    seen = []
    for calms in (flat, growing, leaking):
        observed = Life.__new__(Life)
        observed.report = Report(0, calms=calms)
        seen.append([line.split()[0] for line in observed._grown()])
    assert seen == [[], ["resident"], ["descriptors"]]
