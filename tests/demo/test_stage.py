"""The stand-ins of the demo do what the real servers are known to do."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest

from bridge.demo.stage import APPROVED_AT_POLL, USER_CODE, Fault, Mood, Stage, Turn
from tests.fakes.clock import FakeClock

REFRESH = "refresh_token"


class Caller:
    """Whoever talks to the stand-ins: it knows their paths and keeps nothing."""

    def __init__(self, stage: Stage, session: aiohttp.ClientSession) -> None:
        self.stage = stage
        self._session = session

    async def post(self, path: str, **form: str) -> tuple[int, dict[str, Any]]:
        """Post a form to the authorization server."""
        async with self._session.post(f"{self.stage.url}/api/oauth/{path}", data=form) as reply:
            return reply.status, await reply.json()

    async def log_in(self) -> Mapping[str, Any]:
        """Poll until the login is approved, and return the first token response."""
        _, begun = await self.post("device_authorization", client_id="c")
        for _ in range(APPROVED_AT_POLL):
            status, reply = await self.post("token", device_code=begun["device_code"])
        assert status == 200
        return reply

    @contextlib.asynccontextmanager
    async def asking(self, token: str, **headers: str) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask the API a question and return when the head of its answer is here."""
        url = f"{self.stage.url}/coding/v1/messages?beta=true"
        headers = {"Authorization": f"Bearer {token}", **headers}
        async with self._session.post(url, data=b"question", headers=headers) as reply:
            yield reply

    async def ask(self, token: str, **headers: str) -> tuple[int, bytes]:
        """Ask the API a question and return status and body."""
        async with self.asking(token, **headers) as reply:
            return reply.status, await reply.read()


@contextlib.asynccontextmanager
async def performance(clock: FakeClock, fault: Fault | None = None) -> AsyncIterator[Caller]:
    """Open the stage for one caller; tokens live ten seconds."""
    async with (
        Stage(clock, lifetime=10.0, fault=fault) as stage,
        aiohttp.ClientSession() as session,
    ):
        yield Caller(stage, session)


async def test_login() -> None:
    """A login is pending until the third poll, which brings a token."""
    async with performance(FakeClock()) as caller:
        status, begun = await caller.post("device_authorization", client_id="c")
        assert (status, begun["user_code"]) == (200, USER_CODE)
        assert USER_CODE in begun["verification_uri_complete"]
        polls = [await caller.post("token", device_code=begun["device_code"]) for _ in range(3)]
        assert [status for status, _ in polls] == [400, 400, 200]
        assert polls[0][1] == {"error": "authorization_pending"}
        token = polls[2][1]
        assert (token["expires_in"], token["token_type"]) == (10.0, "Bearer")
        assert {token["access_token"], token["refresh_token"]} <= set(caller.stage.secrets)


async def test_unknown_device_code() -> None:
    """A device code that was never given out is refused."""
    async with performance(FakeClock()) as caller:
        assert await caller.post("token", device_code="x") == (400, {"error": "invalid_grant"})


async def test_refresh_rotates() -> None:
    """A refresh brings another pair of tokens; the spent one is refused and counted."""
    async with performance(FakeClock()) as caller:
        first = await caller.log_in()
        form = {"grant_type": REFRESH, REFRESH: first["refresh_token"]}
        status, second = await caller.post("token", **form)
        assert status == 200
        assert second["refresh_token"] != first["refresh_token"]
        assert caller.stage.refresh_token == second["refresh_token"]
        assert await caller.post("token", **form) == (400, {"error": "invalid_grant"})
        assert (caller.stage.refreshes, caller.stage.spent_presented) == (1, 1)


async def test_answer() -> None:
    """A question with a living token is answered, and what was said is remembered."""
    async with performance(FakeClock()) as caller:
        token = (await caller.log_in())["access_token"]
        status, body = await caller.ask(token)
        assert status == 200
        assert body.startswith(b"event: message_start\n")
        assert body.endswith(b'"message_stop"}\n\n')
        (exchange,) = caller.stage.exchanges
        assert exchange.digest == hashlib.sha256(body).hexdigest()
        assert (exchange.token, exchange.body, exchange.credentials) == (token, b"question", 1)


async def test_two_credentials() -> None:
    """A second credential beside the bearer is noticed."""
    async with performance(FakeClock()) as caller:
        await caller.ask("t", **{"x-api-key": "k"})
        assert caller.stage.exchanges[0].credentials == 2


async def test_expiry() -> None:
    """A token dies at the end of its life, as does one that never lived."""
    clock = FakeClock()
    async with performance(clock) as caller:
        token = (await caller.log_in())["access_token"]
        clock.jump(9.9)
        assert (await caller.ask(token))[0] == 200
        clock.jump(0.1)
        assert (await caller.ask(token))[0] == 401
        assert (await caller.ask("stranger"))[0] == 401


async def test_events_wait() -> None:
    """Each event waits for its permit, so a reader can prove that none was held back."""
    permits = asyncio.Semaphore(0)
    async with performance(FakeClock()) as caller:
        token = (await caller.log_in())["access_token"]
        caller.stage.turns.append(Turn(permits=permits))
        async with caller.asking(token) as reply:
            (exchange,) = caller.stage.exchanges
            seen = b""
            while not seen.endswith(b'"message_stop"}\n\n'):
                assert bytes(exchange.sent) == seen
                permits.release()
                seen += await reply.content.readuntil(b"\n\n")
            assert await reply.read() == b""


async def test_refusal_in_mid_life() -> None:
    """A refused token is dead from then on, though its time had not come."""
    async with performance(FakeClock()) as caller:
        token = (await caller.log_in())["access_token"]
        caller.stage.turns.append(Turn(Mood.REFUSE))
        assert (await caller.ask(token))[0] == 401
        assert (await caller.ask(token))[0] == 401


async def test_break() -> None:
    """A broken answer begins well and ends with the connection."""
    async with performance(FakeClock()) as caller:
        token = (await caller.log_in())["access_token"]
        caller.stage.turns.append(Turn(Mood.BREAK))
        with pytest.raises(aiohttp.ClientError):
            await caller.ask(token)
        assert caller.stage.exchanges[0].status == 200
        assert (await caller.ask(token))[0] == 200


async def test_faults() -> None:
    """Each fault is the one it is named for."""
    async with performance(FakeClock(), Fault.LOGIN) as caller:
        _, begun = await caller.post("device_authorization", client_id="c")
        _, reply = await caller.post("token", device_code=begun["device_code"])
        assert reply == {"error": "access_denied"}
    async with performance(FakeClock(), Fault.REFRESH) as caller:
        first = await caller.log_in()
        form = {"grant_type": REFRESH, REFRESH: first["refresh_token"]}
        assert (await caller.post("token", **form))[0] == 400
        assert caller.stage.spent_presented == 0
    async with performance(FakeClock(), Fault.END) as caller:
        token = (await caller.log_in())["access_token"]
        caller.stage.turns.append(Turn(Mood.BREAK))
        status, body = await caller.ask(token)
        assert status == 200
        assert b"message_stop" not in body
