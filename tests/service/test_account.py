"""The account of this user: one journal for each login, and what is known without a daemon."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.config import Paths, paths
from bridge.credentials.forecast import REFRESH_LIFETIME
from bridge.errors import CredentialUnreadable
from bridge.network import Client, Outbound
from bridge.providers import KIMI_CLIENT_ID, OAuth
from bridge.service.account import Account, at_rest, journal_file
from tests.fakes.authorization import AuthorizationServer
from tests.fakes.clock import EPOCH, FakeClock
from tests.fakes.credential import credential_file, write_credential

ANSWER = {
    "access_token": "ACCESSsecret",
    "refresh_token": "REFRESHsecret",
    "expires_in": 900,
    "scope": "kimi-code",
    "token_type": "Bearer",
}


@pytest.fixture(name="places")
def _places(tmp_path: Path) -> Paths:
    """Where the files of a user are who has never used bridge."""
    return paths({"HOME": str(tmp_path)})


@pytest.fixture(name="clock")
def _clock() -> FakeClock:
    """A clock that stands still until it is advanced."""
    return FakeClock()


def test_a_journal_for_each_login(places: Paths, tmp_path: Path) -> None:
    """It lies with the other state of bridge; another share folder, which has a lock of its own."""
    journal = journal_file(places)
    assert journal.parent == tmp_path / ".local/state/bridge"
    assert journal_file(places) == journal
    assert journal_file(replace(places, kimi_share="/elsewhere")) != journal


def test_at_rest(places: Paths, clock: FakeClock) -> None:
    """Without a daemon there is the file, the forecast, and what the journal noted."""
    assert at_rest(places, clock).problem == "there is no login: run: bridge login"
    write_credential(Path(places.kimi_share), ANSWER, EPOCH)
    condition = at_rest(places, clock)
    assert (condition.ready, condition.remaining, condition.problem) == (True, 900, None)
    assert (condition.refreshed_at, condition.ends_at) == (EPOCH, EPOCH + REFRESH_LIFETIME)
    assert "secret" not in repr(condition)
    assert not journal_file(places).exists()
    credential_file(Path(places.kimi_share)).write_text("spoilt")
    with pytest.raises(CredentialUnreadable):
        at_rest(places, clock)


async def test_refreshes_are_noted(places: Paths, clock: FakeClock) -> None:
    """What the account does is known to whoever looks at it afterwards."""
    async with AuthorizationServer(clock) as server:
        write_credential(Path(places.kimi_share), server.seed(), clock.now())
        client = Client(Outbound({}))
        oauth = OAuth(host=server.url, client_id=KIMI_CLIENT_ID)
        source = Account(oauth, places, client, clock).source
        server.next_answer(400, {"error": "invalid_grant"})
        source.renew()
        await clock.sleepers()
        clock.advance(1)
        await source.settle()
        await client.close()
    condition = at_rest(places, clock)
    assert condition.failure == "the refresh token was refused"
    assert condition.failed_at == clock.now() - 1
    assert (condition.note or "").startswith("the refresh token was refused, and it was not spent")


async def test_own_login_is_no_news(
    places: Paths, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Who asks for a login tells of it, so that the source does not tell of it again."""
    caplog.set_level(logging.INFO, logger="bridge")
    async with AuthorizationServer(clock) as server:
        client = Client(Outbound({}))
        oauth = OAuth(host=server.url, client_id=KIMI_CLIENT_ID)
        account = Account(oauth, places, client, clock)
        assert not account.source.condition().ready
        flow = account.login()
        invitation = await flow.begin()
        server.approve(invitation.user_code)
        await clock.run_until(asyncio.create_task(flow.finish()))
        assert account.source.condition().ready
        assert account.source.at_once() is not None
        await client.close()
    assert caplog.messages == []
