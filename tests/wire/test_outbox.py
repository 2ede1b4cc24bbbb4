"""What goes out when a turn is over."""

from __future__ import annotations

import asyncio

from bridge.wire.outbox import HELD_BYTES, HURRIED, WORTH, Outbox
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
    assert other.told[1:] == []
    await clock.sleep(0)
    assert other.told[1:] == [b"e"]


async def test_where_little_is_to_do_nothing_is_held_back() -> None:
    """After a turn that gathered nothing pieces go out as they come, until another is tried."""
    outbox, clock, pipe = Outbox(), FakeClock(), Pipe()
    for _ in range(2):
        outbox.send(pipe, b"tried")
        assert pipe.told == []
        await clock.sleep(0)
        for number in range(1, HURRIED + 1):
            outbox.send(pipe, b"hurried")
            assert pipe.told == [b"tried"] + [b"hurried"] * number
        pipe.told.clear()
    for _ in range(3):
        for _ in range(WORTH):
            outbox.send(pipe, b"held")
        assert pipe.told == []
        await clock.sleep(0)
        assert pipe.told == [b"held"] * WORTH
        pipe.told.clear()


async def test_the_end_of_a_connection_is_hurried_too() -> None:
    """Nothing overtakes it, and nothing comes after it."""
    outbox, clock, pipe = Outbox(), FakeClock(), Pipe()
    outbox.send(pipe, b"a")
    await clock.sleep(0)
    outbox.send(pipe, b"b", b"c")
    outbox.close(pipe)
    outbox.send(pipe, b"too late")
    assert pipe.told == [b"a", (b"b", b"c"), "closed"]


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
