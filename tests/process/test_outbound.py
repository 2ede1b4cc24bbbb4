"""The way out of a company: a proxy and an authority of its own, for login, refresh and traffic."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.fakes.tls import NAME, CertificateAuthority, TunnelProxy
from tests.ports import free_port
from tests.world import World, world

T = TypeVar("T")

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]

_now: Callable[[], float] = time.time  # noqa: TID251 - the daemon is a real process in real time

AUTHORIZATION = f"{NAME}:4443"
API = f"{NAME}:443"


class Company:
    """The machine's way out: *proxy* leads to the one server there is, which speaks TLS.

    Behind that are the plain stand-ins, told apart by the path.
    """

    def __init__(self, machine: World, authority: CertificateAuthority) -> None:
        self._plain = {True: machine.authorization.url, False: machine.upstream.url}
        self._context = authority.server_context
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def open(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._opened, "127.0.0.1", 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Listen no more, and end every connection."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _opened(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.create_task(self._joins(reader, writer)))

    async def _joins(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Aborted, not closed: the loop may be gone before TLS has said goodbye.
        with (
            contextlib.ExitStack() as stack,
            contextlib.suppress(OSError, asyncio.IncompleteReadError),
        ):
            stack.callback(writer.transport.abort)
            head = await reader.readuntil(b"\r\n\r\n")
            host, _, port = self._plain[b"/api/oauth/" in head][7:].partition(":")
            there, back = await asyncio.open_connection(host, int(port))
            stack.callback(back.transport.abort)
            back.write(head)
            await asyncio.gather(_copied(reader, back), _copied(there, writer))


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


class Loop:
    """An event loop in a thread of its own, for stand-ins beside blocking tests."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def does(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what *work* returns, once it is done."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def ends(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> Iterator[World]:
    """A machine on which a login approves itself."""
    with world(tmp_path, stern=True, interval=0.1, auto_approve=1) as machine:
        yield machine


@pytest.fixture(name="authority")
def _authority(tmp_path: Path) -> CertificateAuthority:
    """An authority that no system knows."""
    return CertificateAuthority(tmp_path / "authority")


@pytest.fixture(name="loop")
def _loop() -> Iterator[Loop]:
    """A loop beside the test."""
    loop = Loop()
    yield loop
    loop.ends()


@pytest.fixture(name="company")
def _company(machine: World, authority: CertificateAuthority, loop: Loop) -> Iterator[Company]:
    """The TLS server."""
    company = Company(machine, authority)
    loop.does(company.open())
    yield company
    loop.does(company.close())


@pytest.fixture(name="proxy")
def _proxy(machine: World, company: Company, loop: Loop) -> Iterator[TunnelProxy]:
    """The proxy; the two services have names that only it knows."""
    machine.variables["KIMI_CODE_OAUTH_HOST"] = f"https://{AUTHORIZATION}"
    machine.variables["KIMI_CODE_BASE_URL"] = f"https://{NAME}/coding/v1"
    proxy = TunnelProxy(company.port)
    loop.does(proxy.__aenter__())
    yield proxy
    loop.does(proxy.__aexit__())


def tunnels(proxy: TunnelProxy) -> set[str]:
    """Return where the proxy was asked to lead."""
    return {head.split(" ")[1] for head in proxy.tunnels}


@pytest.mark.parametrize("configured", [True, False], ids=["configuration", "environment"])
def test_through_a_proxy(
    machine: World, authority: CertificateAuthority, proxy: TunnelProxy, configured: bool
) -> None:
    """Login, ``token``, refresh and traffic go through the proxy, by the company's authority."""
    if configured:
        machine.configure(f'[network]\nproxy = "{proxy.url}"\nca_file = "{authority.file}"\n')
    else:
        machine.variables |= {"HTTPS_PROXY": proxy.url, "SSL_CERT_FILE": str(authority.file)}
    login = machine.bridge("login", "--no-browser")
    assert login.returncode == 0, login.stderr
    assert tunnels(proxy) == {AUTHORIZATION}
    machine.start()
    assert machine.ask()[0] == 200
    assert tunnels(proxy) == {AUTHORIZATION, API}
    proxy.tunnels.clear()
    machine.log_in(expires_at=_now() - 1)
    assert machine.ask()[0] == 200
    assert AUTHORIZATION in tunnels(proxy)
    assert machine.authorization.state()["refreshes"] == 1
    proxy.tunnels.clear()
    machine.log_in(expires_at=_now() - 1)
    assert machine.bridge("token").returncode == 0
    assert tunnels(proxy) == {AUTHORIZATION}
    assert all("proxy-authorization: basic" in head.lower() for head in proxy.tunnels)
    assert all("PROXYsecret" not in text for text in (machine.log, *machine.outputs))


def test_no_proxy(machine: World, authority: CertificateAuthority, proxy: TunnelProxy) -> None:
    """What ``NO_PROXY`` names is asked directly, and an unknown name there is said to be one."""
    machine.variables |= {"HTTPS_PROXY": proxy.url, "SSL_CERT_FILE": str(authority.file)}
    machine.variables["NO_PROXY"] = f"intranet.test,.{NAME.partition('.')[2]}"
    assert machine.told("login").startswith(f"https://{AUTHORIZATION} cannot be reached")
    machine.log_in()
    machine.start()
    status, _, body = machine.ask()
    assert status == 502
    message = json.loads(body)["error"]["message"]
    assert NAME in message
    assert "its name is not known" in message
    assert not proxy.tunnels


def test_loopback_knows_no_proxy(machine: World) -> None:
    """Loopback is never asked for through a proxy, whatever the environment says."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        machine.variables |= {name: nowhere, name.lower(): nowhere}
    assert machine.bridge("up").returncode == 150
    assert machine.bridge("login", "--no-browser").returncode == 0
    assert machine.ask()[0] == 200
    machine.log_in(expires_at=_now() - 1)
    assert machine.ask()[0] == 200
    assert machine.bridge("--check", "kimi").returncode == 0


@pytest.mark.parametrize("status", [403, 407, 502])
def test_a_proxy_that_refuses(
    machine: World, authority: CertificateAuthority, proxy: TunnelProxy, status: int
) -> None:
    """A proxy that lets nobody through is told to shell and client, without its password."""
    machine.variables |= {"HTTPS_PROXY": proxy.url, "SSL_CERT_FILE": str(authority.file)}
    proxy.status = status
    line = machine.told("login")
    assert line.startswith(f"https://{AUTHORIZATION} cannot be reached")
    assert "proxy" in line.lower()
    before = machine.log_in()
    machine.start()
    got, _, body = machine.ask()
    assert got == 502
    assert b"the outbound proxy does not let us through" in body
    assert "PROXYsecret" not in f"{line}{body!r}{machine.log}"
    assert machine.token()["refresh_token"] == before["refresh_token"]


def test_an_authority_of_ones_own(
    machine: World, authority: CertificateAuthority, company: Company
) -> None:
    """With ``ca_file`` a server of the company's works from login to answer, without a proxy."""
    machine.configure(f'[network]\nca_file = "{authority.file}"\n')
    machine.variables["KIMI_CODE_OAUTH_HOST"] = f"https://localhost:{company.port}"
    machine.variables["KIMI_CODE_BASE_URL"] = f"https://localhost:{company.port}/coding/v1"
    assert machine.bridge("login", "--no-browser").returncode == 0
    machine.start()
    assert machine.ask()[0] == 200


@pytest.mark.parametrize("known", [True, False], ids=["another", "none"])
def test_a_wrong_authority(machine: World, company: Company, tmp_path: Path, known: bool) -> None:
    """A certificate that nobody known vouches for stops everything before anything is sent.

    Shell and client are told the reason and where to name an authority; nothing is spent.
    """
    if known:
        other = CertificateAuthority(tmp_path / "other")
        machine.variables["SSL_CERT_FILE"] = str(other.file)
    machine.variables["KIMI_CODE_OAUTH_HOST"] = f"https://localhost:{company.port}"
    machine.variables["KIMI_CODE_BASE_URL"] = f"https://localhost:{company.port}/coding/v1"
    line = machine.told("login")
    assert line.startswith(f"https://localhost:{company.port} cannot be reached")
    assert "certificate" in line
    machine.log_in()
    machine.start()
    status, _, body = machine.ask()
    assert status == 502
    message = json.loads(body)["error"]["message"]
    assert "its certificate is not accepted" in message
    assert "network.ca_file" in message
    state = machine.authorization.state()
    assert (state["refreshes"], state["device_flows"]) == (0, 0)
    assert machine.upstream.requests() == []


def test_a_reload_changes_the_way_out(
    machine: World, authority: CertificateAuthority, proxy: TunnelProxy
) -> None:
    """A proxy and an authority that are configured while the daemon runs count at once."""
    machine.log_in()
    machine.start()
    assert machine.ask()[0] == 502
    machine.configure(f'[network]\nproxy = "{proxy.url}"\nca_file = "{authority.file}"\n')
    assert machine.bridge("--reload").returncode == 0
    machine.until(lambda: "configuration reloaded" in machine.log)
    assert machine.ask()[0] == 200
    assert tunnels(proxy) == {API}


def test_one_provider_goes_its_own_way(
    machine: World, authority: CertificateAuthority, company: Company, loop: Loop
) -> None:
    """A proxy and an authority of one row serve its traffic alone, and a reload changes them."""
    proxy = TunnelProxy(company.port)
    loop.does(proxy.__aenter__())
    machine.variables["MINIMAX_API_KEY"] = machine.authorization.seed()["access_token"]
    row = f'[providers.minimax]\nanthropic = "https://{NAME}/coding"\n'
    own = f'{row}proxy = "{proxy.url}"\nca_file = "{authority.file}"\n'
    machine.configure(own)
    machine.log_in()
    machine.start()
    assert machine.ask()[0] == 200
    assert not proxy.tunnels
    assert machine.ask("/minimax/v1/messages")[0] == 200
    assert tunnels(proxy) == {API}
    machine.configure(row)
    machine.until(lambda: machine.log.count("configuration reloaded") == 1)
    assert machine.ask("/minimax/v1/messages")[0] == 502
    machine.configure(own)
    machine.until(lambda: machine.log.count("configuration reloaded") == 2)
    assert machine.ask("/minimax/v1/messages")[0] == 200
    assert all("PROXYsecret" not in text for text in (machine.log, *machine.outputs))
    loop.does(proxy.__aexit__())
