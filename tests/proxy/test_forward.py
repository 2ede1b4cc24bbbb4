"""One exchange with the upstream: which token, how often, and what is made of every failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from bridge.errors import AuthorizationServerError, CredentialBusy, LoginRequired
from bridge.network import Client, Outbound
from bridge.providers import Auth
from bridge.proxy.server import Limits
from tests.fakes.exchange import Exchange
from tests.fakes.tls import CertificateAuthority
from tests.fakes.upstream import UNAUTHENTICATED, Upstream
from tests.proxy.doorway import CALLER_KEY, MESSAGES, Caller, Doorway, Purse, doorway, provider
from tests.wire.farside import FarSide

COUNT = "/kimi/v1/messages/count_tokens"


@asynccontextmanager
async def passage(
    *tokens: str, hold: bool = True, idle_seconds: float = 60.0
) -> AsyncIterator[tuple[Upstream, Doorway, Caller]]:
    """A caller, a door with *tokens*, and an upstream."""
    limits = Limits(idle_seconds=idle_seconds)
    async with (
        Upstream() as upstream,
        doorway(upstream.url, purse=Purse(*tokens), limits=limits) as way,
        way.caller() as caller,
    ):
        upstream.hold = hold
        yield upstream, way, caller


async def test_a_refused_token_is_replaced_and_the_request_repeated() -> None:
    """After a 401 the same bytes go out once more with another token, unseen by the client."""
    async with passage("stale", "fresh", hold=False) as (upstream, way, caller):
        upstream.accepts = {"fresh"}
        body = bytes(range(256)) * 1000
        await caller.asks("POST", MESSAGES, [("content-encoding", "odd")], body)
        assert (await caller.answer()).status == 200
    first, second = upstream.requests
    assert upstream.bearers == ["stale", "fresh"]
    assert first.body == second.body == body
    assert first.target == second.target
    assert way.purse.refused == ["stale"]


async def test_a_second_401_is_the_clients() -> None:
    """It passes with its own bytes, and nothing is asked a third time."""
    async with passage("one", "two", "three") as (upstream, way, caller):
        await caller.asks("POST", MESSAGES, body=b"{}")
        await (await upstream.arrives()).answers(401, [("x-try", "1")], b"first")
        await (await upstream.arrives()).answers(401, [("x-try", "2")], b"second")
        answer = await caller.answer()
    assert (answer.status, answer.header("x-try"), answer.content) == (401, "2", b"second")
    assert way.purse.refused == ["one"]
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("trouble", [None, AuthorizationServerError("unwell"), CredentialBusy("x")])
async def test_a_401_passes_where_no_other_token_is_to_be_had(trouble: Exception | None) -> None:
    """The same token back, or a failure to renew: the client sees what the upstream said."""
    async with passage("only", hold=False) as (upstream, way, caller):
        way.purse.trouble = trouble  # type: ignore[assignment]
        upstream.refuse_all = True
        await caller.asks("POST", MESSAGES, body=b"{}")
        answer = await caller.answer()
    assert answer.status == 401
    assert UNAUTHENTICATED.encode() in answer.content
    assert upstream.bearers == ["only"]


async def test_a_401_whose_content_never_ends_is_replaced_all_the_same() -> None:
    """The refused answer is left as soon as another token is there."""
    async with passage("stale", "fresh") as (upstream, _, caller):
        await caller.asks("POST", MESSAGES, body=b"{}")
        refusal = await upstream.arrives()
        await refusal.head(401, (), "chunked")
        await (await upstream.arrives()).answers(200, (), b"ok")
        await refusal.abandoned()
        assert (await caller.answer()).content == b"ok"
        refusal.breaks()


async def test_a_lost_login_is_told_instead_of_the_401() -> None:
    """When the refusal shows that nobody is logged in, the client learns how to log in."""
    async with passage("dead", hold=False) as (upstream, way, caller):
        way.purse.trouble = LoginRequired("no login")
        upstream.refuse_all = True
        await caller.asks("POST", MESSAGES, body=b"{}")
        answer = await caller.answer()
    assert answer.status == 401
    assert b"Kimi login needed" in answer.content


@pytest.mark.parametrize("status", [400, 402, 403, 404, 429, 500, 502, 503, 529])
async def test_no_other_status_is_mended(status: int) -> None:
    """It passes unedited, retry-after and all, and no token is doubted."""
    async with passage("good", "other") as (upstream, way, caller):
        await caller.asks("POST", MESSAGES, body=b"{}")
        headers = [("retry-after", "3600"), ("x-should-retry", "true")]
        await (await upstream.arrives()).answers(status, headers, b"as it is")
        answer = await caller.answer()
    assert (answer.status, answer.content) == (status, b"as it is")
    assert answer.headers[:2] == headers
    assert way.purse.refused == []
    assert len(upstream.requests) == 1


async def test_a_key_that_is_another_by_now_is_tried() -> None:
    """What a file or a command gives may have changed since it was read."""
    purse = Purse("sk-1", "sk-2")
    async with Upstream() as upstream:
        row = provider(upstream.url, auth=Auth.KEY)
        async with doorway(upstream.url, purse=purse, row=row) as way, way.caller() as caller:
            upstream.refuse_all = True
            await caller.asks("POST", MESSAGES, body=b"{}")
            assert (await caller.answer()).status == 401
    assert upstream.bearers == ["sk-1", "sk-2"]
    assert purse.refused == ["sk-1"]


async def test_the_callers_own_credential_is_not_renewed() -> None:
    """It is the caller's business; what is for us stays here."""
    purse = Purse("sk-1", "sk-2")
    async with Upstream() as upstream:
        row = provider(upstream.url, auth=Auth.PASSTHROUGH)
        async with doorway(upstream.url, purse=purse, row=row) as way, way.caller() as caller:
            upstream.refuse_all = True
            headers = [("authorization", "Bearer own"), ("x-bridge-key", CALLER_KEY)]
            await caller.asks("POST", MESSAGES, headers, b"{}")
            assert (await caller.answer()).status == 401
    assert upstream.bearers == ["own"]
    assert purse.refused == []
    assert upstream.requests[0].header("x-bridge-key") == ""


async def test_a_provider_without_a_credential_is_not_asked() -> None:
    """No request ever leaves with an empty credential, or with the caller's instead."""
    async with passage("fresh") as (upstream, way, caller):
        way.passage = replace(way.passage, sources={})
        await caller.asks("POST", MESSAGES, [("authorization", "Bearer own")], b"{}")
        answer = await caller.answer()
    assert (answer.status, answer.header("x-should-retry")) == (503, "false")
    assert b"kimi has no credential" in answer.content
    assert upstream.requests == []


async def test_the_request_arrives_as_it_was_sent() -> None:
    """Method, query, end-to-end headers in order and case, and body; the credential is ours."""
    async with passage("fresh") as (upstream, _, caller):
        sent = [
            ("accept", "application/json"),
            ("User-Agent", "claude-cli/2.1.329 (external, cli)"),
            ("Authorization", "Bearer dummy"),
            ("x-api-key", CALLER_KEY),
            ("X-Mine", CALLER_KEY),
            ("anthropic-beta", "a,b"),
            ("Connection", "keep-alive, X-Hop"),
            ("x-hop", "1"),
            ("TE", "trailers"),
            ("accept-encoding", "gzip, br"),
            ("x-name", "ü"),
        ]
        await caller.asks("PATCH", "/kimi/v1/things%2Fa?b=%20c&d", sent, b"\x00\xff")
        exchange = await upstream.arrives()
        await exchange.answers(200)
        await caller.answer()
    request = exchange.request
    assert (request.method, request.target) == ("PATCH", "/coding/v1/things%2Fa?b=%20c&d")
    assert request.body == b"\x00\xff"
    assert [(k, v) for k, v in request.headers if k.lower() not in {"host", "content-length"}] == [
        ("accept", "application/json"),
        ("User-Agent", "claude-cli/2.1.329 (external, cli)"),
        ("anthropic-beta", "a,b"),
        ("accept-encoding", "gzip, br"),
        ("x-name", "ü".encode().decode("latin-1")),
        ("Authorization", "Bearer fresh"),
    ]
    assert request.header("host") == upstream.url.removeprefix("http://")


async def test_no_header_is_added_to_a_bare_request() -> None:
    """What the client did not say is not said for it: no user agent, no accept, no type."""
    async with passage("fresh") as (upstream, _, caller):
        await caller.asks("GET", "/kimi/v1/models")
        exchange = await upstream.arrives()
        await exchange.answers(200)
        await caller.answer()
    assert [name.lower() for name, _ in exchange.request.headers] == ["host", "authorization"]


@pytest.mark.parametrize("location", ["/coding/elsewhere", "login"])
async def test_a_redirect_within_the_host_is_the_clients(location: str) -> None:
    """It is passed on and not followed."""
    async with passage("fresh") as (upstream, _, caller):
        await caller.asks("POST", MESSAGES, body=b"{}")
        await (await upstream.arrives()).answers(307, [("location", location)])
        answer = await caller.answer()
    assert (answer.status, answer.header("location")) == (307, location)
    assert len(upstream.requests) == 1


async def test_a_redirect_to_another_host_is_an_error() -> None:
    """No credential follows it, and the client does not hear of the place."""
    async with passage("fresh") as (upstream, _, caller):
        await caller.asks("POST", MESSAGES, body=b"{}")
        exchange = await upstream.arrives()
        await exchange.answers(302, [("location", "https://evil.example/")], b"go")
        answer = await caller.answer()
    assert (answer.status, answer.header("x-should-retry")) == (502, "false")
    assert b"redirect to another host" in answer.content
    assert b"evil" not in answer.content


async def die(upstream: Upstream, caller: Caller, target: str) -> Exchange:
    """Ask on a kept connection, and have the upstream break it without a word."""
    await caller.asks("POST", "/kimi/v1/warm", body=b"{}")
    await (await upstream.arrives()).answers(200)
    await caller.answer()
    await caller.asks("POST", target, body=b"{}")
    exchange = await upstream.arrives()
    assert exchange.request.connection == 1
    exchange.breaks()
    return exchange


async def test_a_message_is_not_asked_for_twice() -> None:
    """A connection that dies before the answer is told to the client, who may try again."""
    async with passage("fresh") as (upstream, _, caller):
        await die(upstream, caller, MESSAGES)
        answer = await caller.answer()
        assert (answer.status, answer.header("retry-after")) == (502, "1")
        assert answer.header("x-should-retry") == ""
        assert b"127.0.0.1 could not be asked (" in answer.content
    assert len(upstream.requests) == 2


async def test_counting_tokens_is_asked_for_twice_but_not_thrice() -> None:
    """It costs nothing, so a dead connection is worth one more try."""
    async with passage("fresh") as (upstream, _, caller):
        await die(upstream, caller, COUNT)
        again = await upstream.arrives()
        assert (again.request.body, again.request.connection) == (b"{}", 2)
        await again.answers(200, (), b"ok")
        assert (await caller.answer()).content == b"ok"
        await caller.asks("POST", COUNT, body=b"{}")
        for _ in range(2):
            (await upstream.arrives()).breaks()
        assert (await caller.answer()).status == 502


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_what_changes_nothing_is_asked_for_twice(method: str) -> None:
    """A kept connection that dies is worth one more try."""
    async with passage("fresh") as (upstream, _, caller):
        await caller.asks("POST", "/kimi/v1/warm", body=b"{}")
        await (await upstream.arrives()).answers(200)
        await caller.answer()
        await caller.asks(method, "/kimi/v1/models")
        (await upstream.arrives()).breaks()
        again = await upstream.arrives()
        assert again.request.connection == 2
        await again.answers(200, (), b"ok")
        assert (await caller.answer(empty=method == "HEAD")).status == 200


async def test_nobody_listens_upstream() -> None:
    """The client learns which host and why, in its dialect, and may try again."""
    async with passage("fresh") as (upstream, _, caller):
        await upstream.goes_dark()
        await caller.asks("POST", MESSAGES, body=b"{}")
        answer = await caller.answer()
    assert answer.status == 502
    assert b"127.0.0.1 could not be asked (Connection refused)" in answer.content


async def test_silence_before_the_head_has_an_end() -> None:
    """An upstream that takes the request and says nothing is a 504, and is let go."""
    async with passage("fresh", idle_seconds=0.05) as (upstream, _, caller):
        await caller.asks("POST", MESSAGES, body=b"{}")
        exchange = await upstream.arrives()
        answer = await caller.answer()
        assert (answer.status, answer.header("retry-after")) == (504, "1")
        assert b"did not begin to answer within 0.05 s" in answer.content
        await exchange.abandoned()
        exchange.breaks()


async def test_silence_in_the_middle_is_a_cut() -> None:
    """An upstream that falls silent in its answer has broken off."""
    async with passage("fresh", idle_seconds=0.05) as (upstream, _, caller):
        await caller.asks("POST", MESSAGES, body=b"{}")
        exchange = await upstream.arrives()
        await exchange.head(200)
        await caller.head()
        with pytest.raises(ConnectionResetError):
            await caller.rest()
        await exchange.abandoned()
        exchange.breaks()


@pytest.mark.parametrize(
    "nonsense",
    [
        b"SSH-2.0-secret\r\n\r\n",
        b"HTTP/1.1 101 secret\r\nConnection: upgrade\r\nUpgrade: secret\r\n\r\n",
        b"HTTP/1.1 200 secret\r\nTransfer-Encoding: gzip\r\n\r\n",
    ],
)
async def test_nonsense_upstream_is_an_error(nonsense: bytes) -> None:
    """Something that is no HTTP, or not what was asked for, is told as that without quoting it."""
    async with passage("fresh") as (upstream, _, caller):
        await caller.asks("POST", MESSAGES, body=b"{}")
        exchange = await upstream.arrives()
        await exchange.raw(nonsense)
        answer = await caller.answer()
        exchange.breaks()
    assert answer.status == 502
    assert b"it answered something that is not HTTP" in answer.content
    assert b"secret" not in answer.content


@pytest.mark.parametrize("begun", [False, True])
async def test_a_client_that_leaves_takes_the_upstream_with_it(begun: bool) -> None:
    """Before the head or after: the exchange upstream is closed at once."""
    async with Upstream() as upstream, doorway(upstream.url) as way:
        upstream.hold = True
        async with way.caller() as caller:
            await caller.asks("POST", MESSAGES, body=b"{}")
            exchange = await upstream.arrives()
            if begun:
                await exchange.head(200)
                await exchange.says(b"one")
                await caller.head()
        await exchange.abandoned()
        exchange.breaks()


async def test_a_client_that_leaves_during_a_refresh_leaves_no_connection() -> None:
    """The refused answer is closed although nobody waits for the other token any more."""
    waiting = asyncio.Event()

    class Slow(Purse):
        async def rejected(self, token: object) -> object:  # type: ignore[override]
            waiting.set()
            return await asyncio.Event().wait()

    async with Upstream() as upstream, doorway(upstream.url, purse=Slow()) as way:
        upstream.hold = True
        async with way.caller() as caller:
            await caller.asks("POST", MESSAGES, body=b"{}")
            exchange = await upstream.arrives()
            await exchange.head(401)
            await waiting.wait()
        await exchange.abandoned()
        exchange.breaks()


async def test_the_rows_headers_go_along() -> None:
    """What the provider's row adds is there, in place of the client's."""
    async with Upstream() as upstream:
        row = provider(upstream.url, headers=MappingProxyType({"X-Msh-Platform": "bridge"}))
        async with doorway(upstream.url, row=row) as way, way.caller() as caller:
            await caller.asks("GET", "/kimi/v1/models", [("x-msh-platform", "forged")])
            await caller.answer()
    (request,) = upstream.requests
    assert [v for k, v in request.headers if k.lower() == "x-msh-platform"] == ["bridge"]


async def test_an_upstream_that_refuses_before_it_has_read() -> None:
    """Its 413 reaches the client although the body is still on its way and the upstream closes."""
    async with FarSide() as far, doorway(far.url.geturl()) as way, way.caller() as caller:
        asking = asyncio.create_task(caller.asks("POST", MESSAGES, body=bytes(32 << 20)))
        line = await far.accepts()
        await line.hears()
        await line.says(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\n")
        await line.says(b"Content-Length: 2\r\n\r\nno")
        line.finishes()
        answer = await caller.answer()
        await asking
        assert (answer.status, answer.content) == (413, b"no")
        await line.is_left()


async def test_a_client_that_leaves_while_its_body_goes_out() -> None:
    """An upstream that does not read keeps nothing of it alive."""
    async with FarSide() as far, doorway(far.url.geturl()) as way:
        async with way.caller() as caller:
            await caller.asks("POST", MESSAGES, body=bytes(32 << 20))
            line = await far.accepts()
            await line.hears()
        await line.is_left()


async def test_a_certificate_that_is_not_accepted(tmp_path: Path) -> None:
    """The client learns what is wrong with it, and how an authority is named."""
    authority = CertificateAuthority(tmp_path)
    async with FarSide(authority.server_context) as far, doorway(far.url.geturl()) as way:
        async with way.caller() as caller:
            await caller.asks("POST", MESSAGES, body=b"{}")
            answer = await caller.answer()
        trusting = Client(Outbound({}, ca_file=str(authority.file)))
    assert answer.status == 502
    assert b"localhost could not be asked (its certificate is not accepted: " in answer.content
    assert b"network.ca_file" in answer.content
    async with (
        FarSide(authority.server_context) as far,
        doorway(far.url.geturl(), client=trusting) as way,
        way.caller() as caller,
    ):
        await caller.asks("POST", MESSAGES, body=b"{}")
        line = await far.accepts()
        assert b"authorization: bearer fresh" in (await line.answers()).lower()
        assert (await caller.answer()).content == b"ok"
