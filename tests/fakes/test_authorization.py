"""The fake authorization server grants as the standards say and deviates as Kimi does."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from bridge.providers import KIMI_CLIENT_ID
from tests.fakes.authorization import (
    ACCESS_MARK,
    REFRESH_MARK,
    AuthorizationProcess,
    AuthorizationServer,
)
from tests.fakes.child import fetch
from tests.fakes.clock import EPOCH, FakeClock

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
INVALID_GRANT = (400, "invalid_grant")


class Caller:
    """A client that speaks the plain protocol and keeps the last whole answer."""

    def __init__(self, server: AuthorizationServer, session: aiohttp.ClientSession) -> None:
        self.server, self.session = server, session
        self.answer: dict[str, Any] = {}

    async def posts(self, endpoint: str, **form: str) -> tuple[int, str]:
        """Post a form and return status and error code."""
        url = f"{self.server.url}/api/oauth/{endpoint}"
        data = {"client_id": KIMI_CLIENT_ID, **form}
        async with self.session.post(url, data=data) as got:
            self.answer = json.loads(await got.read())
            return got.status, self.answer.get("error", "")

    async def begins(self) -> dict[str, Any]:
        """Start a device flow and return the invitation."""
        assert await self.posts("device_authorization") == (200, "")
        return self.answer

    async def polls(self, invitation: dict[str, Any]) -> tuple[int, str]:
        """Ask whether the person has approved."""
        code = invitation["device_code"]
        return await self.posts("token", grant_type=DEVICE_CODE, device_code=code)

    async def refreshes(self, token: dict[str, Any]) -> tuple[int, str]:
        """Spend the refresh token of a token answer."""
        spent = token["refresh_token"]
        return await self.posts("token", grant_type="refresh_token", refresh_token=spent)


async def test_grants_a_login_once_the_person_approves() -> None:
    """A device code is pending until approved, then becomes a token, and then is unknown."""
    clock = FakeClock()
    async with AuthorizationServer(clock) as server, aiohttp.ClientSession() as session:
        caller = Caller(server, session)
        invitation = await caller.begins()
        assert (invitation["expires_in"], invitation["interval"]) == (1800, 5)
        assert invitation["verification_uri_complete"].endswith(invitation["user_code"])
        assert await caller.polls(invitation) == (400, "authorization_pending")
        clock.advance(5)
        server.approve(invitation["user_code"])
        assert await caller.polls(invitation) == (200, "")
        token = caller.answer
        assert await caller.polls(invitation) == INVALID_GRANT
    assert (token["expires_in"], token["scope"], token["token_type"]) == (
        900,
        "kimi-code",
        "Bearer",
    )
    assert token["access_token"].startswith(ACCESS_MARK)
    assert len(token["access_token"]) == 700
    assert token["refresh_token"].startswith(REFRESH_MARK)
    assert server.polls == [EPOCH, EPOCH + 5, EPOCH + 5]
    assert server.device_flows == 1


async def test_ends_a_login_that_is_denied_or_too_late() -> None:
    """Denied and expired codes have their own errors, all of them with status 400."""
    clock = FakeClock()
    async with AuthorizationServer(clock) as server, aiohttp.ClientSession() as session:
        caller = Caller(server, session)
        first, second, third = [await caller.begins() for _ in range(3)]
        server.deny(first["user_code"])
        server.expire(second["user_code"])
        assert await caller.polls(first) == (400, "access_denied")
        assert await caller.polls(second) == (400, "expired_token")
        clock.advance(1800)
        assert await caller.polls(third) == (400, "expired_token")


async def test_slows_a_hasty_client_down() -> None:
    """slow_down comes on demand, or to whoever polls sooner than the growing interval allows."""
    clock = FakeClock()
    async with AuthorizationServer(clock) as server, aiohttp.ClientSession() as session:
        caller = Caller(server, session)
        server.slow_down = 1
        invitation = await caller.begins()
        assert await caller.polls(invitation) == (400, "slow_down")
        server.keeps_interval = True
        clock.advance(5)
        assert await caller.polls(invitation) == (400, "slow_down")
        clock.advance(15)
        assert await caller.polls(invitation) == (400, "authorization_pending")


@pytest.mark.parametrize("stern", [False, True])
async def test_rotates_and_counts_spent_tokens(stern: bool) -> None:
    """A spent refresh token is refused; a stern server ends the whole login over it."""
    async with AuthorizationServer(stern=stern) as server, aiohttp.ClientSession() as session:
        caller, first = Caller(server, session), server.seed()
        other = server.seed()
        assert await caller.refreshes(first) == (200, "")
        second = caller.answer
        assert await caller.refreshes(first) == INVALID_GRANT
        assert caller.answer["error_description"] == "The provided authorization grant is invalid"
        assert await caller.refreshes(second) == (INVALID_GRANT if stern else (200, ""))
        assert [server.valid(token["access_token"]) for token in (first, other)] == [
            not stern,
            True,
        ]
        assert (server.spent_presented, server.families[0].revoked) == (1, stern)


async def test_an_access_token_ends_by_the_clock_or_by_revocation() -> None:
    """A token is good until its own end on the server's wall clock, unless it is revoked."""
    clock = FakeClock()
    server = AuthorizationServer(clock)
    token, revoked = server.seed(), server.seed()
    server.revoke(revoked["access_token"])
    assert [server.valid(t["access_token"]) for t in (token, revoked)] == [True, False]
    clock.advance(899)
    assert server.valid(token["access_token"])
    clock.advance(1)
    assert not server.valid(token["access_token"])
    assert not server.valid("never issued")


async def test_understands_forms_only_and_its_own_client() -> None:
    """A JSON body has no grant type to it, and a stranger's client id is refused."""
    async with AuthorizationServer() as server, aiohttp.ClientSession() as session:
        caller = Caller(server, session)
        document = {"client_id": KIMI_CLIENT_ID, "grant_type": "refresh_token"}
        async with session.post(f"{server.url}/api/oauth/token", json=document) as got:
            assert (got.status, await got.json()) == (400, {"error": "unsupported_grant_type"})
        assert await caller.posts("device_authorization", client_id="x") == (400, "invalid_client")
        assert await caller.posts("token", grant_type="password") == (400, "unsupported_grant_type")
        headers = {"X-Msh-Device-Id": "abc"}
        async with session.post(f"{server.url}/oauth/token", headers=headers) as got:
            assert got.status == 404
    assert server.requests[-1].header("x-msh-device-id") == "abc"


async def test_omits_what_it_is_told_to_omit() -> None:
    """An answer without a refresh token leaves the old one good."""
    async with AuthorizationServer() as server, aiohttp.ClientSession() as session:
        caller, token = Caller(server, session), server.seed()
        server.omit = {"refresh_token", "scope", "token_type"}
        for _ in range(2):
            assert await caller.refreshes(token) == (200, "")
            assert set(caller.answer) == {"access_token", "expires_in"}
    assert (server.refreshes, server.spent_presented) == (2, 0)


async def test_gives_any_answer_in_place_of_its_own() -> None:
    """Answers to come are given as they are, before or after the server has acted."""
    async with AuthorizationServer() as server, aiohttp.ClientSession() as session:
        caller, token = Caller(server, session), server.seed()
        server.next_answer(429, {"error": "slow"}, {"Retry-After": "7"})
        server.next_answer(500, b'{"html": "<p>"}', acts=True)
        assert await caller.refreshes(token) == (429, "slow")
        assert server.refreshes == 0
        assert await caller.refreshes(token) == (500, "")
        assert await caller.refreshes(token) == INVALID_GRANT


@pytest.mark.parametrize("after", [False, True])
async def test_loses_an_answer(after: bool) -> None:
    """A lost answer is a reset connection, and the token is spent or not as the test says."""
    async with AuthorizationServer() as server, aiohttp.ClientSession() as session:
        caller, token = Caller(server, session), server.seed()
        server.lose_answers(after_rotation=after)
        with pytest.raises(aiohttp.ClientError):
            await caller.refreshes(token)
        assert await caller.refreshes(token) == (INVALID_GRANT if after else (200, ""))


@pytest.mark.parametrize("where", ["hold_before", "hold_after"])
async def test_stops_the_world_around_the_rotation(where: str) -> None:
    """A held request has or has not rotated, and goes on when released."""
    async with AuthorizationServer() as server, aiohttp.ClientSession() as session:
        caller, token = Caller(server, session), server.seed()
        setattr(server, where, True)
        asked = asyncio.create_task(caller.refreshes(token))
        request = await server.request_arrived()
        assert request.form["refresh_token"] == token["refresh_token"]
        assert server.refreshes == (where == "hold_after")
        server.release()
        assert await asked == (200, "")


@pytest.mark.process
def test_a_process_is_steered_from_outside() -> None:
    """Over its admin paths a process seeds, approves by itself, counts, and takes settings."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    with AuthorizationProcess(stern=True, expires_in=20, interval=1, auto_approve=2) as server:
        api, who = f"{server.url}/api/oauth", f"client_id={KIMI_CLIENT_ID}"
        status, body = fetch(f"{api}/device_authorization", who.encode(), form)
        invitation = json.loads(body)
        assert (status, invitation["interval"]) == (200, 1)
        assert server.state()["pending"] == [invitation["user_code"]]
        poll = f"{who}&grant_type={DEVICE_CODE}&device_code={invitation['device_code']}"
        statuses = [fetch(f"{api}/token", poll.encode(), form)[0] for _ in range(2)]
        assert statuses == [400, 200]
        token = server.seed()
        assert token["expires_in"] == 20
        assert server.valid(token["access_token"])
        server.ask("revoke", token=token["access_token"])
        assert not server.valid(token["access_token"])
        server.set(expires_in=60, stern=0, omit="scope,token_type")
        server.ask("answer", status=503, body="later")
        refresh = f"{who}&grant_type=refresh_token&refresh_token={token['refresh_token']}".encode()
        assert fetch(f"{api}/token", refresh, form) == (503, b"later")
        status, body = fetch(f"{api}/token", refresh, form)
        assert (status, json.loads(body)["expires_in"], "scope" in body.decode()) == (
            200,
            60,
            False,
        )
        assert fetch(f"{api}/token", refresh, form)[0] == 400
        counts = server.state()
        assert (counts["refreshes"], counts["spent_presented"], counts["revoked"]) == (1, 1, 0)
        with pytest.raises(LookupError, match="404"):
            server.set(nonsense=1)
