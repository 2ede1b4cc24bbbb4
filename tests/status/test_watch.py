"""What is drawn on a terminal that is kept up to date; a real one is in process/test_status.py."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.status.watch import frame


def test_a_frame_draws_over_the_last_one() -> None:
    """From the top, each line to its end, and nothing of what was below is left."""
    assert frame(["a", "b"], 24) == "\x1b[Ha\x1b[K\r\nb\x1b[K\r\nq: quit\x1b[K\x1b[J"


@given(number=st.integers(0, 60), height=st.integers(1, 60))
def test_a_frame_never_scrolls(number: int, height: int) -> None:
    """Whatever does not fit is counted, on the last line there is room for."""
    drawn = frame([f"line {each}" for each in range(number)], height)
    assert drawn.count("\n") <= max(1, height - 1)
    room = max(1, height - 1)
    if number <= room:
        assert "more lines" not in drawn
        assert all(f"line {each}\x1b" in drawn for each in range(number))
    else:
        assert f"… {number - room + 1} more lines" in drawn
