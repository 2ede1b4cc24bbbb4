"""One request from the guard to its last byte: what is told, to whom, and what is written down."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from bridge.errors import (
    AuthorizationServerError,
    BridgeError,
    CredentialBusy,
    CredentialUnreadable,
    LoginRequired,
)
from bridge.network import Client, Outbound
from bridge.oauth.token import Token
from bridge.providers import Auth
from bridge.proxy.rewrite import Routes
from bridge.wire.connection import Connection
from bridge.wire.framing import Incoming
from bridge.wire.reader import Reader, Sink
from tests.fakes.clock import FakeClock
from tests.fakes.upstream import Upstream
from tests.proxy.doorway import (
    CALLER_KEY,
    INVITATION,
    MESSAGES,
    Caller,
    Doorway,
    Purse,
    doorway,
    provider,
)

CHAT = "/kimi/v1/chat/completions"


@asynccontextmanager
async def passage() -> AsyncIterator[tuple[Upstream, Doorway, Caller]]:
    """A caller, a door and an upstream."""
    async with Upstream() as upstream, doorway(upstream.url) as way, way.caller() as caller:
        yield upstream, way, caller


async def test_a_missing_login_says_how_to_log_in() -> None:
    """The message has page, code and command; a retry cannot help, and both dialects are spoken."""
    async with passage() as (upstream, way, caller):
        way.purse.problem = LoginRequired("no login")
        await caller.asks("POST", MESSAGES, body=b"{}")
        anthropic = await caller.answer()
        await caller.asks("POST", CHAT, body=b"{}")
        openai = await caller.answer()
    for answer in (anthropic, openai):
        assert (answer.status, answer.header("x-should-retry")) == (401, "false")
        assert answer.header("content-type") == "application/json"
        error = json.loads(answer.content)["error"]
        assert error["message"] == f"Kimi login needed: {INVITATION}"
        assert error["type"] == "authentication_error"
    assert json.loads(anthropic.content)["type"] == "error"
    assert json.loads(openai.content)["error"]["code"] == "login_required"
    assert way.invited == ["kimi", "kimi"]
    assert upstream.requests == []


async def test_a_missing_key_invites_nobody() -> None:
    """Where no device flow exists the error's own words are told."""
    purse = Purse()
    purse.problem = LoginRequired("no key for kimi: set KIMI_API_KEY")
    async with Upstream() as upstream:
        row = provider(upstream.url, auth=Auth.KEY)
        async with doorway(upstream.url, row=row, purse=purse) as way, way.caller() as caller:
            await caller.asks("POST", MESSAGES, body=b"{}")
            answer = await caller.answer()
    assert b"no key for kimi: set KIMI_API_KEY" in answer.content
    assert way.invited == []


@pytest.mark.parametrize(
    ("problem", "status", "retry_after"),
    [
        (CredentialUnreadable("the file is corrupt: mend it"), 503, ""),
        (CredentialBusy("the lock is held: wait"), 503, "5"),
        (AuthorizationServerError("it is unwell: wait", retry_after=12), 503, "12"),
    ],
)
async def test_a_credential_in_trouble_is_told(
    problem: BridgeError, status: int, retry_after: str
) -> None:
    """The client is told to come back exactly where that can help."""
    async with passage() as (_, way, caller):
        way.purse.problem = problem
        await caller.asks("POST", MESSAGES, body=b"{}")
        answer = await caller.answer()
        assert (answer.status, answer.header("retry-after")) == (status, retry_after)
        assert answer.header("x-should-retry") == ("" if retry_after else "false")
        assert str(problem).encode() in answer.content
        # The daemon lives on: healed, the same connection is served.
        way.purse.problem = None
        await caller.asks("POST", MESSAGES, body=b"{}")
        assert (await caller.answer()).status == 200


async def test_strangers_are_turned_away_before_anything_else() -> None:
    """Guards come before token and body, and their refusals wear the dialect too."""
    async with Upstream() as upstream, doorway(upstream.url, peer_uid=lambda: 4242) as way:
        async with way.caller() as caller:
            key = [("x-bridge-key", CALLER_KEY)]
            await caller.asks("POST", MESSAGES, [*key, ("Content-Length", "5")])
            answer = await caller.answer()
            assert (answer.status, answer.header("connection")) == (403, "close")
            assert b"another user of this machine" in answer.content
            assert json.loads(answer.content)["type"] == "error"
        policy = replace(way.passage.policy, clients="key")
        way.passage = replace(way.passage, policy=policy)
        async with way.caller() as caller:
            await caller.asks("POST", CHAT, body=b"{}")
            answer = await caller.answer()
            assert (answer.status, answer.header("x-should-retry")) == (401, "false")
            await caller.asks("POST", CHAT, key, b"{}")
            assert (await caller.answer()).status == 200
    assert way.purse.asked == 1
    assert upstream.requests[0].header("x-bridge-key") == ""


async def test_a_page_in_a_browser_is_refused() -> None:
    """No CORS header invites it to try again."""
    async with passage() as (upstream, _, caller):
        await caller.asks("OPTIONS", MESSAGES, [("Origin", "https://evil.example")])
        answer = await caller.answer()
    assert answer.status == 403
    assert not [name for name in answer.names if name.startswith("access-control")]
    assert upstream.requests == []


async def test_a_websocket_is_refused_at_once() -> None:
    """Codex falls back to HTTP when it hears so quickly."""
    async with passage() as (upstream, _, caller):
        upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", "x")]
        await caller.asks("GET", "/kimi/v1/responses", upgrade)
        answer = await caller.answer()
        assert (answer.status, answer.header("upgrade")) == (426, "HTTP/1.1")
        await caller.asks("POST", MESSAGES, body=b"{}")
        assert (await caller.answer()).status == 200
    assert len(upstream.requests) == 1


async def test_another_upgrade_is_ignored() -> None:
    """A client that offers HTTP/2 is served in HTTP/1.1."""
    async with passage() as (upstream, _, caller):
        offer = [
            ("Connection", "Upgrade, HTTP2-Settings"),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "x"),
        ]
        await caller.asks("GET", "/kimi/v1/models", offer)
        assert (await caller.answer()).status == 200
    assert {"upgrade", "http2-settings"}.isdisjoint(
        k.lower() for k, _ in upstream.requests[0].headers
    )


@pytest.mark.parametrize("target", ["http://127.0.0.1:1/v1/messages", "*", "/kimi/../x"])
async def test_a_bad_target_is_refused(target: str) -> None:
    """The connection is still good."""
    async with passage() as (upstream, _, caller):
        await caller.asks("OPTIONS" if target == "*" else "GET", target)
        assert (await caller.answer()).status == 400
        await caller.asks("GET", "/health")
        assert (await caller.answer()).status == 200
    assert upstream.requests == []


async def test_a_tunnel_is_refused() -> None:
    """Bridge is nobody's forward proxy."""
    async with passage() as (_, _, caller):
        await caller.asks("CONNECT", "api.kimi.com:443")
        assert (await caller.answer()).status == 400


async def test_a_client_that_waits_is_told_to_go_on() -> None:
    """``Expect: 100-continue`` is answered here and not forwarded."""
    async with passage() as (upstream, _, caller):
        expects = [("Expect", "100-continue"), ("Content-Length", "2")]
        await caller.asks("POST", MESSAGES, expects)
        assert (await caller.head()).status == 100
        await caller.sends(b"{}")
        assert (await caller.answer()).status == 200
    assert upstream.requests[0].header("expect") == ""
    assert upstream.requests[0].body == b"{}"


@pytest.mark.parametrize(
    ("version", "expectation"), [("1.0", "100-continue"), ("1.1", "something else")]
)
async def test_who_does_not_wait_is_told_nothing(version: str, expectation: str) -> None:
    """No interim answer to a client that knows none, or that expects what nobody knows."""
    clock = FakeClock()
    async with (
        Upstream() as upstream,
        doorway(upstream.url, clock=clock) as way,
        way.caller() as caller,
    ):
        headers = [("Expect", expectation), ("Content-Length", "2")]
        await caller.asks("POST", MESSAGES, headers, version=version)
        await clock.sleepers(2)
        await caller.sends(b"{}")
        assert (await caller.head()).status == 200


async def test_a_body_that_is_here_is_not_asked_for() -> None:
    """A client that sends at once hears nothing in between (RFC 9110 section 10.1.1)."""
    async with passage() as (_, _, caller):
        await caller.asks("POST", MESSAGES, [("Expect", "100-continue")], b"{}")
        assert (await caller.head()).status == 200


async def test_a_reload_changes_nothing_under_way() -> None:
    """A request takes its passage once; the next one takes the new one."""
    async with Upstream() as other, passage() as (upstream, way, caller):
        upstream.hold = other.hold = True
        await caller.asks("POST", MESSAGES, body=b"{}")
        first = await upstream.arrives()
        routes = Routes.of([provider(other.url)], default="kimi")
        way.passage = replace(way.passage, routes=routes)
        await first.answers(200, (), b"old")
        assert (await caller.answer()).content == b"old"
        await caller.asks("POST", MESSAGES, body=b"{}")
        await (await other.arrives()).answers(200, (), b"new")
        assert (await caller.answer()).content == b"new"


async def test_each_request_is_one_line_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    """Name, provider, method, path, status, bytes and times; no query, header, body or token."""
    caplog.set_level(logging.INFO, "bridge")
    async with passage() as (_, _, caller):
        key = [("x-api-key", "secret-key"), ("authorization", "Bearer secret-bearer")]
        await caller.asks("POST", f"{MESSAGES}&secret=query", key, b'{"secret": "body"}')
        answer = await caller.answer()
        await caller.asks("GET", "/health")
        await caller.answer()
    (line,) = [record.message for record in caplog.records]
    assert line.startswith(
        "request answered id=feedc0-1 provider=kimi method=POST path=/kimi/v1/messages status=200 "
        f"bytes={len(answer.content)} head_ms="
    )
    assert " total_ms=" in line
    assert "secret" not in line
    assert "fresh" not in line


async def test_a_failure_is_one_line_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    """The invitation to log in, which has a code in it, is for the client alone."""
    caplog.set_level(logging.INFO, "bridge")
    async with passage() as (_, way, caller):
        way.purse.problem = LoginRequired("nobody is logged in")
        await caller.asks("POST", MESSAGES, body=b"{}")
        await caller.answer()
    (line,) = [record.message for record in caplog.records]
    assert line.startswith("request failed id=feedc0-1 provider=kimi ")
    assert " status=401 " in line
    assert line.endswith(" error=LoginRequired reason=nobody is logged in")


async def test_a_cut_and_a_hang_up_are_one_line_each(caplog: pytest.LogCaptureFixture) -> None:
    """They are told apart from answers that went out whole."""
    caplog.set_level(logging.INFO, "bridge")
    async with passage() as (upstream, way, caller):
        upstream.hold = True
        await caller.asks("POST", MESSAGES, body=b"{}")
        exchange = await upstream.arrives()
        await exchange.head(200)
        await caller.head()
        exchange.breaks()
        with pytest.raises(ConnectionResetError):
            await caller.rest()
        async with way.caller() as leaver:
            await leaver.asks("POST", MESSAGES, body=b"{}")
            exchange = await upstream.arrives()
        await exchange.abandoned()
        exchange.breaks()
    cut, left = [record.message for record in caplog.records]
    assert cut.startswith("request cut id=feedc0-1 ")
    assert "reason=the upstream broke off" in cut
    assert left.startswith("request abandoned id=feedc0-2 ")
    assert " status=- " in left


SECRET = "secret-" + "token"


class Broken(Purse):
    """A token source with a bug, whose exception quotes a secret."""

    def at_once(self) -> None:
        """Have nothing at hand."""

    async def current(self) -> Token:
        """Fail as nobody foresaw."""
        raise KeyError(SECRET)


class Meddling:
    """A connection to an upstream, and what befalls the exchange on it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class Fateful(Meddling):
    """A connection during whose every exchange the house comes down."""

    fate: Callable[[], None]

    def ask(self, head: bytes, body: Sequence[bytes], reader: Reader, **more: Any) -> None:
        """Let the answer's head come too late."""
        tell = reader.head

        def late(answer: Incoming) -> None:
            self.fate()
            tell(answer)

        doomed = SimpleNamespace(head=late, failed=reader.failed)
        self._connection.ask(head, body, doomed, **more)


class Clumsy(Meddling):
    """A connection whose answers begin well."""

    def relay(self, sink: Sink) -> None:
        """Pass a piece of content on, then fail as nobody foresaw."""
        sink.take([b"one"], last=False)
        raise KeyError(SECRET)


class Meddler(Client):
    """An outgoing client all of whose connections are of one *kind*."""

    def __init__(self, kind: type[Meddling]) -> None:
        super().__init__(Outbound({}))
        self.kind = kind
        self._take = self.pool.take
        self.pool.take = self._meddled  # type: ignore[assignment, method-assign]  # a double's seam

    async def _meddled(self, *asked: Any) -> Meddling:
        return self.kind(await self._take(*asked))


async def test_a_bug_costs_one_request(caplog: pytest.LogCaptureFixture) -> None:
    """The client gets a 500 with the request's name; the log has the way it took, no secret."""
    async with (
        Upstream() as upstream,
        doorway(upstream.url, purse=Broken()) as way,
        way.caller() as caller,
    ):
        await caller.asks("POST", MESSAGES, body=b"{}")
        answer = await caller.answer()
        assert (answer.status, answer.header("x-should-retry")) == (500, "false")
        assert b"(id=feedc0-1)" in answer.content
        await caller.asks("GET", "/health")
        assert (await caller.answer()).status == 200
    assert " status=500 " in caplog.text
    assert "error=KeyError" in caplog.text
    assert "in current" in caplog.text
    assert SECRET not in caplog.text
    assert SECRET.encode() not in answer.content


async def test_a_bug_in_mid_answer_is_a_reset(caplog: pytest.LogCaptureFixture) -> None:
    """What is out already must not look whole."""
    async with (
        Upstream() as upstream,
        doorway(upstream.url, client=Meddler(Clumsy)) as way,
        way.caller() as caller,
    ):
        await caller.asks("POST", MESSAGES, body=b"{}")
        with pytest.raises(ConnectionResetError):
            await caller.rest()
    assert "error=KeyError" in caplog.text
    assert SECRET not in caplog.text


async def test_an_answer_that_finds_nobody_is_let_go(caplog: pytest.LogCaptureFixture) -> None:
    """A client whose connection breaks in the very moment of the head has left like any other."""
    caplog.set_level(logging.INFO, "bridge")
    async with Upstream() as upstream, doorway(upstream.url, client=Meddler(Fateful)) as way:
        Fateful.fate = staticmethod(way.door.drop)
        upstream.hold = True
        async with way.caller() as caller:
            await caller.asks("POST", MESSAGES, body=b"{}")
            exchange = await upstream.arrives()
            await exchange.head(200)
            with pytest.raises(ConnectionResetError):
                await caller.rest()
            await exchange.abandoned()
            exchange.breaks()
    (line,) = [record.message for record in caplog.records]
    assert line.startswith("request abandoned id=feedc0-1 ")


async def test_what_has_gone_through_is_counted() -> None:
    """Requests, bytes, those under way, and when the last one began."""
    async with passage() as (upstream, way, caller):
        upstream.hold = True
        assert (way.door.live, way.door.last_request) == (0, 0)
        await caller.asks("POST", MESSAGES, body=b"{}")
        exchange = await upstream.arrives()
        assert way.door.live == 1
        assert way.door.last_request > 0
        await exchange.answers(200, (), b"12345")
        await caller.answer()
        await caller.asks("GET", "/health")
        await caller.answer()
        tally = way.door.tally
        assert (tally.requests, tally.sent, tally.live) == (1, 5, 0)
