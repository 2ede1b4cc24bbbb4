"""One refresh: the order that keeps a login, and what each trouble on the way leaves."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from bridge.credentials.chronicle import Entry, Outcome, digest
from bridge.credentials.journal import Journal
from bridge.credentials.refresh import PAUSES, SECOND_LOOK_SECONDS, Spared, Unsaved
from bridge.credentials.store import LOCK_POLL_SECONDS, Store
from bridge.credentials.successor import Successor, successor_path
from bridge.errors import AnswerLost, AuthorizationServerError, CredentialUnreadable, LoginRequired
from bridge.oauth.grant import RefreshRefused
from bridge.oauth.token import Token
from tests.credentials.strongbox import Household, RefusingDisk, Strongbox, household
from tests.fakes.authorization import AuthorizationServer
from tests.fakes.clock import EPOCH, FakeClock
from tests.fakes.credential import credential_file, read_credential, write_credential
from tests.fakes.neighbour import Neighbour


def due(held: Token) -> bool:
    """Always want a successor."""
    return True


async def paused(clock: FakeClock, seconds: float) -> None:
    """Let a pause of *seconds* pass once somebody is in it."""
    await clock.sleepers()
    assert clock.deadlines == [seconds]
    clock.advance(seconds)


async def test_refresh_rotates_the_file(tmp_path: Path, clock: FakeClock) -> None:
    """A refresh leaves the new token in the file, and nothing beside it."""
    async with household(tmp_path, clock) as home:
        old = home.credential
        credential = await home.refresh.succeed(due)
        assert home.credential == credential.token.document()
        assert home.credential["refresh_token"] != old["refresh_token"]
        assert home.server.valid(credential.token.access)
        assert home.litter == []
        assert home.server.refreshes == 1


async def test_request_is_what_the_official_cli_sends(tmp_path: Path, clock: FakeClock) -> None:
    """The form has exactly the three fields, form-encoded, with the device's own headers."""
    async with household(tmp_path, clock) as home:
        spent = home.credential["refresh_token"]
        await home.refresh.succeed(due)
        request = await home.server.received(1)
        assert request.form == {
            "client_id": home.box.oauth.client_id,
            "grant_type": "refresh_token",
            "refresh_token": spent,
        }
        assert request.header("content-type") == "application/x-www-form-urlencoded"
        assert request.header("x-msh-device-id") == home.box.device.device_id
        assert request.header("x-msh-platform") == "bridge"


async def test_refresh_not_due_sends_nothing(tmp_path: Path, clock: FakeClock) -> None:
    """Where the token in the file is not due, no lock is taken and nothing is asked."""
    async with household(tmp_path, clock) as home:
        credential = await home.refresh.succeed(lambda held: False)
        assert credential.token.document() == home.credential
        assert home.server.requests == []
        assert not home.store.lock_path.exists()


async def test_what_the_answer_leaves_out_is_kept(tmp_path: Path, clock: FakeClock) -> None:
    """An answer without refresh token, scope, type and lifetime loses none of them."""
    async with household(tmp_path, clock) as home:
        old = home.credential
        home.server.omit = {"refresh_token", "scope", "token_type", "expires_in"}
        clock.advance(600)
        await home.refresh.succeed(due)
        new = home.credential
        assert new["access_token"] != old["access_token"]
        assert {k: new[k] for k in ("refresh_token", "scope", "token_type", "expires_in")} == {
            k: old[k] for k in ("refresh_token", "scope", "token_type", "expires_in")
        }
        assert new["expires_at"] == clock.now() + 900


async def test_without_a_login(tmp_path: Path, clock: FakeClock) -> None:
    """No file, or a file without a refresh token, is a login that is needed."""
    async with household(tmp_path, clock) as home:
        write_credential(home.share_dir, home.server.seed(), clock.now(), refresh_token="")
        with pytest.raises(LoginRequired, match="there is no login: run: bridge login"):
            await home.refresh.succeed(due)
        home.path.unlink()
        with pytest.raises(LoginRequired, match="there is no login"):
            await home.refresh.succeed(due)
        assert home.server.requests == []


async def test_adopts_what_a_neighbour_rotated(tmp_path: Path, clock: FakeClock) -> None:
    """While a neighbour holds the lock we wait, and what it fetched is ours without a request."""
    async with household(tmp_path, clock) as home:
        clock.advance(600)
        async with home.elsewhere.lock():
            task = asyncio.create_task(home.refresh.succeed(lambda held: held.stale(clock.now())))
            await clock.sleepers()
            rotated = home.neighbour_refreshes()
            clock.advance(LOCK_POLL_SECONDS)
            credential = await task
        assert credential.token.document() == rotated
        assert home.server.requests == []


async def test_never_goes_ahead_unlocked(tmp_path: Path, clock: FakeClock) -> None:
    """A real neighbour may hold its lock for minutes: nothing is sent until it lets go."""
    async with household(tmp_path, clock) as home:
        neighbour = Neighbour(home.share_dir, home.server.url, force=True, stop_at="locked")
        await asyncio.to_thread(neighbour.start)
        try:
            await asyncio.to_thread(neighbour.until, "locked")
            first = home.credential["refresh_token"]
            stale = asyncio.create_task(home.refresh.succeed(lambda held: held.refresh == first))
            for _ in range(1200):
                await clock.sleepers()
                clock.advance(LOCK_POLL_SECONDS)
            assert home.server.requests == []
            neighbour.go_on()
            await asyncio.to_thread(neighbour.wait)
            await clock.sleepers()
            clock.advance(LOCK_POLL_SECONDS)
            credential = await stale
        finally:
            await asyncio.to_thread(neighbour.stop)
        assert credential.token.document() == home.credential
        assert (home.server.refreshes, home.server.spent_presented) == (1, 0)


async def test_logout_ends_the_wait_for_the_lock(tmp_path: Path, clock: FakeClock) -> None:
    """A login that has gone is not waited for."""
    async with household(tmp_path, clock) as home, home.elsewhere.lock():
        task = asyncio.create_task(home.refresh.succeed(due))
        await clock.sleepers()
        home.path.unlink()
        clock.advance(LOCK_POLL_SECONDS)
        with pytest.raises(LoginRequired):
            await task


async def test_server_unwell_is_asked_three_times(tmp_path: Path, clock: FakeClock) -> None:
    """A 5xx is asked again after one and two seconds, with the lock free in between."""
    async with household(tmp_path, clock) as home:
        for _ in range(2):
            home.server.next_answer(503, b"<html>busy</html>")
        task = asyncio.create_task(home.refresh.succeed(due))
        for pause in PAUSES:
            await clock.sleepers()
            assert clock.deadlines == [pause]
            async with home.elsewhere.lock():
                pass
            assert home.litter == []
            clock.advance(pause)
        await task
        assert len(home.server.requests) == 3
        assert home.server.refreshes == 1


async def test_server_unwell_for_long(tmp_path: Path, clock: FakeClock) -> None:
    """After three tries the error names host and status, and the file is as it was."""
    async with household(tmp_path, clock) as home:
        old = home.credential
        for _ in range(3):
            home.server.next_answer(500, b"ACCESSsecret in a stack trace")
        task = asyncio.create_task(home.refresh.succeed(due))
        for pause in PAUSES:
            await paused(clock, pause)
        with pytest.raises(
            AuthorizationServerError, match=r"127.0.0.1:\d+ did not .*HTTP 500\b"
        ) as e:
            await task
        assert "secret" not in str(e.value)
        assert home.credential == old
        assert home.litter == []


async def test_short_pause_that_the_server_asks_for(tmp_path: Path, clock: FakeClock) -> None:
    """A ``Retry-After`` of two seconds is waited for before the next try."""
    async with household(tmp_path, clock) as home:
        home.server.next_answer(429, {"error": "slow"}, {"Retry-After": "2"})
        task = asyncio.create_task(home.refresh.succeed(due))
        await paused(clock, 2.0)
        await task


async def test_long_pause_that_the_server_asks_for(tmp_path: Path, clock: FakeClock) -> None:
    """A ``Retry-After`` of minutes is not sat out here but told to the caller."""
    async with household(tmp_path, clock) as home:
        home.server.next_answer(429, {"error": "slow"}, {"Retry-After": "120"})
        with pytest.raises(AuthorizationServerError) as caught:
            await home.refresh.succeed(due)
        assert caught.value.retry_after == 120
        assert len(home.server.requests) == 1


async def test_server_cannot_be_reached(tmp_path: Path, clock: FakeClock) -> None:
    """A refused connection spends nothing, so it is tried again."""
    async with household(tmp_path, clock) as home:
        await home.server.goes_dark()
        task = asyncio.create_task(home.refresh.succeed(due))
        await paused(clock, PAUSES[0])
        await clock.sleepers()
        await home.server.comes_back()
        clock.advance(PAUSES[1])
        await task
        assert home.server.refreshes == 1


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_refused(tmp_path: Path, clock: FakeClock, status: int) -> None:
    """A refusal, at any status, is believed after a second look, and the file stays as it is."""
    async with household(tmp_path, clock) as home:
        old = home.credential
        home.server.next_answer(status, {"error": "invalid_grant"})
        task = asyncio.create_task(home.refresh.succeed(due))
        await paused(clock, SECOND_LOOK_SECONDS)
        with pytest.raises(RefreshRefused, match="the login has ended") as caught:
            await task
        assert caught.value.token.refresh == old["refresh_token"]
        assert caught.value.certain
        assert home.credential == old
        assert home.litter == []
        assert len(home.server.requests) == 1


async def test_refused_while_a_neighbour_wrote(tmp_path: Path, clock: FakeClock) -> None:
    """Another login that is in the file a second later counts, and nobody is logged out."""
    async with household(tmp_path, clock) as home:
        first = home.credential["refresh_token"]
        home.server.next_answer(400, {"error": "invalid_grant"})
        task = asyncio.create_task(home.refresh.succeed(lambda held: held.refresh == first))
        await clock.sleepers()
        rotated = home.neighbour_refreshes()
        clock.advance(SECOND_LOOK_SECONDS)
        assert (await task).token.document() == rotated
        assert len(home.server.requests) == 1


async def test_logout_during_the_second_look(tmp_path: Path, clock: FakeClock) -> None:
    """Who is logged out meanwhile is told that a login is needed."""
    async with household(tmp_path, clock) as home:
        home.server.next_answer(401)
        task = asyncio.create_task(home.refresh.succeed(due))
        await clock.sleepers()
        home.path.unlink()
        clock.advance(SECOND_LOOK_SECONDS)
        with pytest.raises(RefreshRefused) as caught:
            await task
        assert not caught.value.certain


async def test_logout_during_the_exchange_is_not_undone(tmp_path: Path, clock: FakeClock) -> None:
    """A file that vanished while the server was asked does not come back."""
    async with household(tmp_path, clock) as home:
        home.server.hold_after = True
        task = asyncio.create_task(home.refresh.succeed(due))
        await home.server.request_arrived()
        home.path.unlink()
        home.server.release()
        with pytest.raises(LoginRequired, match="logged out during the refresh"):
            await task
        assert not home.path.exists()
        assert home.litter == []


async def test_login_during_the_exchange_stays(tmp_path: Path, clock: FakeClock) -> None:
    """A login made while the server was asked is kept, and is what the refresh returns."""
    async with household(tmp_path, clock) as home:
        home.server.hold_after = True
        task = asyncio.create_task(home.refresh.succeed(due))
        await home.server.request_arrived()
        login = home.logs_in_anew()
        home.server.release()
        assert (await task).token.document() == login
        assert home.credential == login


@pytest.mark.parametrize("after_rotation", [True, False])
async def test_lost_answer_is_not_followed_by_another_request(
    tmp_path: Path, clock: FakeClock, after_rotation: bool
) -> None:
    """A reset after the request went out may have spent the token: it is not sent again."""
    async with household(tmp_path, clock) as home:
        home.server.lose_answers(after_rotation=after_rotation)
        with pytest.raises(AnswerLost, match="was lost"):
            await home.refresh.succeed(due)
        assert len(home.server.requests) == 1
        assert home.server.spent_presented == 0


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b"<html>welcome</html>"), (200, b""), (200, b'{"access_'), (204, b""), (200, b"{}"),
     (502, b"<html>bad gateway</html>"), (504, b""), (200, b"x" * 10_000_000)],
    ids=["html", "empty", "cut", "204", "no-token", "502", "504", "huge"],
)  # fmt: skip
async def test_unusable_answer_after_a_rotation(
    tmp_path: Path, clock: FakeClock, status: int, body: bytes
) -> None:
    """An answer that says nothing may hide a rotation: it is lost, and only its status is told."""
    async with household(tmp_path, clock) as home:
        old = home.credential
        home.server.next_answer(status, body, acts=True)
        with pytest.raises(AnswerLost, match=f"HTTP {status}") as caught:
            await home.refresh.succeed(due)
        assert len(str(caught.value)) < 200
        assert home.credential == old


async def test_suspicion_outlives_the_process(tmp_path: Path, clock: FakeClock) -> None:
    """After a lost answer every bridge that comes spares the token while its access token lives."""
    async with household(tmp_path, clock) as home:
        home.server.lose_answers(after_rotation=False)
        with pytest.raises(AnswerLost):
            await home.refresh.succeed(due)
        clock.advance(600)
        for _ in range(2):
            async with home.another() as later:
                with pytest.raises(AnswerLost, match="may be spent"):
                    await later.refresh.succeed(due)
        assert len(home.server.requests) == 1
        clock.advance(250)
        async with home.another() as later:
            await later.refresh.succeed(due)
        assert home.server.refreshes == 1
        assert home.litter == []


async def test_suspicion_of_a_token_that_is_refused_anyway(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Where the access token does not live there is nothing to spare, and the token is tried."""
    async with household(tmp_path, clock) as home:
        home.server.lose_answers(after_rotation=False)
        with pytest.raises(AnswerLost):
            await home.refresh.succeed(due)
        await home.refresh.succeed(due, living=False)
        assert home.server.refreshes == 1


async def test_neighbour_ends_the_suspicion(tmp_path: Path, clock: FakeClock) -> None:
    """A token that a neighbour rotated since is refreshed without any suspicion."""
    async with household(tmp_path, clock) as home:
        home.server.lose_answers(after_rotation=False)
        with pytest.raises(AnswerLost):
            await home.refresh.succeed(due)
        home.neighbour_refreshes()
        await home.refresh.succeed(due)
        assert home.server.spent_presented == 0
        assert home.litter == []


async def test_recover_installs_what_a_crash_left(tmp_path: Path, clock: FakeClock) -> None:
    """A successor that was written and not renamed is installed at the start, without a request."""
    async with household(tmp_path, clock) as home:
        held = home.store.read()
        assert held is not None
        await home.refresh.recover()
        assert not home.store.lock_path.exists()
        successor = Successor.reserve(home.path, held.token)
        successor.write(
            held.token.succeeded_by({"access_token": "a2", "refresh_token": "r2"}, EPOCH)
        )
        successor.close()
        await home.refresh.recover()
        assert home.credential["refresh_token"] == "r2"
        assert home.server.requests == []


class FullDisk(Store):
    """A store whose disk has no room."""

    def reserve(self, predecessor: Token) -> Successor:
        """Find no room."""
        raise CredentialUnreadable(f"{self.path} cannot be written (No space left on device)")


async def test_full_disk_spends_nothing(tmp_path: Path, clock: FakeClock) -> None:
    """Without room for the successor the server is never asked."""
    async with household(tmp_path, clock, store_type=FullDisk) as home:
        with pytest.raises(CredentialUnreadable, match="No space left"):
            await home.refresh.succeed(due)
        assert home.server.requests == []


async def test_disk_that_refuses_after_the_rotation(tmp_path: Path, clock: FakeClock) -> None:
    """The new token comes back with the error, named by file and reason, and can be saved later."""
    async with household(tmp_path, clock, store_type=RefusingDisk) as home:
        home.disk.refusing = True
        with pytest.raises(Unsaved, match=r"kimi-code.json cannot .*Input/output") as caught:
            await home.refresh.succeed(due)
        unsaved = caught.value
        assert unsaved.predecessor.token.document() == home.credential
        assert home.server.valid(unsaved.token.access)
        assert "secret" not in str(unsaved)
        home.disk.refusing = False
        saved = await home.refresh.save(unsaved.predecessor.token, unsaved.token)
        assert saved is not None
        assert saved.token == unsaved.token
        assert home.credential == unsaved.token.document()
        assert home.litter == []


async def test_save_writes_where_nothing_was_left(tmp_path: Path, clock: FakeClock) -> None:
    """A token of which only the memory is left is written whole when the disk is well again."""
    async with household(tmp_path, clock) as home:
        held = home.store.read()
        assert held is not None
        new = held.token.succeeded_by({"access_token": "a2", "refresh_token": "r2"}, EPOCH)
        assert await home.refresh.save(held.token, new) == home.store.read()
        assert home.credential == new.document()


async def test_save_does_not_undo_a_logout_or_a_login(tmp_path: Path, clock: FakeClock) -> None:
    """A token saved late gives way to whatever happened to the file meanwhile."""
    async with household(tmp_path, clock) as home:
        held = home.store.read()
        assert held is not None
        new = held.token.succeeded_by({"access_token": "a2", "refresh_token": "r2"}, EPOCH)
        login = home.logs_in_anew()
        saved = await home.refresh.save(held.token, new)
        assert saved is not None
        assert saved.token.document() == home.credential == login
        home.path.unlink()
        assert await home.refresh.save(held.token, new) is None
        assert not home.path.exists()


async def test_cancelled_exchange_leaves_its_suspicion(tmp_path: Path, clock: FakeClock) -> None:
    """Should a refresh be cancelled all the same, the disk remembers that a token was sent."""
    async with household(tmp_path, clock) as home:
        home.server.hold_before = True
        task = asyncio.create_task(home.refresh.succeed(due))
        await home.server.request_arrived()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        home.server.release()
        held = home.store.read()
        assert held is not None
        assert home.litter == [successor_path(home.path, held.token).name]


async def test_file_stays_readable_for_the_neighbour(tmp_path: Path, clock: FakeClock) -> None:
    """What bridge writes has JSON numbers and all six keys, as both official CLIs need them."""
    async with household(tmp_path, clock) as home:
        await home.refresh.succeed(due)
        document = json.loads(home.path.read_text())
        assert list(document) == [
            "access_token", "refresh_token", "expires_at", "scope", "token_type", "expires_in",
        ]  # fmt: skip
        assert all(isinstance(document[k], int | float) for k in ("expires_at", "expires_in"))


async def test_other_share_folder_other_login(tmp_path: Path, clock: FakeClock) -> None:
    """Two share folders are two logins that know nothing of each other."""
    async with household(tmp_path, clock) as home, AuthorizationServer(clock) as server:
        other = tmp_path / "other"
        write_credential(other, server.seed(), clock.now())
        before = credential_file(other).read_bytes()
        await home.refresh.succeed(due)
        assert credential_file(other).read_bytes() == before
        async with Strongbox(other, server.url, clock) as box:
            await box.refresh.succeed(due)
        assert read_credential(other) != json.loads(before)
        assert (home.server.refreshes, server.refreshes) == (1, 1)


# --- the journal


def refreshes_noted(home: Household) -> list[Entry]:
    """Return what the next process finds of refreshes in the journal; of adoptions nothing."""
    journal = Journal(home.share_dir / "state" / "journal", home.clock)
    journal.look()
    return [each for each in journal.chronicle.entries if each.outcome is not Outcome.ADOPTED]


async def test_noted_before_it_is_sent(tmp_path: Path, clock: FakeClock) -> None:
    """When the server hears of a refresh token, the journal has heard of it."""
    async with household(tmp_path, clock) as home:
        spent = digest(home.credential["refresh_token"])
        home.server.hold_before = True
        task = asyncio.create_task(home.refresh.succeed(due))
        await home.server.request_arrived()
        assert refreshes_noted(home) == [Entry(spent, clock.now())]
        clock.advance(2)
        home.server.release()
        new = digest((await task).token.refresh)
        [entry] = refreshes_noted(home)
        assert entry == Entry(spent, clock.now() - 2, Outcome.ROTATED, clock.now(), new)


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (400, b'{"error": "invalid_grant"}', Outcome.REFUSED),
        (200, b"<html>", Outcome.LOST),
        (504, b"", Outcome.LOST),
        (403, b"<html>", Outcome.FAILED),
        (418, b"", Outcome.FAILED),
    ],
)
async def test_outcomes_are_noted(
    tmp_path: Path, clock: FakeClock, status: int, body: bytes, outcome: Outcome
) -> None:
    """Whatever the server answers, the journal knows what it means for the token."""
    async with household(tmp_path, clock) as home:
        for _ in range(3):
            home.server.next_answer(status, body)
        with pytest.raises((LoginRequired, AuthorizationServerError)):
            await clock.run_until(asyncio.create_task(home.refresh.succeed(due)))
        assert [each.outcome for each in refreshes_noted(home)] == [outcome]


async def test_unsaved_is_noted(tmp_path: Path, clock: FakeClock) -> None:
    """A token that is only in memory is noted as such, and as rotated once it is saved."""
    async with household(tmp_path, clock, store_type=RefusingDisk) as home:
        home.disk.refusing = True
        with pytest.raises(Unsaved) as unsaved:
            await home.refresh.succeed(due)
        assert [each.outcome for each in refreshes_noted(home)] == [Outcome.UNSAVED]
        home.disk.refusing = False
        await home.refresh.save(unsaved.value.predecessor.token, unsaved.value.token)
        outcomes = [each.outcome for each in refreshes_noted(home)]
        assert outcomes == [Outcome.UNSAVED, Outcome.ROTATED]


async def test_a_late_save_keeps_what_others_noted(tmp_path: Path, clock: FakeClock) -> None:
    """What another process noted while a token was only in memory is still there afterwards."""
    async with household(tmp_path, clock, store_type=RefusingDisk) as home:
        home.disk.refusing = True
        with pytest.raises(Unsaved) as caught:
            await home.refresh.succeed(due)
        predecessor, token = caught.value.predecessor.token, caught.value.token
        other = Journal(home.share_dir / "state" / "journal", clock)
        other.resume(predecessor)
        other.begun(predecessor)
        other.ended(predecessor, Outcome.FAILED)
        home.disk.refusing = False
        await home.refresh.save(predecessor, token)
        outcomes = [each.outcome for each in refreshes_noted(home)]
        assert outcomes == [Outcome.UNSAVED, Outcome.FAILED, Outcome.ROTATED]


async def test_refresh_without_a_journal(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the journal cannot be written the refresh goes on, and says so in the log."""
    async with household(tmp_path, clock) as home:
        (home.share_dir / "state").touch()
        old = home.credential
        await home.refresh.succeed(due)
        assert home.credential["refresh_token"] != old["refresh_token"]
        assert caplog.text.count("refresh journal not written provider=kimi reason=") == 1


async def test_token_from_an_old_copy(tmp_path: Path, clock: FakeClock) -> None:
    """A refresh token that is known to be spent is not presented while the access token lives."""
    async with household(tmp_path, clock) as home:
        old = home.path.read_bytes()
        await home.refresh.succeed(due)
        home.path.write_bytes(old)
        with pytest.raises(Spared):
            await home.refresh.succeed(due)
        assert (home.server.refreshes, home.server.spent_presented) == (1, 0)


async def test_token_that_never_rotates(tmp_path: Path, clock: FakeClock) -> None:
    """A server that leaves the refresh token as it is is asked again and again."""
    async with household(tmp_path, clock) as home:
        home.server.omit = {"refresh_token"}
        spent = home.credential["refresh_token"]
        await home.refresh.succeed(due)
        assert home.credential["refresh_token"] == spent
        assert not home.refresh.journal.suspects(Token("", spent, 0, 0))


def test_household_is_logged_in(tmp_path: Path, clock: FakeClock) -> None:
    """The stage of these tests stands: one login, one family, nothing asked."""

    async def story() -> Household:
        async with household(tmp_path, clock) as home:
            return home

    home = asyncio.run(story())
    assert home.credential["expires_at"] == EPOCH + 900
    assert len(home.server.families) == 1
