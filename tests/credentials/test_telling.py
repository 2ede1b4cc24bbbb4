"""What people hear of a login: one line for each event, and sentences that say what is known."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.credentials.chronicle import Outcome
from bridge.credentials.forecast import DAY
from bridge.credentials.journal import Journal
from bridge.credentials.restraint import COOL_DOWN, Restraint
from bridge.credentials.store import Credential, Store
from bridge.credentials.successor import Successor
from bridge.credentials.telling import NOT_SPENT_HERE, Telling
from bridge.oauth.grant import RefreshRefused
from bridge.oauth.token import Token
from tests.credentials.strongbox import Household, RefusingDisk, at_once, household
from tests.fakes.clock import EPOCH, FakeClock

STALE, URGENT = 451, 841
TOKEN = Token("ACCESSsecret", "REFRESHsecret", EPOCH + 900, 900)
NEXT = replace(TOKEN, access="ACCESSsecret2", refresh="REFRESHsecret2")
TIME = r"[-\d: ]{8,19}"
HINT = "run: bridge login"


@pytest.fixture(name="lines")
def _lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The log, from the level at which a daemon writes it."""
    caplog.set_level(logging.INFO, logger="bridge")
    return caplog


@pytest.fixture(name="journal")
def _journal(tmp_path: Path, clock: FakeClock) -> Journal:
    """A journal that knows the token."""
    journal = Journal(tmp_path / "journal", clock)
    journal.resume(TOKEN)
    return journal


def telling(journal: Journal, clock: FakeClock) -> Telling:
    """Return what a process tells that has asked nobody yet."""
    return Telling(clock, journal, Restraint(clock))


def told(lines: pytest.LogCaptureFixture) -> list[str]:
    """Return what has been logged since the last look."""
    found = [record.getMessage() for record in lines.records]
    lines.clear()
    return found


async def refreshes(home: Household, seconds: float = STALE) -> None:
    """Let *seconds* pass, and a refresh take its course that is then due."""
    home.clock.advance(seconds)
    home.source.refresh_if_due()
    await home.clock.run_until(asyncio.create_task(home.source.settle()))


# --- lines


async def test_refreshes_adoptions_logins_and_logouts(
    tmp_path: Path, clock: FakeClock, lines: pytest.LogCaptureFixture
) -> None:
    """Each is one line, however many requests follow it."""

    def asks() -> list[str]:
        for _ in range(3):
            home.source.at_once()
            home.source.condition()
        return told(lines)

    async with household(tmp_path, clock) as home:
        assert asks() == []
        await refreshes(home)
        assert asks() == ["token refreshed provider=kimi remaining=900s"]
        home.neighbour_refreshes()
        clock.advance(10)
        assert asks() == ["token adopted provider=kimi remaining=890s"]
        home.path.unlink()
        assert asks() == ["logout seen provider=kimi"]
        home.logs_in_anew()
        assert asks() == ["login seen provider=kimi remaining=900s"]
        home.path.touch()
        assert asks() == []


class CrowdedStore(Store):
    """A store whose file is looked at by a request right after each replace."""

    request: Callable[[], object]
    loop: asyncio.AbstractEventLoop

    def commit(self, successor: Successor, token: Token) -> Credential | None:
        """Replace the file, and let a request look at it before anybody else hears of it."""
        credential = super().commit(successor, token)
        looked = threading.Event()

        def look() -> None:
            self.request()
            looked.set()

        self.loop.call_soon_threadsafe(look)
        looked.wait()
        return credential


async def test_seen_before_it_is_told(
    tmp_path: Path, clock: FakeClock, lines: pytest.LogCaptureFixture
) -> None:
    """A request that finds our own new token in the file takes it for no one else's."""
    async with household(tmp_path, clock, store_type=CrowdedStore) as home:
        store = home.store
        assert isinstance(store, CrowdedStore)
        store.request, store.loop = home.source.at_once, asyncio.get_running_loop()
        at_once(home.source.current())
        await refreshes(home)
        assert told(lines) == ["token refreshed provider=kimi remaining=900s"]


async def test_adopted_under_the_lock(
    tmp_path: Path, clock: FakeClock, lines: pytest.LogCaptureFixture
) -> None:
    """A refresh that finds the neighbour's new token is an adoption, and none of ours."""
    async with household(tmp_path, clock) as home:
        at_once(home.source.current())
        clock.advance(STALE)
        async with home.elsewhere.lock():
            home.source.refresh_if_due()
            await clock.sleepers()
            home.neighbour_refreshes()
            home.source.at_once()
        await clock.run_until(asyncio.create_task(home.source.settle()))
        home.source.at_once()
        assert told(lines) == ["token adopted provider=kimi remaining=900s"]
        assert home.refresh.rotations == 0


async def test_refused(tmp_path: Path, clock: FakeClock, lines: pytest.LogCaptureFixture) -> None:
    """A refusal is one line that says what is known of the reason, and the note says it too."""
    async with household(tmp_path, clock) as home:
        home.server.families[-1].revoked = True
        await refreshes(home)
        assert told(lines) == [f"token refused provider=kimi reason={NOT_SPENT_HERE}"]
        condition = home.source.condition()
        assert condition.note == f"{NOT_SPENT_HERE}: {HINT}"
        assert condition.problem == f"the login has ended: {HINT}"
        assert condition.failure is not None
        assert "refused the refresh token: HTTP 400 invalid_grant)" in condition.failure
        assert condition.failed_at == clock.now()
        assert (condition.ends_at, condition.next_refresh_at) == (None, None)
        home.logs_in_anew()
        assert home.source.condition().note is None


async def test_perhaps_refused(
    tmp_path: Path, clock: FakeClock, lines: pytest.LogCaptureFixture
) -> None:
    """A bare 403, as a captive portal sends it, is a failure and no verdict on the token."""
    async with household(tmp_path, clock) as home:
        home.server.next_answer(403, b"<html>")
        await refreshes(home)
        [line] = told(lines)
        assert line.startswith("token refresh failed provider=kimi reason=the login has ended (")
        assert home.source.condition().note is None


async def test_lost_and_spared_by_the_next(
    tmp_path: Path, clock: FakeClock, lines: pytest.LogCaptureFixture
) -> None:
    """That an answer was lost is told by the next process, too, and not as a crash."""
    async with household(tmp_path, clock) as home:
        home.server.lose_answers()
        await refreshes(home)
        told(lines)
        async with home.another() as bridge:
            await bridge.source.recover()
        [line] = told(lines)
        assert line.startswith("token spared provider=kimi reason=the answer to a refresh begun")


async def test_lost_and_then_refused(
    tmp_path: Path, clock: FakeClock, lines: pytest.LogCaptureFixture
) -> None:
    """After a lost answer the refusal is put down to that, and not to somebody else."""
    async with household(tmp_path, clock) as home:
        home.server.lose_answers()
        await refreshes(home)
        [line] = told(lines)
        assert line.startswith("token refresh failed provider=kimi reason=")
        note = home.source.condition().note or ""
        assert re.fullmatch(
            f"the answer to a refresh begun at {TIME} was lost: its refresh token may have been "
            f"spent; if the next refresh is refused, {HINT}",
            note,
        )
        await refreshes(home, URGENT - STALE)
        cause = (
            f"the refresh token was most likely spent by a refresh at {TIME} whose answer was "
            "lost, not by a logout elsewhere"
        )
        [line] = told(lines)
        assert re.fullmatch(f"token refused provider=kimi reason={cause}", line)
        assert re.fullmatch(f"{cause}: {HINT}", home.source.condition().note or "")


async def test_cut_short(tmp_path: Path, clock: FakeClock, lines: pytest.LogCaptureFixture) -> None:
    """That a refresh was cut short is told at the start, and no second time when it is spared."""
    async with household(tmp_path, clock) as home:
        held = home.store.read()
        assert held is not None
        Successor.reserve(home.path, held.token).close()
        home.refresh.journal.begun(held.token)
        bridge = home.another()
        async with bridge:
            await bridge.source.recover()
            [line] = told(lines)
            assert re.fullmatch(
                f"token refresh cut short provider=kimi reason=a refresh begun at {TIME} was cut "
                "short: its refresh token may have been spent",
                line,
            )
            bridge.source.attend(in_use=True)
            condition = bridge.source.condition()
            assert condition.next_refresh_at == held.token.expires_at - held.token.critical
            clock.advance(STALE)
            at_once(bridge.source.current())
            await bridge.source.settle()
            assert told(lines) == []
            assert home.server.requests == []


async def test_found_after_a_crash(
    tmp_path: Path, clock: FakeClock, lines: pytest.LogCaptureFixture
) -> None:
    """A successor that a crash had left is one line, and is not called adopted besides."""
    async with household(tmp_path, clock) as home:
        at_once(home.source.current())
        held = home.store.read()
        assert held is not None
        successor = Successor.reserve(home.path, held.token)
        successor.write(replace(held.token, access="ACCESSsecret2", refresh="REFRESHsecret2"))
        successor.close()
        await home.source.recover()
        at_once(home.source.current())
        assert told(lines) == ["token recovered provider=kimi: its refresh was cut short"]


async def test_saved_late(
    tmp_path: Path, clock: FakeClock, lines: pytest.LogCaptureFixture
) -> None:
    """That a token is only in memory is one line, and another is that it no longer is."""
    async with household(tmp_path, clock, store_type=RefusingDisk) as home:
        home.disk.refusing = True
        clock.advance(STALE)
        home.source.refresh_if_due()
        while not (found := told(lines)):
            await asyncio.to_thread(os.sched_yield)
        assert len(found) == 1
        assert found[0].startswith("token not saved provider=kimi reason=")
        home.disk.refusing = False
        clock.advance(10)
        await home.source.settle()
        assert told(lines) == ["token saved late provider=kimi remaining=890s"]
        home.source.at_once()
        assert told(lines) == []
        assert not home.refresh.journal.suspects(at_once(home.source.current()))


async def test_unsaved_and_overtaken(
    tmp_path: Path, clock: FakeClock, lines: pytest.LogCaptureFixture
) -> None:
    """A login elsewhere that counts more than a token in memory is told as what it is."""
    async with household(tmp_path, clock, store_type=RefusingDisk) as home:
        home.disk.refusing = True
        await refreshes(home)
        told(lines)
        home.disk.refusing = False
        home.logs_in_anew()
        await home.source.save()
        home.source.at_once()
        assert told(lines) == ["token adopted provider=kimi remaining=900s"]


async def test_end_foreseen(
    tmp_path: Path, clock: FakeClock, lines: pytest.LogCaptureFixture
) -> None:
    """That a login ends soon is told once a day, and not while a refresh may still renew it."""
    async with household(tmp_path, clock) as home:
        clock.advance(24 * DAY)
        home.source.attend(in_use=False)
        assert told(lines) == []
        clock.advance(1.5 * DAY)
        for _ in range(3):
            home.source.attend(in_use=False)
        assert told(lines) == [f"login ends soon provider=kimi days=4.5: {HINT}"]
        clock.advance(DAY)
        clock.jump(-DAY / 2)
        home.source.attend(in_use=False)
        assert told(lines) == [f"login ends soon provider=kimi days=4.0: {HINT}"]
        clock.advance(DAY)
        home.source.renew()
        home.source.attend(in_use=False)
        await home.source.settle()
        home.source.attend(in_use=False)
        assert told(lines) == ["token refreshed provider=kimi remaining=900s"]


# --- sentences


@pytest.mark.parametrize(
    ("outcome", "hope", "end", "failure"),
    [
        (
            Outcome.ROTATED,
            "its refresh token was spent at {} and its successor is not in the file",
            (
                "the refresh token was spent at {} and its successor is not in the file, "
                "as after a restore"
            ),
            None,
        ),
        (
            Outcome.UNSAVED,
            "its refresh token was spent at {} and its successor could not be saved",
            "the refresh token was spent at {} by a refresh whose new token could not be saved",
            "the new token could not be saved",
        ),
        (
            Outcome.CUT_SHORT,
            "a refresh begun at {} was cut short: its refresh token may have been spent",
            (
                "the refresh token was most likely spent by a refresh that was cut short at {} "
                "(power cut or kill), not by a logout elsewhere"
            ),
            "it was cut short (power cut or kill)",
        ),
        (
            Outcome.LOST,
            "the answer to a refresh begun at {} was lost: its refresh token may have been spent",
            (
                "the refresh token was most likely spent by a refresh at {} whose answer was lost, "
                "not by a logout elsewhere"
            ),
            "the answer was lost",
        ),
        (Outcome.FAILED, None, NOT_SPENT_HERE, "the server could not be asked"),
    ],
)
def test_what_the_journal_knows(
    *,
    journal: Journal,
    clock: FakeClock,
    outcome: Outcome,
    hope: str | None,
    end: str,
    failure: str | None,
) -> None:
    """The next process says of a token what befell it, before and after a refusal."""
    journal.begun(TOKEN)
    journal.ended(TOKEN, outcome, NEXT)
    after = telling(journal, clock)
    note = after.note(TOKEN)
    if hope is None:
        assert note is None
    else:
        expected = re.escape(hope).replace(r"\{\}", TIME)
        assert re.fullmatch(f"{expected}; if the next refresh is refused, {HINT}", note or "")
    condition = after.condition(TOKEN, None, busy=False)
    assert (condition.failure, condition.note) == (failure, note)
    assert condition.failed_at == (EPOCH if failure else None)
    assert after.condition(TOKEN, None, busy=True).note is None
    journal.begun(TOKEN)
    journal.ended(TOKEN, Outcome.REFUSED)
    expected = re.escape(end).replace(r"\{\}", TIME)
    assert re.fullmatch(f"{expected}: {HINT}", after.note(TOKEN) or "")
    assert "secret" not in repr(after.condition(TOKEN, None, busy=False))


def test_an_old_failure_is_of_no_interest(journal: Journal, clock: FakeClock) -> None:
    """A day after a failure that a refresh has healed since, it is told no more."""
    journal.begun(TOKEN)
    journal.ended(TOKEN, Outcome.FAILED)
    after = telling(journal, clock)
    clock.advance(DAY)
    healed = replace(TOKEN, expires_at=clock.now() + 900)
    assert after.condition(healed, None, busy=False).failed_at == EPOCH
    clock.advance(1)
    assert after.condition(TOKEN, None, busy=False).failed_at == EPOCH
    assert after.condition(healed, None, busy=False).failure is None


def test_a_journal_with_gaps_claims_nothing(tmp_path: Path, clock: FakeClock) -> None:
    """Where the journal could not be written, it is not said that a token was not spent here."""
    (tmp_path / "state").touch()
    journal = Journal(tmp_path / "state" / "journal", clock)
    journal.begun(TOKEN)
    journal.ended(TOKEN, Outcome.REFUSED)
    note = telling(journal, clock).note(TOKEN)
    assert note == f"the refresh token was refused, and the journal cannot say who spent it: {HINT}"


def test_under_way_elsewhere(journal: Journal, clock: FakeClock) -> None:
    """Who does not hold the lock cannot tell a refresh under way from one cut short."""
    journal.begun(TOKEN)
    note = telling(journal, clock).note(TOKEN) or ""
    assert re.match(
        f"a refresh begun at {TIME} has not ended: it is under way, or was cut short", note
    )


@pytest.mark.parametrize(("days", "pattern"), [(0, r"\d\d:\d\d:\d\d"), (3, r"\d{4}-\d\d-\d\d .*")])
def test_times_as_people_say_them(
    journal: Journal, clock: FakeClock, days: int, pattern: str
) -> None:
    """The hour is enough for today; another day is named."""
    journal.begun(TOKEN)
    journal.resume(TOKEN)
    clock.jump(days * DAY)
    note = telling(journal, clock).note(TOKEN) or ""
    assert re.search(f"begun at {pattern} was cut short", note)


@pytest.mark.parametrize("seconds", [-2 * EPOCH, 1e15])
def test_clocks_that_cannot_be(journal: Journal, clock: FakeClock, seconds: float) -> None:
    """A clock that is beyond all reason breaks no sentence."""
    journal.begun(TOKEN)
    clock.jump(seconds)
    journal.resume(TOKEN)
    assert telling(journal, clock).note(TOKEN)


def test_next_refresh(journal: Journal, clock: FakeClock) -> None:
    """While agents work the next refresh is due by the margin, or when a pause is over."""
    restraint = Restraint(clock)
    now = Telling(clock, journal, restraint)
    assert now.condition(TOKEN, None, busy=False).next_refresh_at is None
    now.in_use = True
    assert now.condition(TOKEN, None, busy=False).next_refresh_at == EPOCH + 450
    clock.advance(500)
    restraint.failed(TOKEN, OSError("REFRESHsecret"))
    now.failed(TOKEN, OSError("REFRESHsecret"))
    condition = now.condition(TOKEN, None, busy=False)
    assert condition.next_refresh_at == clock.now() + COOL_DOWN[0]
    assert (condition.failed_at, condition.failure) == (clock.now(), "OSError")
    restraint.failed(TOKEN, RefreshRefused("refused", token=TOKEN, certain=True))
    assert now.condition(TOKEN, None, busy=False).next_refresh_at is None
