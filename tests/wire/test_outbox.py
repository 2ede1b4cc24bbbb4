"""What goes out when a turn is over."""

from __future__ import annotations

import asyncio

from bridge.wire.outbox import HELD_BYTES, Outbox
from tests.fakes.clock import FakeClock


class Pipe(asyncio.Transport):
    """A transport that remembers what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[object] = []
        self.closing = False

    def write(self, data: object) -> None:
        """Remember *data*."""
        self.told.append(data)

    def writelines(self, list_of_data: object) -> None:
        """Remember the pieces."""
        self.told.append(list_of_data)

    def is_closing(self) -> bool:
        """Say whether it was closed."""
        return self.closing

    def close(self) -> None:
        """Close."""
        self.told.append("closed")
        self.closing = True


async def test_what_is_sent_in_a_turn_goes_out_after_it_in_order() -> None:
    """Nothing at once; then everything, the end of a connection in its place."""
    outbox, clock, one, other = Outbox(), FakeClock(), Pipe(), Pipe()
    outbox.send(one, b"a")
    outbox.send(other, b"b", b"c")
    outbox.send(one, b"d")
    outbox.close(one)
    outbox.send(one, b"too late")
    assert (one.told, other.told) == ([], [])
    await clock.sleep(0)
    assert (one.told, other.told) == ([b"a", b"d", "closed"], [(b"b", b"c")])
    outbox.send(other, b"e")
    await clock.sleep(0)
    assert other.told[1:] == [b"e"]


async def test_what_is_closing_gets_nothing_more() -> None:
    """Whoever has gone is not written to."""
    outbox, clock, pipe = Outbox(), FakeClock(), Pipe()
    outbox.send(pipe, b"a")
    pipe.closing = True
    await clock.sleep(0)
    assert pipe.told == []


async def test_much_goes_out_at_once() -> None:
    """Whoever cannot take it says so before more comes; what waited before goes first."""
    outbox, clock, pipe = Outbox(), FakeClock(), Pipe()
    outbox.send(pipe, b"a")
    outbox.send(pipe, bytes(HELD_BYTES))
    assert pipe.told == [b"a", bytes(HELD_BYTES)]
    outbox.send(pipe, b"b")
    assert len(pipe.told) == 2
    await clock.sleep(0)
    assert pipe.told[2:] == [b"b"]
