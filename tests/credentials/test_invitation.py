"""An agent without a login is told where to go; one flow at a time, whatever happens to it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from bridge.credentials.invitation import BEGIN_SECONDS, LEAST_SECONDS, RETRY_SECONDS, Desk, worded
from bridge.credentials.login import STORE_SECONDS, Login
from bridge.credentials.store import Credential, Store
from bridge.errors import ConfigError, CredentialUnreadable
from bridge.oauth.grant import Invitation
from bridge.oauth.token import Token
from tests.credentials.strongbox import Household, at_once, household
from tests.fakes.clock import FakeClock

HINT = "run: bridge login"


def desk(home: Household) -> Desk:
    """Return the desk of a house whose login has gone."""
    home.path.unlink(missing_ok=True)
    return Desk(home.box.login, home.clock)


def code(home: Household) -> str:
    """Return the code of the latest flow."""
    return home.server.login().user_code


def code_in(sentence: str) -> str:
    """Return the code that *sentence* tells."""
    return sentence.partition(" and enter ")[2].partition(",")[0]


async def ended(desk: Desk) -> None:
    """Wait until no flow runs at *desk*."""
    while desk._flows:
        await asyncio.wait(set(desk._flows))


async def test_sentence_names_page_and_code(tmp_path: Path, clock: FakeClock) -> None:
    """The sentence is what a person needs: where to go, what to type, and what else works."""
    async with household(tmp_path, clock) as home:
        front = desk(home)
        sentence = await front.sentence()
        assert sentence == worded(
            Invitation(
                code(home),
                f"{home.server.url}/code/authorize_device",
                f"{home.server.url}/code/authorize_device?user_code={code(home)}",
                0,
            )
        )
        assert sentence.endswith(f"and enter {code(home)}, or {HINT}")
        await front.close()


async def test_approved_and_the_next_request_works(tmp_path: Path, clock: FakeClock) -> None:
    """Once the code is approved the running source has its login, and the desk is empty."""
    async with household(tmp_path, clock) as home:
        front = desk(home)
        await front.sentence()
        home.server.approve()
        await clock.sleepers()
        clock.advance(5)
        await ended(front)
        assert home.server.valid(at_once(home.source.current()).access)


async def test_hundred_requests_one_flow(tmp_path: Path, clock: FakeClock) -> None:
    """However many requests miss the login, there is one code, and it is the same for all."""
    async with household(tmp_path, clock) as home:
        front = desk(home)
        sentences = await asyncio.gather(*(front.sentence() for _ in range(100)))
        assert {code_in(sentence) for sentence in sentences} == {code(home)}
        assert await front.sentence() == sentences[0]
        assert home.server.device_flows == 1
        await front.close()


async def test_server_cannot_be_reached(tmp_path: Path, clock: FakeClock) -> None:
    """Without a server the sentence names the command alone, and half a minute goes by in peace."""
    async with household(tmp_path, clock) as home:
        front = desk(home)
        await home.server.goes_dark()
        assert await front.sentence() == HINT
        await home.server.comes_back()
        assert at_once(front.sentence()) == HINT
        assert home.server.device_flows == 0
        clock.advance(RETRY_SECONDS)
        assert code_in(await front.sentence()) == code(home)
        await front.close()


class SlowLogin(Login):
    """A flow whose server takes its time to give out a code."""

    answered: asyncio.Event

    async def begin(self) -> Invitation:
        """Begin once the server answers."""
        await self.answered.wait()
        return await super().begin()


async def test_server_is_slow(tmp_path: Path, clock: FakeClock) -> None:
    """A request does not wait long for a code; a later one finds it."""
    async with household(tmp_path, clock) as home:
        box = home.box
        slow = SlowLogin(
            store=box.store,
            oauth=box.oauth,
            endpoint=box.endpoint,
            clock=clock,
            device=box.device,
        )
        slow.answered = asyncio.Event()
        front = Desk(lambda: slow, clock)
        waiting = asyncio.create_task(front.sentence())
        await clock.sleepers()
        clock.advance(BEGIN_SECONDS)
        assert await waiting == HINT
        waiting = asyncio.create_task(front.sentence())
        await clock.sleepers()
        slow.answered.set()
        assert code_in(await waiting) == code(home)
        assert home.server.device_flows == 1
        await front.close()


async def test_code_about_to_expire_is_replaced(tmp_path: Path, clock: FakeClock) -> None:
    """A code that would expire before it is typed is not shown; a new flow begins."""
    async with household(tmp_path, clock) as home:
        home.server.interval = 1700
        front = desk(home)
        first = code_in(await front.sentence())
        clock.advance(1800 - LEAST_SECONDS - 1)
        assert code_in(await front.sentence()) == first
        clock.advance(2)
        second = code_in(await front.sentence())
        assert second != first
        assert home.server.device_flows == 2
        await front.close()


async def test_denied(tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    """After a refusal the desk rests a while before it offers another code."""
    caplog.set_level(logging.INFO, logger="bridge")
    async with household(tmp_path, clock) as home:
        front = desk(home)
        await front.sentence()
        home.server.deny()
        await clock.sleepers()
        clock.advance(5)
        await ended(front)
        assert "login offered provider=kimi" in caplog.text
        assert "login not completed provider=kimi reason=the login was refused" in caplog.text
        assert at_once(front.sentence()) == HINT
        clock.advance(RETRY_SECONDS)
        await front.sentence()
        assert home.server.device_flows == 2
        assert code(home) not in caplog.text
        await front.close()


async def test_close_stores_what_was_granted(tmp_path: Path, clock: FakeClock) -> None:
    """A token that is on its way while the daemon stops is stored before it does."""
    async with household(tmp_path, clock) as home:
        front = desk(home)
        await front.sentence()
        home.server.approve()
        home.server.hold_after = True
        await clock.sleepers()
        clock.advance(5)
        await home.server.request_arrived()
        closing = asyncio.create_task(front.close())
        home.server.release()
        await closing
        assert home.server.valid(home.credential["access_token"])


async def test_close_waits_for_the_flow_before(tmp_path: Path, clock: FakeClock) -> None:
    """A code approved in its last seconds counts, though another has been shown since."""
    async with household(tmp_path, clock) as home:
        home.server.interval = 1775
        front = desk(home)
        first = code_in(await front.sentence())
        home.server.approve()
        home.server.hold_after = True
        await clock.sleepers()
        clock.advance(1775)
        await home.server.request_arrived()
        assert code_in(await front.sentence()) != first
        closing = asyncio.create_task(front.close())
        home.server.release()
        await closing
        assert home.server.valid(home.credential["access_token"])


async def test_close_and_open_again(tmp_path: Path, clock: FakeClock) -> None:
    """A closed desk, even one closed before its flow had begun, can offer another code."""
    async with household(tmp_path, clock) as home:
        front = desk(home)
        await front.close()
        waiting = asyncio.create_task(front.sentence())
        closing = asyncio.create_task(front.close())
        await closing
        assert await waiting == HINT
        assert code_in(await front.sentence()) == code(home)
        await front.close()
        assert code_in(await front.sentence()) == code(home)
        await front.close()


async def test_flow_that_cannot_be_made(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A configuration that allows no flow, or a mistake of ours, leaves the command to be told."""

    def unmade() -> Login:
        raise ConfigError("kimi has no authorization server: set one")

    def broken() -> Login:
        raise KeyError("REFRESHsecret")

    async with household(tmp_path, clock) as home:
        assert await Desk(unmade, home.clock).sentence() == HINT
        assert "reason=kimi has no authorization server" in caplog.text
        assert await Desk(broken, home.clock).sentence() == HINT
        assert "reason=KeyError" in caplog.text
        assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("page", "complete", "shown"),
    [
        ("https://p", "https://p?c=1", "open https://p?c=1 and enter AB-1, or run: bridge login"),
        ("https://p", "", "open https://p and enter AB-1, or run: bridge login"),
        ("", "", "open the page that Kimi names and enter AB-1, or run: bridge login"),
    ],
)
def test_worded(page: str, complete: str, shown: str) -> None:
    """The page with the code in it is preferred, and its absence is no reason to be silent."""
    assert worded(Invitation("AB-1", page, complete, 0)) == shown


async def test_an_expired_code_is_replaced_at_once(tmp_path: Path, clock: FakeClock) -> None:
    """A machine that slept past its code, or whose clock was set, shows another one right away."""
    async with household(tmp_path, clock) as home:
        front = desk(home)
        first = code_in(await front.sentence())
        await clock.sleepers()
        clock.advance(24 * 3600)
        await ended(front)
        second = code_in(await front.sentence())
        assert second == code(home) != first
        await front.close()


class FullDisk(Store):
    """A store on a disk that is full by the time that the person has approved, for a while."""

    refusals = 2

    def replace(self, token: Token) -> Credential:
        """Find room at the third try."""
        self.refusals -= 1
        if self.refusals >= 0:
            raise CredentialUnreadable("the disk is full: make room, then try again")
        return super().replace(token)


async def test_an_approved_login_that_waits_for_room(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says once why what was approved is not in force yet; then it is."""
    async with household(tmp_path, clock, store_type=FullDisk) as home:
        front = desk(home)
        await front.sentence()
        home.server.approve()
        with caplog.at_level(logging.INFO, "bridge"):
            for seconds in (5, STORE_SECONDS, STORE_SECONDS):
                await clock.sleepers()
                clock.advance(seconds)
            await ended(front)
        told = [record.getMessage() for record in caplog.records]
        assert (
            told.count(
                "login waits provider=kimi reason=the disk is full: make room, then try again"
            )
            == 1
        )
        assert told[-1] == "login stored provider=kimi"
        assert home.server.valid(at_once(home.source.current()).access)
