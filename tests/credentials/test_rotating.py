"""A token that works, for every request: what is waited for, what is spared, what is said."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

import pytest

from bridge.credentials.refresh import LEAVING_SECONDS
from bridge.credentials.restraint import COOL_DOWN, FORCED_INTERVAL
from bridge.credentials.rotating import WAIT_SECONDS
from bridge.credentials.source import Condition
from bridge.credentials.store import Store
from bridge.credentials.successor import Successor
from bridge.errors import (
    AuthorizationServerError,
    CredentialBusy,
    CredentialUnreadable,
    LoginRequired,
)
from bridge.oauth.token import Token
from tests.credentials.strongbox import Household, RefusingDisk, at_once, household
from tests.fakes.clock import FakeClock
from tests.fakes.credential import write_credential

#: Seconds after which a token of 15 minutes is due for a refresh, about to end, and over.
STALE, URGENT, OVER = 451, 841, 901
DAY = 86400.0


async def refused(home: Household) -> None:
    """Let the server refuse the login, and the bridge learn of it."""
    home.server.families[-1].revoked = True
    home.source.refresh_if_due()
    await home.clock.sleepers()
    home.clock.advance(1)
    await home.source.settle()


# --- steady state


async def test_fresh_token_costs_nothing(tmp_path: Path, clock: FakeClock) -> None:
    """A fresh token is returned at once, with no lock taken and nobody asked."""
    async with household(tmp_path, clock) as home:
        for _ in range(3):
            assert at_once(home.source.current()).document() == home.credential
        assert home.server.requests == []
        assert not home.store.lock_path.exists()


async def test_stale_token_is_used_while_it_is_refreshed(tmp_path: Path, clock: FakeClock) -> None:
    """Inside the margin no request waits: it gets the living token, and the next the new one."""
    async with household(tmp_path, clock) as home:
        old = home.credential["access_token"]
        clock.advance(STALE)
        assert at_once(home.source.current()).access == old
        assert at_once(home.source.current()).access == old
        await home.source.settle()
        new = at_once(home.source.current())
        assert new.access == home.credential["access_token"] != old
        assert home.server.refreshes == 1


async def test_token_about_to_end_is_waited_for(tmp_path: Path, clock: FakeClock) -> None:
    """With less than a minute left a request waits for the new token."""
    async with household(tmp_path, clock) as home:
        clock.advance(URGENT)
        token = await home.source.current()
        assert token.document() == home.credential
        assert token.remaining(clock.now()) == 900


async def test_hundred_callers_one_refresh(tmp_path: Path, clock: FakeClock) -> None:
    """A hundred requests that need a new token at once cost one refresh and get the same one."""
    async with household(tmp_path, clock) as home:
        clock.advance(OVER)
        home.server.hold_before = True
        callers = [asyncio.create_task(home.source.current()) for _ in range(100)]
        await home.server.request_arrived()
        home.server.release()
        tokens = await asyncio.gather(*callers)
        assert {t.access for t in tokens} == {home.credential["access_token"]}
        assert len(home.server.requests) == 1


async def test_who_hangs_up_cancels_nothing(tmp_path: Path, clock: FakeClock) -> None:
    """Every caller may be cancelled: the refresh goes on, and its token reaches the file."""
    async with household(tmp_path, clock) as home:
        old = home.credential
        clock.advance(OVER)
        home.server.hold_after = True
        callers = [asyncio.create_task(home.source.current()) for _ in range(3)]
        await home.server.request_arrived()
        for caller in callers:
            caller.cancel()
        assert all(
            isinstance(outcome, asyncio.CancelledError)
            for outcome in await asyncio.gather(*callers, return_exceptions=True)
        )
        home.server.release()
        await home.source.settle()
        assert home.credential["refresh_token"] != old["refresh_token"]
        assert at_once(home.source.current()).document() == home.credential


async def test_settle_waits_for_the_refresh_under_way(tmp_path: Path, clock: FakeClock) -> None:
    """Nobody who settles first leaves between the rotation and the file."""
    async with household(tmp_path, clock) as home:
        clock.advance(STALE)
        home.server.hold_after = True
        home.source.refresh_if_due()
        await home.server.request_arrived()
        settled = asyncio.create_task(home.source.settle())
        home.source.refresh_if_due()
        assert not settled.done()
        home.server.release()
        await settled
        assert home.credential["access_token"] == at_once(home.source.current()).access
        assert home.server.refreshes == 1


async def test_who_leaves_does_not_wait_for_a_neighbour(tmp_path: Path, clock: FakeClock) -> None:
    """A refresh that waits for the lock has sent nothing and holds up nobody who leaves."""
    async with household(tmp_path, clock) as home, home.elsewhere.lock():
        clock.advance(STALE)
        at_once(home.source.current())
        await clock.sleepers()
        leaving = asyncio.create_task(home.source.settle(leaving=True))
        await asyncio.wait({leaving}, timeout=0)
        assert not leaving.done()
        clock.advance(0.1)
        await leaving
        assert home.server.requests == []


@pytest.mark.parametrize("missing", [None, 0, "soon"])
async def test_unknown_lifetime(tmp_path: Path, clock: FakeClock, missing: object) -> None:
    """Where nobody said how long a token lives, it is used and refreshed in its last minutes."""
    async with household(tmp_path, clock) as home:
        write_credential(home.share_dir, home.server.seed(), clock.now(), expires_in=missing)
        clock.advance(590)
        assert at_once(home.source.current()).access
        assert home.server.requests == []
        clock.advance(20)
        at_once(home.source.current())
        await home.source.settle()
        assert home.server.refreshes == 1
        assert home.credential["expires_in"] == 900


@pytest.mark.parametrize("end", [None, 0, "soon", -1])
async def test_unknown_end(tmp_path: Path, clock: FakeClock, end: object) -> None:
    """A token of which nobody knows the end is refreshed before it is used."""
    async with household(tmp_path, clock) as home:
        write_credential(home.share_dir, home.server.seed(), clock.now(), expires_at=end)
        assert (await home.source.current()).remaining(clock.now()) == 900
        assert home.server.refreshes == 1


async def test_access_token_missing(tmp_path: Path, clock: FakeClock) -> None:
    """A file with nothing but a refresh token is a login, and the token is fetched."""
    async with household(tmp_path, clock) as home:
        write_credential(home.share_dir, home.server.seed(), clock.now(), access_token="")
        assert home.source.condition().remaining is None
        assert (await home.source.current()).access


# --- the file is the truth


async def test_neighbours_token_counts_at_once(tmp_path: Path, clock: FakeClock) -> None:
    """What a neighbour wrote is what the next request leaves with."""
    async with household(tmp_path, clock) as home:
        at_once(home.source.current())
        rotated = home.neighbour_refreshes()
        assert at_once(home.source.current()).document() == rotated
        login = home.logs_in_anew()
        assert at_once(home.source.current()).document() == login
        assert home.server.requests == []


async def test_logout_and_login_elsewhere(tmp_path: Path, clock: FakeClock) -> None:
    """A logout is told to each request, and a login heals the running source."""
    async with household(tmp_path, clock) as home:
        at_once(home.source.current())
        home.path.unlink()
        for _ in range(2):
            with pytest.raises(LoginRequired, match="there is no login: run: bridge login"):
                await home.source.current()
        assert home.source.held() is None
        login = home.logs_in_anew()
        assert at_once(home.source.current()).document() == login


async def test_corrupt_file_heals(tmp_path: Path, clock: FakeClock) -> None:
    """A corrupt file is told to each request and never touched; restored, it works at once."""
    async with household(tmp_path, clock) as home:
        content = home.path.read_bytes()
        home.path.write_bytes(content[:100])
        with pytest.raises(CredentialUnreadable, match="corrupt"):
            await home.source.current()
        with pytest.raises(CredentialUnreadable, match="corrupt"):
            await home.source.rejected(Token("access", "refresh", 0, 0))
        home.source.refresh_if_due()
        home.source.renew()
        assert home.source.condition().problem is not None
        assert home.path.read_bytes() == content[:100]
        home.path.write_bytes(content)
        assert at_once(home.source.current()).document() == home.credential
        assert home.source.condition().problem is None


async def test_logout_during_a_refresh(tmp_path: Path, clock: FakeClock) -> None:
    """A request that waits while somebody logs out is told so, and the file stays away."""
    async with household(tmp_path, clock) as home:
        clock.advance(OVER)
        home.server.hold_after = True
        caller = asyncio.create_task(home.source.current())
        await home.server.request_arrived()
        home.path.unlink()
        home.server.release()
        with pytest.raises(LoginRequired):
            await caller
        assert not home.path.exists()
        login = home.logs_in_anew()
        assert at_once(home.source.current()).document() == login


async def test_login_during_a_refresh(tmp_path: Path, clock: FakeClock) -> None:
    """A request that waits while somebody logs in anew leaves with the new login."""
    async with household(tmp_path, clock) as home:
        clock.advance(OVER)
        home.server.hold_after = True
        caller = asyncio.create_task(home.source.current())
        await home.server.request_arrived()
        login = home.logs_in_anew()
        home.server.release()
        assert (await caller).document() == login
        assert at_once(home.source.current()).document() == login == home.credential


# --- time is no friend


async def test_machine_slept(tmp_path: Path, clock: FakeClock) -> None:
    """After a sleep through the token's end the first request waits for a new one."""
    async with household(tmp_path, clock) as home:
        at_once(home.source.current())
        clock.jump(8 * 3600)
        token = await home.source.current()
        assert home.server.valid(token.access)


async def test_clock_set_forward(tmp_path: Path, clock: FakeClock) -> None:
    """A clock that leaps ahead costs a refresh and nothing else, and may leap back."""
    async with household(tmp_path, clock) as home:
        clock.jump(86400)
        await home.source.current()
        clock.jump(-86400)
        assert at_once(home.source.current()).document() == home.credential
        assert home.server.refreshes == 1


async def test_clock_set_back(tmp_path: Path, clock: FakeClock) -> None:
    """A token that seems fresh for hours is renewed when the upstream refuses it."""
    async with household(tmp_path, clock) as home:
        token = at_once(home.source.current())
        clock.advance(OVER)
        clock.jump(-7200)
        assert at_once(home.source.current()) == token
        renewed = await home.source.rejected(token)
        assert renewed.document() == home.credential
        assert renewed.remaining(clock.now()) == 900


# --- the server is unwell


async def test_living_token_outlasts_a_server_that_is_down(
    tmp_path: Path, clock: FakeClock
) -> None:
    """While the authorization server is down the token is used to its last second, then told."""
    async with household(tmp_path, clock) as home:
        old = home.credential["access_token"]
        await home.server.goes_dark()
        clock.advance(URGENT)
        caller = asyncio.create_task(home.source.current())
        for _ in range(2):
            await clock.sleepers(2)
            clock.advance(clock.deadlines[0])
        assert (await caller).access == old
        assert at_once(home.source.current()).access == old
        clock.advance(60)
        caller = asyncio.create_task(home.source.current())
        for _ in range(2):
            await clock.sleepers(2)
            clock.advance(clock.deadlines[0])
        with pytest.raises(AuthorizationServerError, match="cannot be reached") as caught:
            await caller
        assert caught.value.status == 503
        assert caught.value.retry_after
        await home.server.comes_back()
        clock.advance(COOL_DOWN[1])
        assert home.server.valid((await home.source.current()).access)


async def test_storm_of_requests_does_not_batter_the_server(
    tmp_path: Path, clock: FakeClock
) -> None:
    """A thousand requests without a token cost one refresh of three tries, then a pause."""
    async with household(tmp_path, clock) as home:
        clock.advance(OVER)
        for _ in range(3):
            home.server.next_answer(500)
        first = asyncio.create_task(home.source.current())
        for _ in range(2):
            await clock.sleepers(2)
            clock.advance(clock.deadlines[0])
        with pytest.raises(AuthorizationServerError):
            await first
        for _ in range(1000):
            with pytest.raises(AuthorizationServerError) as caught:
                at_once(home.source.current())
            assert caught.value.retry_after == COOL_DOWN[0]
        assert len(home.server.requests) == 3


async def test_request_does_not_wait_for_ever(tmp_path: Path, clock: FakeClock) -> None:
    """A request waits half a minute for a refresh, then is told to come back; that goes on."""
    async with household(tmp_path, clock) as home:
        clock.advance(OVER)
        home.server.hold_before = True
        caller = asyncio.create_task(home.source.current())
        await home.server.request_arrived()
        clock.advance(WAIT_SECONDS)
        with pytest.raises(CredentialBusy, match="takes more than 30 s: try again") as caught:
            await caller
        assert caught.value.retry_after
        home.server.release()
        await home.source.settle()
        assert at_once(home.source.current()).document() == home.credential


async def test_living_token_is_better_than_waiting(tmp_path: Path, clock: FakeClock) -> None:
    """Where the refresh takes too long, the token that still lives for a moment is used."""
    async with household(tmp_path, clock) as home:
        clock.advance(URGENT)
        home.server.hold_before = True
        caller = asyncio.create_task(home.source.current())
        await home.server.request_arrived()
        clock.advance(WAIT_SECONDS)
        assert (await caller).document() == home.credential
        home.server.release()


async def test_lock_held_for_long(tmp_path: Path, clock: FakeClock) -> None:
    """While a neighbour sits on the lock the living token is used, then requests are put off."""
    async with household(tmp_path, clock) as home, home.elsewhere.lock():
        clock.advance(STALE)
        at_once(home.source.current())
        clock.advance(OVER - STALE)
        caller = asyncio.create_task(home.source.current())
        await clock.sleepers(2)
        clock.advance(WAIT_SECONDS)
        with pytest.raises(CredentialBusy):
            await caller
        assert home.server.requests == []
        home.path.unlink()
        await clock.sleepers()
        clock.advance(1)
        await home.source.settle()


async def test_lost_answer_is_lived_with(tmp_path: Path, clock: FakeClock) -> None:
    """After a lost answer the token is not sent again while the access token lives; then it is."""
    async with household(tmp_path, clock) as home:
        old = home.credential["access_token"]
        clock.advance(STALE)
        home.server.lose_answers(after_rotation=False)
        at_once(home.source.current())
        await home.source.settle()
        while (left := home.credential["expires_at"] - clock.now()) > 61:
            clock.advance(min(30, left - 60.5))
            assert at_once(home.source.current()).access == old
            await home.source.settle()
        assert len(home.server.requests) == 1
        problem = home.source.condition().problem
        assert problem is not None
        assert "was lost" in problem
        clock.advance(1)
        assert (await home.source.current()).access != old
        assert (home.server.refreshes, home.server.spent_presented) == (1, 0)
        assert home.source.condition().problem is None


async def test_lost_answer_of_a_rotation(tmp_path: Path, clock: FakeClock) -> None:
    """Where the lost answer held the new token a login is needed, but no sooner than need be."""
    async with household(tmp_path, clock) as home:
        clock.advance(STALE)
        home.server.lose_answers(after_rotation=True)
        at_once(home.source.current())
        await home.source.settle()
        clock.advance(OVER - STALE)
        caller = asyncio.create_task(home.source.current())
        await clock.sleepers(2)
        clock.advance(1)
        with pytest.raises(LoginRequired, match="the login has ended"):
            await caller
        login = home.logs_in_anew()
        assert at_once(home.source.current()).document() == login


async def test_lost_answer_in_a_machine_that_slept(tmp_path: Path, clock: FakeClock) -> None:
    """The wait after a lost answer does not outlast the token when the machine sleeps."""
    async with household(tmp_path, clock) as home:
        clock.advance(STALE)
        home.server.lose_answers(after_rotation=False)
        at_once(home.source.current())
        await home.source.settle()
        clock.advance(COOL_DOWN[0])
        clock.jump(3600)
        assert home.server.valid((await home.source.current()).access)


async def test_lost_answer_and_a_refused_access_token(tmp_path: Path, clock: FakeClock) -> None:
    """Where the upstream refuses the access token, the perhaps spent refresh token is tried."""
    async with household(tmp_path, clock) as home:
        clock.advance(STALE)
        home.server.lose_answers(after_rotation=False)
        token = at_once(home.source.current())
        await home.source.settle()
        clock.advance(COOL_DOWN[0])
        assert (await home.source.rejected(token)).document() == home.credential
        assert home.server.refreshes == 1


async def test_refresh_cancelled_all_the_same(tmp_path: Path, clock: FakeClock) -> None:
    """Should a dying loop cancel the refresh, the token is spared, as after any lost answer."""
    async with household(tmp_path, clock) as home:
        clock.advance(STALE)
        home.server.hold_before = True
        at_once(home.source.current())
        await home.server.request_arrived()
        task = home.source._task
        assert task is not None
        task.cancel()
        await home.source.settle()
        home.server.release()
        assert at_once(home.source.current()).document() == home.credential
        await home.source.settle()
        problem = home.source.condition().problem
        assert problem is not None
        assert "may be spent" in problem
        assert home.server.spent_presented == 0


# --- the login is refused


async def test_refused_login_is_asked_for_once(tmp_path: Path, clock: FakeClock) -> None:
    """A refused refresh token is never sent again, and the living access token is used up."""
    async with household(tmp_path, clock) as home:
        clock.advance(STALE)
        await refused(home)
        assert len(home.server.requests) == 1
        assert at_once(home.source.current()).document() == home.credential
        clock.advance(OVER - STALE)
        for _ in range(50):
            with pytest.raises(LoginRequired, match="the login has ended: run: bridge login"):
                at_once(home.source.current())
            home.source.refresh_if_due()
            home.source.renew()
            clock.advance(600)
        assert len(home.server.requests) == 1


async def test_new_login_ends_the_memory_of_a_refusal(tmp_path: Path, clock: FakeClock) -> None:
    """What was refused is forgotten with the file: a new login works at once and stays fresh."""
    async with household(tmp_path, clock) as home:
        clock.advance(OVER)
        await refused(home)
        assert home.source.condition().ready is False
        login = home.logs_in_anew()
        condition = home.source.condition()
        assert (condition.ready, condition.remaining, condition.problem) == (True, 900, None)
        assert (condition.note, condition.ends_at) == (None, clock.now() + 30 * DAY)
        assert at_once(home.source.current()).document() == login
        clock.advance(OVER)
        assert home.server.valid((await home.source.current()).access)


async def test_refused_but_a_neighbour_was_faster(tmp_path: Path, clock: FakeClock) -> None:
    """A refusal because a neighbour has just rotated is no logout."""
    async with household(tmp_path, clock, stern=False) as home:
        clock.advance(OVER)
        home.server.hold_before = True
        caller = asyncio.create_task(home.source.current())
        await home.server.request_arrived()
        rotated = home.neighbour_refreshes()
        home.server.release()
        await clock.sleepers(2)
        clock.advance(1)
        assert (await caller).document() == rotated


# --- the upstream says 401


async def test_rejected_token_is_renewed(tmp_path: Path, clock: FakeClock) -> None:
    """A token that the upstream refuses is renewed though the clock calls it fresh."""
    async with household(tmp_path, clock) as home:
        token = at_once(home.source.current())
        home.server.revoke(token.access)
        renewed = await home.source.rejected(token)
        assert home.server.valid(renewed.access)
        assert renewed.document() == home.credential


async def test_rejected_token_is_replaced_from_the_file(tmp_path: Path, clock: FakeClock) -> None:
    """Where a neighbour has rotated meanwhile, its token is adopted and nothing is asked."""
    async with household(tmp_path, clock) as home:
        token = at_once(home.source.current())
        rotated = home.neighbour_refreshes()
        assert at_once(home.source.rejected(token)).document() == rotated
        assert home.server.requests == []


async def test_rejected_token_is_never_replaced_by_a_dying_one(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Where what a neighbour wrote has ended as well, it is refreshed before it is returned."""
    async with household(tmp_path, clock) as home:
        token = at_once(home.source.current())
        home.neighbour_refreshes()
        clock.advance(OVER)
        assert home.server.valid((await home.source.rejected(token)).access)


async def test_hundred_rejections_one_refresh(tmp_path: Path, clock: FakeClock) -> None:
    """A hundred requests refused together cost one refresh, and all get its token."""
    async with household(tmp_path, clock) as home:
        token = at_once(home.source.current())
        home.server.hold_before = True
        callers = [asyncio.create_task(home.source.rejected(token)) for _ in range(100)]
        await home.server.request_arrived()
        home.server.release()
        tokens = await asyncio.gather(*callers)
        assert {t.access for t in tokens} == {home.credential["access_token"]}
        assert token.access not in {t.access for t in tokens}
        assert home.server.refreshes == 1


async def test_upstream_that_refuses_everything(tmp_path: Path, clock: FakeClock) -> None:
    """An upstream that answers 401 to every fresh token costs at most one refresh a minute."""
    async with household(tmp_path, clock) as home:
        seen_401 = 0
        for _ in range(600):
            token = at_once(home.source.current())
            again = await home.source.rejected(token)
            seen_401 += again == token
            clock.advance(1)
        assert 1 <= home.server.refreshes <= 600 / FORCED_INTERVAL
        assert seen_401 == 600 - home.server.refreshes
        assert home.server.spent_presented == 0


async def test_upstream_that_refuses_one_token_for_ever(tmp_path: Path, clock: FakeClock) -> None:
    """A server that gives out the same access token again is not asked for it each minute."""
    async with household(tmp_path, clock) as home:
        token = at_once(home.source.current())
        home.server.next_answer(200, {"access_token": token.access, "refresh_token": "another"})
        for _ in range(5):
            assert (await home.source.rejected(token)).access == token.access
            clock.advance(FORCED_INTERVAL)
        assert len(home.server.requests) == 1


async def test_rejected_while_the_server_is_down(tmp_path: Path, clock: FakeClock) -> None:
    """Where no other token may be had the same one comes back: the 401 is the client's."""
    async with household(tmp_path, clock) as home:
        token = at_once(home.source.current())
        await home.server.goes_dark()
        caller = asyncio.create_task(home.source.rejected(token))
        for _ in range(2):
            await clock.sleepers(2)
            clock.advance(clock.deadlines[0])
        assert await caller == token
        await home.server.comes_back()
        assert at_once(home.source.rejected(token)) == token
        clock.advance(FORCED_INTERVAL)
        assert (await home.source.rejected(token)).access != token.access


async def test_rejected_and_refused(tmp_path: Path, clock: FakeClock) -> None:
    """Where the refresh token is dead as well, the client learns that a login is needed."""
    async with household(tmp_path, clock) as home:
        token = at_once(home.source.current())
        home.server.families[0].revoked = True
        caller = asyncio.create_task(home.source.rejected(token))
        await clock.sleepers(2)
        clock.advance(1)
        with pytest.raises(LoginRequired, match="the login has ended"):
            await caller


async def test_rejected_while_a_refresh_is_under_way(tmp_path: Path, clock: FakeClock) -> None:
    """A rejection during a refresh waits for that one and forces none of its own."""
    async with household(tmp_path, clock) as home:
        clock.advance(STALE)
        home.server.hold_before = True
        token = at_once(home.source.current())
        await home.server.request_arrived()
        caller = asyncio.create_task(home.source.rejected(token))
        home.server.release()
        renewed = await caller
        assert renewed.document() == home.credential
        assert home.server.refreshes == 1
        assert await home.source.rejected(renewed) != renewed


# --- the disk refuses


async def unsaved(home: Household) -> Token:
    """Let a refresh happen whose token cannot be saved, and return that token."""
    home.disk.refusing = True
    home.clock.advance(STALE)
    home.source.refresh_if_due()
    await home.source.settle()
    return at_once(home.source.current())


async def test_unsaved_token_is_used_and_told(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A token that cannot be saved is used from memory, loudly, and its predecessor is spared."""
    async with household(tmp_path, clock, store_type=RefusingDisk) as home:
        old = home.credential
        token = await unsaved(home)
        assert home.server.valid(token.access)
        assert home.credential == old
        problem = home.source.condition().problem
        assert problem is not None
        assert "only in memory; make room at once" in problem
        assert "token not saved" in caplog.text
        assert "secret" not in caplog.text + problem
        clock.advance(OVER)
        for _ in range(20):
            with pytest.raises((CredentialUnreadable, AuthorizationServerError), match="in memory"):
                await home.source.current()
            clock.advance(60)
        assert len(home.server.requests) == 1
        home.disk.refusing = False
        assert home.server.valid((await home.source.current()).access)
        assert (home.server.refreshes, home.server.spent_presented) == (2, 0)
        assert home.source.condition().problem is None
        assert home.litter == []


async def test_unsaved_token_and_no_lock(tmp_path: Path, clock: FakeClock) -> None:
    """Where not even the lock can be had, the token in memory is all there is, and is enough."""
    async with household(tmp_path, clock, store_type=RefusingDisk) as home:
        token = await unsaved(home)
        home.store.lock_path.unlink()
        home.store.lock_path.mkdir()
        home.disk.refusing = False
        clock.advance(URGENT)
        assert await home.source.current() == token
        assert len(home.server.requests) == 1


async def test_unsaved_token_is_saved_when_the_disk_is_well(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The next save puts it in the file, once."""
    async with household(tmp_path, clock, store_type=RefusingDisk) as home:
        token = await unsaved(home)
        await home.source.save()
        assert home.credential["access_token"] != token.access
        home.disk.refusing = False

        async def save_twice() -> None:
            await asyncio.gather(home.source.save(), home.source.save())

        await clock.run_until(asyncio.create_task(save_twice()))
        assert home.credential == token.document()
        await home.source.save()
        assert at_once(home.source.current()) == token
        assert home.source.condition().problem is None


async def test_unsaved_token_survives_a_touch_of_the_file(tmp_path: Path, clock: FakeClock) -> None:
    """A file that was only touched, or restored, still holds the spent token: memory counts."""
    async with household(tmp_path, clock, store_type=RefusingDisk) as home:
        token = await unsaved(home)
        os.utime(home.path)
        assert at_once(home.source.current()) == token
        content = home.path.read_bytes()
        home.path.write_bytes(b"spoilt")
        assert at_once(home.source.current()) == token
        home.path.write_bytes(content)
        assert at_once(home.source.current()) == token
        home.disk.refusing = False
        await home.source.save()
        assert home.credential == token.document()


async def test_unsaved_token_gives_way(tmp_path: Path, clock: FakeClock) -> None:
    """A login or logout elsewhere counts more than a token in memory."""
    async with household(tmp_path, clock, store_type=RefusingDisk) as home:
        await unsaved(home)
        login = home.logs_in_anew()
        assert at_once(home.source.current()).document() == login
        assert home.source.condition().problem is None
    async with household(tmp_path / "second", clock, store_type=RefusingDisk) as home:
        await unsaved(home)
        home.path.unlink()
        with pytest.raises(LoginRequired):
            at_once(home.source.current())
        home.disk.refusing = False
        await home.source.save()
        assert not home.path.exists()


async def test_late_save_of_an_earlier_token(tmp_path: Path, clock: FakeClock) -> None:
    """A save that waited for the lock does not take a later unsaved token for its own."""
    async with household(tmp_path, clock, store_type=RefusingDisk) as home:
        first = await unsaved(home)
        home.disk.refusing = False
        async with home.elsewhere.lock():
            late = asyncio.create_task(home.source.save())
            await clock.sleepers()
        await home.source.save()
        assert home.credential == first.document()
        home.disk.torn = True
        home.source.renew()
        await home.source.settle()
        second = at_once(home.source.current())
        assert second != first
        await clock.sleepers()
        clock.advance(1)
        await late
        assert at_once(home.source.current()) == second
        home.disk.torn = False
        await home.source.save()
        assert home.credential == second.document()
        assert home.server.spent_presented == 0


async def test_settle_saves_what_is_unsaved(tmp_path: Path, clock: FakeClock) -> None:
    """Before the daemon leaves, one more try is made to save the token."""
    async with household(tmp_path, clock, store_type=RefusingDisk) as home:
        token = await unsaved(home)
        home.disk.refusing = False
        await home.source.settle()
        assert home.credential == token.document()


async def test_who_leaves_waits_a_little_to_save(tmp_path: Path, clock: FakeClock) -> None:
    """A token in memory is worth waiting for the lock, but not for minutes."""
    async with household(tmp_path, clock, store_type=RefusingDisk) as home:
        await unsaved(home)
        async with home.elsewhere.lock():
            slept = len(clock.slept)
            await clock.run_until(asyncio.create_task(home.source.settle(leaving=True)))
            assert sum(clock.slept[slept:]) == pytest.approx(LEAVING_SECONDS, abs=0.2)


async def test_unsaved_token_of_a_token_rotated_meanwhile(tmp_path: Path, clock: FakeClock) -> None:
    """What was unsaved is tied to what was presented, though a neighbour rotated just before."""
    async with household(tmp_path, clock, store_type=RefusingDisk) as home:
        home.disk.refusing = True
        clock.advance(STALE)
        async with home.elsewhere.lock():
            home.source.refresh_if_due()
            await clock.sleepers()
            rotated = home.neighbour_refreshes()
            write_credential(home.share_dir, rotated, clock.now(), expires_at=0.0)
        clock.advance(1)
        await home.source.settle()
        token = at_once(home.source.current())
        assert home.server.valid(token.access)
        assert token.access != rotated["access_token"]
        assert (home.server.refreshes, home.server.spent_presented) == (2, 0)


# --- a crash before


async def test_recover_at_the_start(tmp_path: Path, clock: FakeClock) -> None:
    """What a crash left unrenamed is in place before the first request."""
    async with household(tmp_path, clock) as home:
        held = home.store.read()
        assert held is not None
        new = held.token.succeeded_by({"access_token": "a2", "refresh_token": "r2"}, clock.now())
        successor = Successor.reserve(home.path, held.token)
        successor.write(new)
        successor.close()
        await home.source.recover()
        assert at_once(home.source.current()) == new


async def test_recover_reports_what_it_cannot(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that refuses at the start is told in the log, and the source works on."""
    async with household(tmp_path, clock, store_type=RefusingDisk) as home:
        held = home.store.read()
        assert held is not None
        Successor.reserve(home.path, held.token).close()
        home.disk.refusing = True
        await home.source.recover()
        assert "credential not recovered" in caplog.text
        assert at_once(home.source.current()) == held.token


# --- what people see


async def test_condition_of_a_good_login(tmp_path: Path, clock: FakeClock) -> None:
    """A good login is ready, and says how long the token lives and when it was refreshed."""
    async with household(tmp_path, clock) as home:
        assert home.source.condition() == Condition(
            ready=True,
            remaining=900,
            refreshed_at=clock.now(),
            problem=None,
            ends_at=clock.now() + 30 * DAY,
        )
        clock.advance(URGENT)
        await home.source.current()
        assert home.source.condition() == Condition(
            ready=True,
            remaining=900,
            refreshed_at=clock.now(),
            problem=None,
            ends_at=clock.now() + 30 * DAY,
        )


async def test_condition_without_a_login(tmp_path: Path, clock: FakeClock) -> None:
    """Without a login, or with an ended one, it is not ready and says what to do."""
    async with household(tmp_path, clock) as home:
        clock.advance(STALE)
        await refused(home)
        assert home.source.condition().ready
        assert home.source.condition().problem == "the login has ended: run: bridge login"
        clock.advance(OVER)
        assert not home.source.condition().ready
        home.path.unlink()
        condition = home.source.condition()
        assert not condition.ready
        assert condition.problem == "there is no login: run: bridge login"


async def test_nothing_secret_is_logged(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Refreshes that succeed, fail, are refused or lost are logged without any token."""
    caplog.set_level(logging.DEBUG, logger="bridge")
    async with household(tmp_path, clock) as home:
        await home.source.rejected(at_once(home.source.current()))
        clock.advance(STALE)
        home.server.next_answer(200, b'{"access_token": ["ACCESSsecret"], "x": "REFRESHsecret"')
        at_once(home.source.current())
        await home.source.settle()
        clock.advance(OVER)
        await refused(home)
        assert "token refreshed provider=kimi remaining=900s" in caplog.text
        assert "token rejected by the upstream" in caplog.text
        assert "token refresh failed" in caplog.text
        assert "secret" not in caplog.text
        assert "secret" not in repr(home.source.condition())


class BrokenStore(Store):
    """A store with a mistake in it."""

    def recover(self) -> bool:
        """Make the mistake."""
        raise KeyError("REFRESHsecret")


async def test_mistake_of_ours(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """An error that nobody foresaw is logged by its kind and does not end the source."""
    async with household(tmp_path, clock, store_type=BrokenStore) as home:
        clock.advance(STALE)
        at_once(home.source.current())
        await home.source.settle()
        assert "reason=KeyError" in caplog.text
        assert "secret" not in caplog.text
        assert at_once(home.source.current()).document() == home.credential
