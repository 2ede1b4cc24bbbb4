"""What is said of a request."""

from __future__ import annotations

import pytest

from bridge.proxy.head import Head
from bridge.proxy.tally import Outcome, Tally
from bridge.proxy.trace import Trace
from tests.fakes.clock import FakeClock


def test_a_line_tells_when_and_how_much() -> None:
    """Times since the request came; of the target only the path, and nothing of a header."""
    clock = FakeClock()
    head = Head("POST", "/kimi/v1/messages?key=secret", [("x-api-key", "secret")])
    trace = Trace(clock, "feed-1", head)
    assert trace.words(0) == (
        "id=feed-1 provider=- method=POST path=/kimi/v1/messages status=- bytes=0 "
        "head_ms=0.0 total_ms=0.0 added_ms=0.00"
    )
    trace.provider = "kimi"
    clock.advance(0.125)
    trace.received()
    clock.advance(0.025)
    trace.asked()
    clock.advance(0.0975)
    heard = clock.monotonic()
    clock.advance(0.0025)
    trace.answered(200, heard)
    clock.advance(1)
    assert trace.words(5).endswith("bytes=5 head_ms=250.0 total_ms=1250.0 added_ms=27.50")
    trace.ended()
    clock.advance(1)
    assert trace.words(7) == (
        "id=feed-1 provider=kimi method=POST path=/kimi/v1/messages status=200 bytes=7 "
        "head_ms=250.0 total_ms=1250.0 added_ms=27.50"
    )


def test_an_answer_of_our_own_is_all_our_doing() -> None:
    """Nobody else was asked, so all of its time was added."""
    clock = FakeClock()
    trace, tally = Trace(clock, "feed-1", Head("POST", "/")), Tally()
    trace.provider = "kimi"
    clock.advance(0.02)
    trace.answered(200)
    assert trace.added == pytest.approx(0.02)
    trace.count(tally, Outcome.ANSWERED, 7)
    assert tally.providers["kimi"].ended == {(Outcome.ANSWERED, 200): 1}
    assert tally.added.total == trace.added
    trace.count(tally, Outcome.CUT, 5, "closed")
    assert (tally.last_error, tally.last_error_at) == ("kimi: closed", clock.now())
    assert (tally.sent, tally.added.total) == (12, trace.added)


def test_a_path_cannot_break_the_line() -> None:
    """It is cut, and what is no ASCII is written out."""
    trace = Trace(FakeClock(), "1", Head("GET", "/\u00fc" + "a" * 500))
    (path,) = [word for word in trace.words(0).split() if word.startswith("path=")]
    assert path == "path=/\\xfc" + "a" * 198
