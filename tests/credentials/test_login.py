"""A person logs in: every answer of the server, every way to stop half-way."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from bridge.credentials.login import LOCK_SECONDS, STORE_PATIENCE_SECONDS, STORE_SECONDS
from bridge.credentials.store import Credential, Store
from bridge.errors import (
    AuthorizationServerError,
    CredentialUnreadable,
    LoginDenied,
    LoginExpired,
)
from bridge.oauth.grant import Wait
from bridge.oauth.token import Token
from tests.credentials.strongbox import Household, at_once, household
from tests.fakes.clock import FakeClock

NOBODY = 65534


async def polled(home: Household) -> None:
    """Let the interval pass and the poll that follows be answered."""
    polls = len(home.server.requests)
    await home.clock.sleepers()
    home.clock.advance(home.clock.deadlines[0])
    await home.server.received(polls + 1)


async def test_login_from_code_to_file(tmp_path: Path, clock: FakeClock) -> None:
    """A person reads the code, approves in time, and the running source uses the new login."""
    async with household(tmp_path, clock) as home:
        home.path.unlink()
        login = home.box.login()
        invitation = await login.begin()
        assert invitation.user_code == home.server.login().user_code
        assert invitation.verification_uri.startswith(home.server.url)
        assert invitation.expires_at == clock.now() + 1800
        waits: list[Wait] = []
        task = asyncio.create_task(login.finish(waits.append))
        await polled(home)
        await polled(home)
        home.server.approve()
        await polled(home)
        credential = await task
        assert credential.token.document() == home.credential
        assert at_once(home.source.current()) == credential.token
        assert stat.S_IMODE(home.path.stat().st_mode) == 0o600
        assert [wait.seconds for wait in waits] == [5, 5, 5]
        assert home.server.polls == [clock.now() - 10, clock.now() - 5, clock.now()]
        assert home.litter == []


async def test_login_requests_carry_the_device(tmp_path: Path, clock: FakeClock) -> None:
    """Both requests carry bridge's own honest headers and one device id, now in its file."""
    async with household(tmp_path, clock) as home:
        home.server.auto_approve = 1
        login = home.box.login()
        await login.begin()
        task = asyncio.create_task(login.finish())
        await polled(home)
        await task
        identity = (home.share_dir / "device_id").read_text()
        assert len(identity) == 32
        for request in home.server.requests:
            assert request.header("x-msh-device-id") == identity
            assert request.header("x-msh-platform") == "bridge"
            assert request.header("user-agent").startswith("bridge/")


@pytest.mark.parametrize("error", ["access_denied", "authorization_denied", "invalid_grant"])
async def test_login_denied(tmp_path: Path, clock: FakeClock, error: str) -> None:
    """A refusal ends the polling, and the old login stays."""
    async with household(tmp_path, clock) as home:
        old = home.credential
        login = home.box.login()
        await login.begin()
        task = asyncio.create_task(login.finish())
        home.server.next_answer(400, {"error": error})
        await polled(home)
        with pytest.raises(LoginDenied, match="run bridge login"):
            await task
        assert home.credential == old


async def test_login_expired(tmp_path: Path, clock: FakeClock) -> None:
    """A code that expires at the server ends the polling with a word on how to go on."""
    async with household(tmp_path, clock) as home:
        login = home.box.login()
        await login.begin()
        home.server.expire()
        task = asyncio.create_task(login.finish())
        await polled(home)
        with pytest.raises(LoginExpired, match="run bridge login to get a new one"):
            await task


async def test_nobody_comes(tmp_path: Path, clock: FakeClock) -> None:
    """Without anybody the polling ends by the code's deadline, and never asks too soon."""
    async with household(tmp_path, clock) as home:
        home.server.interval = 100
        home.server.keeps_interval = True
        login = home.box.login()
        invitation = await login.begin()
        task = asyncio.create_task(login.finish())
        for _ in range(17):
            await polled(home)
        with pytest.raises(LoginExpired, match="nobody approved the login in time"):
            await task
        assert clock.now() <= invitation.expires_at
        assert len(home.server.polls) == 17


async def test_told_to_slow_down(tmp_path: Path, clock: FakeClock) -> None:
    """Each ``slow_down`` adds five seconds for good."""
    async with household(tmp_path, clock) as home:
        home.server.slow_down = 2
        login = home.box.login()
        await login.begin()
        waits: list[Wait] = []
        task = asyncio.create_task(login.finish(waits.append))
        for _ in range(3):
            await polled(home)
        home.server.approve()
        await polled(home)
        await task
        assert [wait.seconds for wait in waits] == [5, 10, 15, 15]


async def test_troubles_while_polling(tmp_path: Path, clock: FakeClock) -> None:
    """Server errors, lost answers, HTML pages and a dark server do not end a login."""
    async with household(tmp_path, clock) as home:
        login = home.box.login()
        await login.begin()
        task = asyncio.create_task(login.finish())
        home.server.next_answer(500, b"oops")
        await polled(home)
        home.server.next_answer(503, b"<html>", {"Retry-After": "20"})
        await polled(home)
        home.server.lose_answers(after_rotation=False)
        await polled(home)
        await clock.sleepers()
        await home.server.goes_dark()
        clock.advance(5)
        await clock.sleepers()
        await home.server.comes_back()
        home.server.approve()
        await polled(home)
        assert (await task).token.document() == home.credential


async def test_login_that_does_not_start(tmp_path: Path, clock: FakeClock) -> None:
    """A server that gives no code, or nothing sensible, is named with its status."""
    async with household(tmp_path, clock) as home:
        for answer in (b"<html>", b"{}", b'{"device_code": 1}'):
            home.server.next_answer(200, answer)
            with pytest.raises(AuthorizationServerError, match=r"did not start a login \(HTTP 200"):
                await home.box.login().begin()
        await home.server.goes_dark()
        with pytest.raises(AuthorizationServerError, match="cannot be reached"):
            await home.box.login().begin()


async def test_login_that_could_not_be_stored(tmp_path: Path, clock: FakeClock) -> None:
    """Where the result could not be stored nobody is asked to approve anything."""
    async with household(tmp_path, clock) as home:
        home.store.lock_path.mkdir()
        with pytest.raises(CredentialUnreadable, match="cannot be locked"):
            await home.box.login().begin()
        home.store.lock_path.rmdir()
        (home.share_dir / "device_id").mkdir()
        with pytest.raises(CredentialUnreadable, match="device id cannot be written"):
            await home.box.login().begin()
        assert home.server.requests == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_login_of_root_in_a_users_home(tmp_path: Path, clock: FakeClock) -> None:
    """Under sudo nobody is asked either, and no file of root's is left."""
    async with household(tmp_path, clock) as home:
        home.path.unlink()
        for folder in (home.share_dir, home.path.parent):
            os.chown(folder, NOBODY, NOBODY)
        with pytest.raises(CredentialUnreadable, match="run bridge as nobody"):
            await home.box.login().begin()
        assert home.server.requests == []
        assert os.listdir(home.share_dir) == ["credentials"]  # noqa: PTH208 # no walk, one look


async def test_cancelled_while_waiting(tmp_path: Path, clock: FakeClock) -> None:
    """Cancelling between two polls ends the flow at once."""
    async with household(tmp_path, clock) as home:
        old = home.credential
        login = home.box.login()
        await login.begin()
        task = asyncio.create_task(login.finish())
        await clock.sleepers()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert home.credential == old


async def test_cancelled_while_the_token_is_on_its_way(tmp_path: Path, clock: FakeClock) -> None:
    """A token that was granted is stored though the caller is cancelled meanwhile."""
    async with household(tmp_path, clock) as home:
        home.server.auto_approve = 1
        login = home.box.login()
        await login.begin()
        task = asyncio.create_task(login.finish())
        await clock.sleepers()
        home.server.hold_after = True
        clock.advance(5)
        await home.server.request_arrived()
        task.cancel()
        home.server.release()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert home.server.valid(home.credential["access_token"])
        assert len(home.server.families) == 2
        assert home.credential["refresh_token"] in home.server.refresh
        assert home.server.refresh[home.credential["refresh_token"]].family.number == 2


async def test_cancelled_while_a_refusal_is_on_its_way(tmp_path: Path, clock: FakeClock) -> None:
    """A refusal that nobody waits for any more is no trouble to anybody."""
    async with household(tmp_path, clock) as home:
        login = home.box.login()
        await login.begin()
        task = asyncio.create_task(login.finish())
        await clock.sleepers()
        home.server.hold_before = True
        home.server.next_answer(400, {"error": "access_denied"})
        clock.advance(5)
        await home.server.request_arrived()
        task.cancel()
        home.server.release()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_neighbour_hangs_on_the_lock(tmp_path: Path, clock: FakeClock) -> None:
    """What a person approved is stored though a neighbour sits on the lock."""
    async with household(tmp_path, clock) as home:
        home.server.auto_approve = 1
        login = home.box.login()
        await login.begin()
        task = asyncio.create_task(login.finish())
        async with home.elsewhere.lock():
            await polled(home)
            for _ in range(int(LOCK_SECONDS / 0.1) + 1):
                await clock.sleepers()
                clock.advance(0.1)
            assert (await task).token.document() == home.credential
        assert home.server.refresh[home.credential["refresh_token"]].family.number == 2


async def test_login_replaces_whatever_is_there(tmp_path: Path, clock: FakeClock) -> None:
    """A corrupt file does not stand in the way of a new login."""
    async with household(tmp_path, clock) as home:
        home.path.write_bytes(b"spoilt")
        home.server.auto_approve = 1
        login = home.box.login()
        await login.begin()
        task = asyncio.create_task(login.finish())
        await polled(home)
        assert (await task).token.document() == home.credential


class FullAfterwards(Store):
    """A store whose disk is full by the time that the person has approved, until there is room."""

    full = True

    def replace(self, token: Token) -> Credential:
        """Find no room while there is none."""
        if self.full:
            raise CredentialUnreadable("the disk is full: make room, then try again")
        return super().replace(token)


async def test_disk_full_after_all(tmp_path: Path, clock: FakeClock) -> None:
    """What a person approved waits for room, is told why, and the code is not asked for again."""
    async with household(tmp_path, clock, store_type=FullAfterwards) as home:
        home.server.auto_approve = 1
        login = home.box.login()
        await login.begin()
        waits: list[Wait] = []
        task = asyncio.create_task(login.finish(waits.append))
        await polled(home)
        await clock.sleepers()
        assert [wait.reason for wait in waits[1:]] == [
            "the disk is full: make room, then try again"
        ]
        assert isinstance(home.store, FullAfterwards)
        home.store.full = False
        clock.advance(STORE_SECONDS)
        assert (await task).token.document() == home.credential
        assert len(home.server.polls) == 1


async def test_disk_full_for_good(tmp_path: Path, clock: FakeClock) -> None:
    """A disk that stays full ends the login in its own words, after a while."""
    async with household(tmp_path, clock, store_type=FullAfterwards) as home:
        home.server.auto_approve = 1
        login = home.box.login()
        await login.begin()
        task = asyncio.create_task(login.finish())
        await polled(home)
        await clock.sleepers()
        clock.advance(STORE_PATIENCE_SECONDS)
        with pytest.raises(CredentialUnreadable, match="the disk is full"):
            await task
