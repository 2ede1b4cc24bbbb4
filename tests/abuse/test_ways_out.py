"""Where a credential may go: to the hosts of its row, whatever is configured or said."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Final

import pytest

from bridge.config import parse
from bridge.errors import ConfigError
from bridge.service.settings import catalogue
from tests.abuse.siege import asks, besieged, clean, noted
from tests.fakes.tls import CertificateAuthority, TunnelProxy
from tests.proxy.rawclient import passes
from tests.proxy.witness import Witness
from tests.world import World, world

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]

#: Base URLs to which no credential may go, or that are none.
BAD_URLS: Final = (
    *("http://evil.example", "http://192.168.0.1/v1", "http://127.0.0.1.evil.example/v1"),
    *("http://localhost.evil.example", "http://127.0.0.1@evil.example/", "http://2130706433/v1"),
    *(
        "https://user:secret@api.kimi.com/v1",
        "https://secret@h",
        "http://0.0.0.0:80",
        "http://[::]/",
    ),
    *("file:///etc/passwd", "ftp://h/v1", "gopher://h", "unix:///run/x.sock", "data:text/plain,x"),
    *(
        "javascript:alert(1)",
        "//h/v1",
        "h/v1",
        "https://",
        "https:///v1",
        "https://h?x=y",
        "https://h#x",
    ),
    *(
        "https://h:99999",
        "https://h:x",
        "https://[",
        "http://127.1/v1",
        "http://[::1%25lo]/",
        "HTTPX://h",
    ),
    *("https://h/ v1", "https://h\t", " https://h", "http://127.0.0.1\\@evil.example/"),
    *("http://0x7f.1/", "http://127.0.0.2/", "http://ip6-localhost/", "http://[::ffff:127.0.0.1]/"),
)
#: Where an upstream may want a request to go, and whose credential would go along.
ELSEWHERE: Final = (
    *(
        "https://evil.example/v1",
        "//evil.example/",
        "http://127.0.0.1:1/",
        "/\\evil.example",
        "https:\\\\e",
    ),
    *(
        "HTTP://EVIL.example/",
        "https://127.0.0.1:{port}/",
        "http://[",
    ),
    *(
        "http://localhost:{port}/coding/v1/messages",
        "http://127.0.0.1:{port}0/",
        "file:///etc/passwd",
    ),
    *(
        "data:,x",
        "javascript:1",
        "http://user@127.0.0.1:{other}/",
        "http://127.0.0.1:{bridge}/minimax/v1/x",
    ),
)


def test_urls_that_no_credential_may_go_to(tmp_path: Path) -> None:
    """In the file and in Kimi's variables, each is refused by name and with no password shown."""
    keys = ("providers.x0.anthropic", "providers.x1.openai", "providers.kimi.oauth_host")
    with world(tmp_path) as machine:
        machine.log_in()
        for number, url in enumerate(BAD_URLS):
            quoted = json.dumps(url)
            text = f"[providers.kimi]\noauth_host = {quoted}\n" + "".join(
                f"[providers.x{row}]\n{surface} = {quoted}\nkey = {{ env = 'A' }}\n"
                for row, surface in enumerate(("anthropic", "openai"))
            )
            with pytest.raises(ConfigError) as caught:
                parse(text, file="c.toml", environment={}, options={}, catalogue=catalogue())
            assert all(key in str(caught.value) for key in keys), (url, str(caught.value))
            assert "secret" not in str(caught.value)
            if number % 13:
                continue
            for name in ("KIMI_CODE_BASE_URL", "KIMI_CODE_OAUTH_HOST"):
                good = dict(machine.variables)
                machine.variables[name] = url
                assert machine.bridge("token").returncode == 78, (name, url)
                machine.variables = good
        machine.configure(text)
        assert "providers.x0.anthropic" in machine.bridge("config", "check").stderr
        assert machine.upstream.requests() == []
    noted("base URLs that lead elsewhere", f"{3 * len(BAD_URLS)} refused, nothing sent")


async def test_redirects_are_never_followed(tmp_path: Path) -> None:
    """No status and no place takes a credential along, with or without a body; clients hear why."""
    async with besieged(tmp_path) as siege, Witness() as other:
        witness = siege.witnesses["kimi"]
        witness.hold = True
        places = {"port": port(witness), "other": port(other), "bridge": siege.machine.port}
        tried = 0
        for status in (301, 302, 303, 307, 308):
            for location in ELSEWHERE:
                place = location.format(**places).encode()
                method, body = (b"POST", b"{}") if tried % 2 else (b"GET", b"")
                asked = asyncio.create_task(
                    siege.answers(asks(siege.host, b"/kimi/v1/messages", method=method, body=body))
                )
                sent = await witness.arrives()
                sent.line.says(
                    b"HTTP/1.1 %d Go\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % (status, place)
                )
                (answer,) = await asked
                assert (answer.status, answer.header(b"location")) == (502, b""), (status, place)
                assert b"redirect" in answer.content
                tried += 1
        assert len(witness.requests) == tried
        assert other.requests == siege.witnesses["minimax"].requests == []
        witness.hold = False
        siege.forgets()
        await siege.serves()
    noted("redirects to other places", f"{tried} answers, none followed, none passed on")


async def test_a_redirect_to_another_provider(tmp_path: Path) -> None:
    """A path that a client would read as another provider's place of ours is an error."""
    async with besieged(tmp_path) as siege:
        witness = siege.witnesses["kimi"]
        witness.hold = True
        for place in (b"/minimax/v1/messages", b"../../minimax/v1/messages", b"/anthropic/v1/x"):
            asked = asyncio.create_task(siege.answers(asks(siege.host, b"/kimi/v1/messages")))
            sent = await witness.arrives()
            sent.line.says(b"HTTP/1.1 307 Go\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % place)
            (answer,) = await asked
            assert (answer.status, answer.header(b"location")) == (502, b""), place
        witness.hold = False
        siege.forgets()
        await siege.serves()
    noted("redirects to another provider of ours", "502, the client is led nowhere")


def port(witness: Witness) -> int:
    """Return where *witness* listens."""
    return int(witness.url.rpartition(":")[2])


async def test_a_proxy_learns_nothing(tmp_path: Path) -> None:
    """An outbound proxy sees CONNECT and its own password: no token, no key, no path, no body."""
    authority = CertificateAuthority(tmp_path / "authority")
    async with Witness(authority.server_context) as witness, TunnelProxy(port(witness)) as proxy:
        with world(tmp_path) as machine:
            token = machine.log_in()["access_token"]
            machine.variables |= {
                "KIMI_CODE_BASE_URL": "https://auth.example.test/coding/v1",
                "HTTPS_PROXY": proxy.url,
                "HTTP_PROXY": proxy.url,
                "ALL_PROXY": proxy.url,
                "SSL_CERT_FILE": str(authority.file),
            }
            await asyncio.to_thread(machine.start)
            status, _, _ = await asyncio.to_thread(machine.ask)
            assert status == 200
            assert witness.requests[0].values(b"authorization") == [f"Bearer {token}".encode()]
            _learns(machine, proxy.tunnels, token)
        await passes(200)  # the daemon has ended, and its tunnel ends with it
    noted("an outbound proxy", "one CONNECT, no credential of a provider in it")


def _learns(machine: World, heads: list[str], token: str) -> None:
    assert len(heads) >= 1
    for head in heads:
        assert head.startswith("CONNECT auth.example.test:443 HTTP/1.1")
        names = [line.partition(":")[0].lower() for line in head.split("\r\n")[1:] if line]
        assert set(names) <= {"host", "proxy-authorization"}
        assert token not in head
        assert "messages" not in head
    clean(machine.log)
