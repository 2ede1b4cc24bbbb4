"""What is put off until the bytes are out."""

from __future__ import annotations

from bridge.proxy.ledger import Ledger
from tests.fakes.clock import FakeClock


async def test_entries_are_called_after_the_turn_in_order() -> None:
    """Nothing happens at once; at the next turn everything does, and then it begins anew."""
    ledger, clock, seen = Ledger(), FakeClock(), list[int]()
    for number in range(3):
        ledger.enter(lambda number=number: seen.append(number))  # type: ignore[misc]
    assert seen == []
    await clock.sleep(0)
    assert seen == [0, 1, 2]
    ledger.enter(lambda: seen.append(3))
    await clock.sleep(0)
    assert seen == [0, 1, 2, 3]
