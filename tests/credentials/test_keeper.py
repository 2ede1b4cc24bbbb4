"""Refreshing ahead: nobody waits while agents work, and a login left alone does not lapse."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bridge.credentials.keeper import (
    IDLE_NAP_SECONDS,
    IN_USE_SECONDS,
    NAP_SECONDS,
    RENEW_SECONDS,
    Keeper,
)
from bridge.credentials.successor import Successor
from tests.credentials.strongbox import Household, RefusingDisk, at_once, household
from tests.fakes.clock import FakeClock

HOUR = 3600
DAY = 24 * HOUR


class Agents:
    """The agents of the house: when they last asked."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.last: float | None = None

    def ask(self) -> None:
        """Ask now."""
        self.last = self.clock.now()


@contextlib.asynccontextmanager
async def kept(home: Household) -> AsyncIterator[Agents]:
    """Keep the house's token while the block runs; the agents have not asked yet."""
    agents = Agents(home.clock)
    keeper = Keeper(home.source, home.clock, lambda: agents.last)
    task = asyncio.create_task(keeper.keep())
    try:
        yield agents
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def passes(home: Household, seconds: float) -> None:
    """Let *seconds* pass once the keeper naps, and let it finish what it then begins."""
    await home.clock.sleepers()
    home.clock.advance(seconds)
    await home.clock.sleepers()
    await home.source.settle()


@pytest.mark.parametrize("expires_in", [900, 3600, 60])
async def test_hour_of_traffic(tmp_path: Path, clock: FakeClock, expires_in: int) -> None:
    """In an hour of traffic no request waits for a refresh and each leaves with a living token."""
    async with household(tmp_path, clock, expires_in=expires_in) as home, kept(home) as agents:
        step = min(10.0, expires_in / 30)
        for _ in range(int(HOUR / step)):
            agents.ask()
            for _ in range(3):
                assert home.server.valid(at_once(home.source.current()).access)
            await passes(home, step)
        due = HOUR / (expires_in / 2)
        assert due * 0.9 - 1 <= home.server.refreshes <= due + 1
        assert home.server.spent_presented == 0


async def test_hour_of_traffic_beside_a_neighbour(tmp_path: Path, clock: FakeClock) -> None:
    """A neighbour that rotates at its own pace changes nothing: no wait, no 401."""
    async with household(tmp_path, clock) as home, kept(home) as agents:
        for round_ in range(HOUR // 10):
            agents.ask()
            assert home.server.valid(at_once(home.source.current()).access)
            if round_ % 37 == 36:
                home.neighbour_refreshes()
            await passes(home, 10)
        assert home.server.spent_presented == 0


async def test_refreshes_while_requests_stream(tmp_path: Path, clock: FakeClock) -> None:
    """A refresh that takes its time holds up no request in the meantime."""
    async with household(tmp_path, clock) as home, kept(home) as agents:
        agents.ask()
        await clock.sleepers()
        clock.advance(460)
        home.server.hold_after = True
        await home.server.request_arrived()
        for _ in range(100):
            assert home.server.valid(at_once(home.source.current()).access)
        home.server.release()


async def test_idle_login_is_left_alone(tmp_path: Path, clock: FakeClock) -> None:
    """While nobody asks the access token may die; after some days the login is renewed."""
    async with household(tmp_path, clock) as home, kept(home):
        for _ in range(int(RENEW_SECONDS / HOUR)):
            await passes(home, HOUR)
        assert home.server.refreshes == 0
        for _ in range(4):
            await passes(home, IDLE_NAP_SECONDS)
        assert home.server.refreshes == 1
        assert home.credential["expires_at"] == pytest.approx(clock.now() + 900, abs=HOUR)


async def test_idle_login_lives_for_months(tmp_path: Path, clock: FakeClock) -> None:
    """A login left alone for 90 days is renewed every three days, no more and no less."""
    async with household(tmp_path, clock) as home, kept(home):
        for _ in range(90 * 4):
            await passes(home, DAY / 4)
        assert 25 <= home.server.refreshes <= 30


async def test_agents_stop_working(tmp_path: Path, clock: FakeClock) -> None:
    """Half an hour after the last request the keeper no longer refreshes."""
    async with household(tmp_path, clock) as home, kept(home) as agents:
        agents.ask()
        for _ in range(int(IN_USE_SECONDS / NAP_SECONDS)):
            await passes(home, NAP_SECONDS)
        refreshes = home.server.refreshes
        assert refreshes == 3
        for _ in range(50):
            await passes(home, IDLE_NAP_SECONDS)
        assert home.server.refreshes == refreshes


async def test_agents_begin_to_work(tmp_path: Path, clock: FakeClock) -> None:
    """The first request after a long pause fetches its token; from then on it is kept."""
    async with household(tmp_path, clock) as home, kept(home) as agents:
        await passes(home, 5 * HOUR)
        agents.ask()
        assert home.server.valid((await home.source.current()).access)
        for _ in range(60):
            await passes(home, 60)
            agents.ask()
            assert home.server.valid(at_once(home.source.current()).access)


async def test_machine_sleeps(tmp_path: Path, clock: FakeClock) -> None:
    """After a sleep of the machine the keeper finds the dead token at its next look."""
    async with household(tmp_path, clock) as home, kept(home) as agents:
        agents.ask()
        await clock.sleepers()
        clock.jump(1000)
        await passes(home, NAP_SECONDS)
        assert home.server.valid(at_once(home.source.current()).access)


async def test_without_a_login(tmp_path: Path, clock: FakeClock) -> None:
    """Without a login the keeper waits for one, and then keeps it."""
    async with household(tmp_path, clock) as home:
        home.path.unlink()
        async with kept(home) as agents:
            agents.ask()
            for _ in range(5):
                await passes(home, NAP_SECONDS)
            assert home.server.requests == []
            home.logs_in_anew()
            for _ in range(20):
                await passes(home, NAP_SECONDS)
            assert home.server.refreshes == 1


async def test_ended_login_is_not_asked_for(tmp_path: Path, clock: FakeClock) -> None:
    """A login that was refused is left alone until another one is there."""
    async with household(tmp_path, clock) as home, kept(home) as agents:
        home.server.families[0].revoked = True
        agents.ask()
        await clock.sleepers()
        clock.advance(460)
        await home.server.received(1)
        await clock.sleepers(2)
        for _ in range(100):
            agents.ask()
            await passes(home, NAP_SECONDS)
        assert len(home.server.requests) == 1


async def test_server_that_is_down_for_a_while(tmp_path: Path, clock: FakeClock) -> None:
    """A server that is back before the token dies costs nobody anything."""
    async with household(tmp_path, clock) as home, kept(home) as agents:
        await home.server.goes_dark()
        for _ in range(25):
            agents.ask()
            assert at_once(home.source.current()).remaining(clock.now()) > 0
            await clock.sleepers()
            clock.advance(NAP_SECONDS)
        await home.server.comes_back()
        for _ in range(3):
            await passes(home, NAP_SECONDS)
        assert home.server.valid(at_once(home.source.current()).access)
        assert home.server.refreshes >= 1


async def test_unsaved_token_is_saved(tmp_path: Path, clock: FakeClock) -> None:
    """A token that the disk refused is in the file at the next look after the disk is well."""
    async with household(tmp_path, clock, store_type=RefusingDisk) as home, kept(home) as agents:
        agents.ask()
        home.disk.refusing = True
        await passes(home, 460)
        token = at_once(home.source.current())
        assert home.credential["access_token"] != token.access
        home.disk.refusing = False
        clock.advance(NAP_SECONDS)
        await clock.sleepers()
        assert home.credential == token.document()


async def test_crash_before_is_mended_first(tmp_path: Path, clock: FakeClock) -> None:
    """What a crash left unrenamed is in place before the keeper's first nap."""
    async with household(tmp_path, clock) as home:
        held = home.store.read()
        assert held is not None
        new = held.token.succeeded_by({"access_token": "a2", "refresh_token": "r2"}, clock.now())
        successor = Successor.reserve(home.path, held.token)
        successor.write(new)
        successor.close()
        async with kept(home):
            await clock.sleepers()
        assert home.credential == new.document()


async def test_keeper_that_is_cancelled_harms_nothing(tmp_path: Path, clock: FakeClock) -> None:
    """Cancelling the keeper leaves a refresh under way to its end."""
    async with household(tmp_path, clock) as home:
        old = home.credential["refresh_token"]
        async with kept(home) as agents:
            agents.ask()
            await clock.sleepers()
            home.server.hold_after = True
            clock.advance(460)
            await home.server.request_arrived()
        home.server.release()
        await home.source.settle()
        assert home.credential["refresh_token"] != old


async def test_says_when_it_refreshes_next(tmp_path: Path, clock: FakeClock) -> None:
    """While agents work the next refresh is foretold, and happens then; idle it waits for one."""
    async with household(tmp_path, clock) as home, kept(home) as agents:
        await passes(home, 1)
        assert home.source.condition().next_refresh_at is None
        agents.ask()
        await passes(home, IDLE_NAP_SECONDS)
        planned = home.source.condition().next_refresh_at
        assert planned == home.credential["expires_at"] - 450
        while not home.server.refreshes:
            agents.ask()
            await passes(home, 1)
        assert clock.now() == pytest.approx(planned, abs=2)
        clock.advance(IN_USE_SECONDS)
        await passes(home, NAP_SECONDS)
        assert home.source.condition().next_refresh_at is None


async def test_warns_of_the_end(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A login that cannot be renewed for weeks is told of once a day, and not before its time."""
    async with household(tmp_path, clock) as home:
        keeper = Keeper(home.source, clock, lambda: None)
        told = []
        for days in (24, 1.5, 0.5, 0.6, 0.3):
            clock.advance(days * DAY)
            home.server.next_answer(503, b"", {"Retry-After": "60"})
            keeper.step()
            await home.source.settle()
            told.append([line for line in caplog.messages if "login ends soon" in line])
            caplog.clear()
        line = "login ends soon provider=kimi days={}: run: bridge login"
        assert told == [[], [line.format(4.5)], [], [line.format(3.4)], []]
