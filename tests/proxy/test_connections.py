"""How many connections there may be, and who has to go when there are too many."""

from __future__ import annotations

import os
import resource

import pytest

from bridge.proxy.connections import STRANGERS, Connections, Member
from tests.fakes.clock import FakeClock

OURS = os.geteuid()


class Guest:
    """A connection with a memory: *gone* says that it was broken off."""

    def __init__(
        self, connections: Connections, uid: int | None = OURS, *, asked: bool = False
    ) -> None:
        self.uid = uid
        self.has_asked = asked
        self.visit: object | None = None
        self.gone = False
        connections.add(self)

    def finish(self) -> None:
        """Close."""

    def drop(self) -> bool:
        """Be broken off."""
        self.gone = True
        return False

    def look(self) -> None:
        """Do nothing."""


async def test_the_oldest_that_never_asked_goes_first() -> None:
    """Beyond the number: before those that agents keep for their next request, never a busy one."""
    connections = Connections(FakeClock(), most=4)
    busy, kept, old, new = (Guest(connections) for _ in range(4))
    busy.visit, busy.has_asked, kept.has_asked = object(), True, True
    newest = Guest(connections)
    assert [each.gone for each in (busy, kept, old, new, newest)] == [
        False,
        False,
        True,
        False,
        False,
    ]
    Guest(connections, asked=True)
    Guest(connections, asked=True)
    assert (new.gone, newest.gone, kept.gone) == (True, True, False)
    Guest(connections, asked=True)
    assert (busy.gone, kept.gone) == (False, True)
    assert sum(1 for _ in connections) == 4


async def test_strangers_go_before_anybody_of_ours() -> None:
    """However old ours are, and whether or not they have asked."""
    connections = Connections(FakeClock(), most=3)
    ours, stranger = Guest(connections), Guest(connections, OURS + 1, asked=True)
    unknown = Guest(connections, None)
    Guest(connections)
    assert (ours.gone, stranger.gone, unknown.gone) == (False, True, False)
    Guest(connections)
    assert (ours.gone, unknown.gone) == (False, True)


async def test_where_all_are_busy_the_newcomer_goes() -> None:
    """No answer under way is broken off to let somebody in."""
    connections = Connections(FakeClock(), most=2)
    busy = [Guest(connections), Guest(connections)]
    for each in busy:
        each.visit = object()
    assert Guest(connections).gone
    assert not any(each.gone for each in busy)


async def test_strangers_have_a_number_of_their_own() -> None:
    """They cannot fill the memory; those that are being answered stay."""
    connections = Connections(FakeClock(), most=10_000)
    first = Guest(connections, None)
    first.visit = object()
    ours = Guest(connections)
    crowd = [Guest(connections, OURS + 1) for _ in range(STRANGERS + 9)]
    assert sum(each.gone for each in crowd) == 10
    assert all(each.gone for each in crowd[:10])
    assert not first.gone
    assert not ours.gone


async def test_who_leaves_makes_room() -> None:
    """A connection that is closed counts no longer; with the last one, ``none`` is set."""
    connections = Connections(FakeClock(), most=2)
    for _ in range(5):
        guest: Member = Guest(connections)
        assert not connections.none.is_set()
        connections.remove(guest)
        connections.remove(guest)
    assert connections.none.is_set()
    assert list(connections) == []


@pytest.mark.parametrize(("soft", "most"), [(1024, 480), (400, 168)])
async def test_the_number_comes_from_the_descriptors(soft: int, most: int) -> None:
    """Two for each connection, and some to spare."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
        connections = Connections(FakeClock())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    guests = [Guest(connections) for _ in range(most + 3)]
    assert sum(each.gone for each in guests) == 3
