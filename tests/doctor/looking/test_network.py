"""Servers are asked whether they are there, with nothing that could be a credential."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Sequence
from email.utils import formatdate
from pathlib import Path
from types import MappingProxyType

import pytest

from bridge.doctor.judging.reach import Goal, Outcome, Reached
from bridge.doctor.looking.network import goals, reach
from bridge.errors import ConfigError
from bridge.providers import Dialect
from bridge.way import Outbound
from tests.doctor.rows import KIMI, MINIMAX, row
from tests.fakes.clock import EPOCH, FakeClock
from tests.fakes.exchange import Exchange
from tests.fakes.loopback import LoopbackServer
from tests.fakes.tls import NAME, CertificateAuthority, TlsServer, TunnelProxy
from tests.ports import free_port


class Server(LoopbackServer):
    """A server that answers 401 with a date that is *ahead* of the test's clock."""

    ahead = 0.0
    silent = False
    date: str | None = None

    async def answer(self, exchange: Exchange) -> None:
        """Refuse, as a provider does without a credential."""
        if self.silent:
            await exchange.abandoned()
            exchange.breaks()
            return
        date = formatdate(EPOCH + self.ahead, usegmt=True) if self.date is None else self.date
        await exchange.answers(401, {"date": date, "set-cookie": "a=b"}, b"")


class TlsEcho(TlsServer, Server):
    """The same over TLS."""

    def __init__(self, authority: CertificateAuthority) -> None:
        super().__init__()
        self.context = authority.server_context


def goal(url: str) -> Goal:
    """Return *url* as somebody's server."""
    return Goal("x", "x.example", url)


async def asked(
    url: str, outbound: Outbound | None = None, resolve: object = socket.getaddrinfo
) -> Reached:
    """Return how asking *url* went."""
    out = outbound or Outbound({})
    [found] = await reach([goal(url)], out, FakeClock(), resolve)  # type: ignore[arg-type] # a fake
    return found


def outcomes(reached: Sequence[Reached]) -> list[Outcome]:
    """Return the outcomes of *reached*."""
    return [each.outcome for each in reached]


async def test_an_answer() -> None:
    """Any answer will do, its date tells the clock, and the question holds no credential."""
    async with Server() as server:
        server.ahead = 90.0
        found = await asked(f"{server.url}/coding")
        assert found.outcome is Outcome.ANSWERED
        assert found.ahead == pytest.approx(90.5)
        request = await server.received(1)
        assert (request.method, request.path, request.body) == ("HEAD", "/coding", b"")
        names = {name.lower() for name, _ in request.headers}
        assert names <= {"host", "user-agent", "accept", "connection"}


@pytest.mark.parametrize("date", ["", "yesterday", "Tue, 99 Foo 2026 99:99:99 GMT"])
async def test_an_answer_without_a_date(date: str) -> None:
    """A server that does not tell the time is reached all the same."""
    async with Server() as server:
        server.date = date
        found = await asked(server.url)
        assert (found.outcome, found.ahead) == (Outcome.ANSWERED, None)


async def test_nobody_there() -> None:
    """A port without a listener is told with the system's reason."""
    found = await asked(f"http://127.0.0.1:{free_port()}")
    assert (found.outcome, found.detail) == (Outcome.NO_CONNECTION, "Connection refused")


async def test_an_unknown_name() -> None:
    """A name that nobody knows is told as such, a proxy's as the proxy's."""

    def unknown(host: str, port: int) -> object:
        raise socket.gaierror(-2, "Name or service not known")

    assert (await asked("https://x.example", resolve=unknown)).outcome is Outcome.NO_NAME
    proxied = Outbound({"https": "http://user:SECRET@proxy.example:1"})
    found = await asked("https://x.example", proxied, unknown)
    assert (found.outcome, found.detail) == (Outcome.PROXY, "its name is not known")


async def test_certificates(tmp_path: Path) -> None:
    """A certificate that nobody vouches for is told, and accepted with its authority's file."""
    authority = CertificateAuthority(tmp_path)
    async with TlsEcho(authority) as server:
        url = f"https://localhost:{server.port}"
        found = await asked(url)
        assert found.outcome is Outcome.CERTIFICATE
        assert "certificate" in found.detail
        trusting = Outbound({}, ca_file=str(authority.file))
        assert (await asked(url, trusting)).outcome is Outcome.ANSWERED


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_nonsense(scheme: str) -> None:
    """Whatever a server says that is no HTTP, or no TLS, none of it is repeated."""

    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 SECRET mail ready\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
        found = await asked(f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert found.outcome is Outcome.BROKEN
    assert "SECRET" not in repr(found)


def known(host: str, port: int) -> object:
    """Know every name."""
    return []


async def test_a_proxy(tmp_path: Path) -> None:
    """Through a proxy that lets it pass, all is well; one that refuses is told with its status."""
    authority = CertificateAuthority(tmp_path)
    async with TlsEcho(authority) as server, TunnelProxy(server.port) as proxy:
        way = Outbound({"https": proxy.url}, ca_file=str(authority.file))
        assert (await asked(f"https://{NAME}", way, known)).outcome is Outcome.ANSWERED
        proxy.status = 407
        found = await asked(f"https://{NAME}", way, known)
        assert (found.outcome, found.detail) == (Outcome.PROXY, "it answers 407")
        assert "PROXYsecret" not in repr(found)
    gone = Outbound({"https": f"http://127.0.0.1:{free_port()}"})
    found = await asked(f"https://{NAME}", gone, known)
    assert (found.outcome, found.detail) == (Outcome.PROXY, "it cannot be reached")


async def test_all_are_asked_at_once_and_none_for_long() -> None:
    """Silent servers and a resolver that hangs cost all together what one may cost."""
    never = threading.Event()

    def hanging(host: str, port: int) -> object:
        if host == "x.example":
            never.wait()
        return []

    clock = FakeClock()
    async with Server() as silent:
        silent.silent = True
        urls = [silent.url, "https://x.example", f"{silent.url}/b"]
        asking = asyncio.create_task(
            reach([goal(url) for url in urls], Outbound({}), clock, hanging, patience=4.5)
        )
        await silent.received(2)
        await clock.sleepers(1)
        clock.advance(4.5)
        assert outcomes(await asking) == [Outcome.NO_ANSWER] * 3
    never.set()


async def test_settings_that_cannot_be_used() -> None:
    """A file of authorities that is none is a wrong configuration."""
    with pytest.raises(ConfigError, match="ca_file"):
        await reach([], Outbound({}, ca_file="/nonexistent"), FakeClock(), known)


def test_goals() -> None:
    """Each server is asked once: the login's first, then the surfaces of who has a credential."""
    both = MappingProxyType(
        {
            Dialect.ANTHROPIC: "https://x.example/anthropic",
            Dialect.OPENAI: "https://x.example:443/v1",
        }
    )
    rows = [KIMI, MINIMAX, row("x", surfaces=both)]
    found = goals(rows, in_use={"kimi", "x"}, logins={"kimi"})
    assert [(each.provider, each.host, each.local) for each in found] == [
        ("kimi", "auth.kimi.example", False),
        ("kimi", "kimi.example", False),
        ("x", "x.example", False),
    ]
    assert goals(rows, in_use=set(), logins=set()) == []
    local = row("x", surfaces={Dialect.OPENAI: "http://127.0.0.1:11434/v1"})
    [found_local] = goals([local], {"x"}, set())
    assert (found_local.host, found_local.local) == ("127.0.0.1:11434", True)
