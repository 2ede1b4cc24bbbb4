"""No bytes break a promise: of framing, files, answers, configuration, targets, log lines.

BRIDGE_TEST_FULL=1 tries a hundred times as many; ``python -m tests.fuzz`` looks for more, guided by
coverage.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import verdicts
from tests.fuzz.mutation import mutated
from tests.fuzz.targets import SEEDS, Target, requests

TRIES = 20_000 if os.environ.get("BRIDGE_TEST_FULL") == "1" else 200


@pytest.mark.timeout(900 if TRIES > 1000 else 120)
@pytest.mark.parametrize("target", SEEDS, ids=lambda target: target.__name__)
def test_no_bytes_break_a_promise(target: Target) -> None:
    """Whatever comes, the promise in the target's docstring holds, and nothing crashes."""

    @settings(
        max_examples=TRIES, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    @given(st.one_of(st.binary(max_size=300), mutated(SEEDS[target])))
    def holds(data: bytes) -> None:
        target(data)

    for seed in SEEDS[target]:
        target(seed)
    holds()
    saw = f"{TRIES} inputs: {(target.__doc__ or '').splitlines()[0]}"
    verdicts.record("fuzz", target.__name__.replace("_", " "), saw)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    ],
)
def test_two_parsers_see_the_same(data: bytes) -> None:
    """What h11 finds is not nothing: the comparison compares."""
    requests(data)
    changed = data.replace(b"Host: a", b"Host: a\r\nContent-Length: 1", 1)
    requests(changed + b"x")
