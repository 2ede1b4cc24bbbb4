"""Line breaks and escape sequences in every value that bridge copies: they break nothing open."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Final

import pytest

from bridge.config import parse
from bridge.errors import ConfigError
from bridge.service.settings import catalogue
from tests.abuse.siege import KEY, asks, besieged, clean, noted, statuses
from tests.process.wire import Counter, dial, request
from tests.world import World, world

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]

#: What would be another header or another request, or what a terminal obeys.
BREAKS: Final = (
    "\r\nX-Injected: 1",
    "\nX-Injected: 1",
    "\rX-Injected: 1",
    "\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    "\x00x",
    "\x1b]0;owned\x07\x1b[2J",
    "\x85X-Injected: 1",
    "\u2028X-Injected: 1",
    "\ud800",
)
#: An escape sequence, in both of its spellings, a bell, a line of a log, and a way back over it.
FORGERY: Final = (
    "\x1b[2J\x1b]52;c;b3duZWQ=\x07\x9b1A\r\n2026-01-01 00:00:00,000 INFO forged\b\u202e"
)


async def test_credentials_with_line_breaks(tmp_path: Path) -> None:
    """Of a login or a key with a break in it nothing is sent; what is said shows none of it."""
    async with besieged(tmp_path) as siege:
        machine = siege.machine
        good = json.loads(machine.credential.read_text())
        key = machine.home / "minimax.key"
        for broken in BREAKS:
            for token in (f"secret{broken}", f"{broken}secret"):
                document = {**good, "access_token": token, "refresh_token": f"r{broken}"}
                machine.credential.write_text(json.dumps(document))
                key.write_bytes(token.encode("utf-8", "surrogatepass"))
                for name in (b"kimi", b"minimax"):
                    target = b"/" + name + b"/v1/messages"
                    (answer,) = await siege.answers(asks(siege.host, target))
                    # White space around a key is dropped, and with it what was behind it.
                    if answer.status != 200:
                        assert answer.status in {401, 403, 503}, (broken, answer)
                        assert b"X-Injected" not in answer.content
                        assert b"secret" not in answer.content
        assert [sent for _, sent in siege.arrived if b"njected" in sent.raw] == []
        siege.forgets()
        machine.credential.write_text(json.dumps(good))
        key.write_text(KEY)
        await siege.serves()
        for text in BREAKS:
            assert text.strip() not in machine.log
    noted("line breaks in login and key file", f"{4 * len(BREAKS)} tries, nothing sent or shown")


async def test_headers_of_a_client(tmp_path: Path) -> None:
    """Names and values with breaks are refused, or arrive as one line of one request."""
    tried = 0
    async with besieged(tmp_path) as siege:
        for text in BREAKS[:6]:
            data = text.encode()
            for line in (b"X-A: b" + data, b"X-A" + data + b": b", b"anthropic-version: " + data):
                siege.forgets()
                answers = await siege.answers(asks(siege.host, b"/kimi/v1/messages", line))
                for _, sent in siege.arrived:
                    assert sent.target == "/coding/v1/messages", (line, sent.raw)
                # A whole line more is a header of the client's own, and another request its own.
                assert len(siege.arrived) == statuses(answers).count(200), line
                siege.holds()
                tried += 1
        await siege.serves()
    noted("line breaks in a client's headers", f"{tried} tries, each one request or none")


def test_the_configuration(tmp_path: Path) -> None:
    """Headers, URLs, models, names and files with a break are refused before they count."""
    tried = 0
    for text in BREAKS[:8]:
        value, url = json.dumps(f"a{text}"), json.dumps(f"https://h/{text}")
        row = "[providers.x]\nanthropic = 'https://h'\nkey ="
        for line in (
            f"[providers.kimi]\nheaders = {{ X-A = {value} }}",
            f"[providers.kimi]\nheaders = {{ {value} = 'x' }}",
            f"[providers.kimi]\nmodels = {{ primary = {value} }}",
            f"[providers.kimi]\ntitle = {value}",
            f"[providers.kimi]\nproxy = {url.replace('https', 'http')}",
            f"[providers.x]\nanthropic = {url}\nkey = {{ env = 'A' }}",
            f"[providers.{value}]\nanthropic = 'https://h'\nkey = {{ env = 'A' }}",
            f"{row} {{ env = {value} }}",
            f"{row} {{ file = {json.dumps('/a' + text)} }}",
            f"[server]\nhosts = [{value}]",
            f"[server]\ndefault_provider = {value}",
        ):
            with pytest.raises(ConfigError) as caught:
                parse(line, file="c.toml", environment={}, options={}, catalogue=catalogue())
            assert lines_only(str(caught.value)), line
            assert "forged" not in str(caught.value)
            tried += 1
    with world(tmp_path) as machine:
        for line in ("headers = { X-A = 'a\x01' }", 'headers = { X-A = "a\\r\\nX-B: c" }'):
            machine.configure(f"[providers.kimi]\n{line}\n")
            assert lines_only(machine.told(code=78))
    noted("line breaks in the configuration", f"{tried} edits refused by name")


def lines_only(text: str) -> bool:
    """Say whether *text* has nothing but visible characters and line ends."""
    return all(line.isprintable() for line in text.split("\n"))


def test_what_an_authorization_server_says(tmp_path: Path) -> None:
    """Pages, codes and errors with escape sequences: a terminal and an agent see none of them."""
    with world(tmp_path) as machine, Counter() as server:
        machine.variables["KIMI_CODE_OAUTH_HOST"] = server.url
        invitation = {
            "device_code": "d",
            "user_code": f"ABCD{FORGERY}",
            "verification_uri": f"https://kimi.example/{FORGERY}",
            "verification_uri_complete": f"https://kimi.example/{FORGERY}?user_code=ABCD",
            "interval": 0.05,
            "expires_in": 60,
        }
        login = machine.spawn("login", "--no-browser")
        server.arrives().answers(200, json.dumps(invitation).encode())
        polled = server.arrives()
        polled.answers(400, json.dumps({"error": f"bad{FORGERY}"}).encode())
        output, errors = login.communicate(timeout=30)
        assert "ABCD" in output
        for text in (output, errors):
            assert lines_only(text), text
        assert not any(line.startswith("2026-01-01") for line in errors.splitlines())
        machine.start()
        with dial(machine.port) as wire:
            wire.sends(request(machine.port, more="Connection: close\r\n"))
            server.arrives().answers(200, json.dumps(invitation).encode())
            told = wire.rest().partition(b"\r\n\r\n")[2].decode()
        message = json.loads(told)["error"]["message"]
        assert "ABCD" in message
        assert message.isprintable(), message
        server.arrives().answers(400, json.dumps({"error": f"bad{FORGERY}"}).encode())
        machine.until(lambda: "login not completed" in machine.log)
        for page in (
            "javascript:alert(1)",
            "file:///etc/passwd",
            "http://evil.example/",
            "-oProxy=x",
        ):
            again = machine.spawn("login", "--no-browser")
            document = {**invitation, "verification_uri": page, "verification_uri_complete": page}
            server.arrives().answers(200, json.dumps(document).encode())
            server.arrives().answers(400, b'{"error": "access_denied"}')
            assert page not in again.communicate(timeout=30)[0]
        assert machine.bridge("--stop").returncode == 0
        clean(machine.log)
    noted("escape sequences from the authorization server", "shown to nobody, in no log")


#: Heads of answers with something in them that a client or a log might take for more.
ANSWERS: Final = (
    b"HTTP/1.1 200 OK\rX-Injected: 1\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\x1b[2J\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\x00\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nX-A: b\rX-Injected: 1\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nX-A: b\nX-Injected: 1\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nX-A: b\x00\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nX\x1b[2J: b\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nX-A: b\r\n folded: c\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + b"HTTP/1.1 200 OK\r\n\r\nevil",
    b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nAlt-Svc: h3=':443'\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nX-Bridge-Provider: evil\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nConnection: close, X-A\r\nX-A: b\r\nContent-Length: 2\r\n\r\nok",
)  # fmt: skip


async def test_what_an_upstream_says(tmp_path: Path) -> None:
    """Breaks in status lines and headers make no header; a second answer is nobody's."""
    async with besieged(tmp_path) as siege:
        witness = siege.witnesses["kimi"]
        witness.hold = True
        for said in ANSWERS:
            asked = asyncio.create_task(
                siege.answers(asks(siege.host, b"/kimi/v1/messages", b"X-Case: 1"))
            )
            sent = await witness.arrives()
            sent.line.says(said)
            sent.line.closes()
            (answer,) = await asked
            names = {name.lower() for name, _ in answer.headers}
            assert b"x-injected" not in names, said
            assert not names & {b"set-cookie", b"alt-svc", b"access-control-allow-origin"}, said
            assert b"evil" not in answer.content
            if answer.status == 200:
                assert answer.header(b"x-bridge-provider") == b"kimi"
                assert all(b"\x1b" not in name + value for name, value in answer.headers)
        witness.hold = False
        siege.forgets()
        await siege.serves()
    noted("line breaks in an upstream's head", f"{len(ANSWERS)} answers, none became two headers")


def test_a_log_that_somebody_forges(tmp_path: Path) -> None:
    """Hosts, paths and providers with escapes reach the log as one visible line each, or not."""
    with world(tmp_path) as machine:
        machine.log_in()
        machine.configure('[log]\nlevel = "debug"\n')
        machine.start()
        evil, host = FORGERY.encode("utf-8"), b"127.0.0.1:%d\r\n\r\n" % machine.port
        for data in (
            b"GET /" + evil + b" HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /health HTTP/1.1\r\nHost: " + evil + b"\r\n\r\n",
            b"GET /health HTTP/1.1\r\nHost: \x9b1A\xc2\x9b2J\r\n\r\n",
            b"GET /health HTTP/1.1\r\nHost: \xe2\x80\xaegpj.exe\r\n\r\n",
            b"GET /%1b%5b2J/v1/messages HTTP/1.1\r\nHost: " + host,
            b"GET /\x9b2J/v1/messages HTTP/1.1\r\nHost: " + host,
            b"GET /minimax\x1b[2J/x HTTP/1.1\r\nHost: " + host,
            b"GET /health?provider=%1b%5b2J%0aforged HTTP/1.1\r\nHost: " + host,
        ):
            with dial(machine.port) as wire:
                wire.sends(data.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
                answer = wire.rest()
                assert b"\x1b" not in answer
                assert b"\x9b" not in answer
        assert machine.ask("/health", method="GET")[0] == 200
        _shows(machine, "--check", "-v")
        _shows(machine, "doctor")
        assert machine.bridge("--stop").returncode == 0
        clean(machine.log)
        assert not any(line.startswith("2026-01-01") for line in machine.log.splitlines())
    noted("log forging and terminal escapes", "every line of the log is one visible line of ours")


def _shows(machine: World, *words: str) -> subprocess.CompletedProcess[str]:
    done = machine.bridge(*words)
    assert lines_only(done.stdout + done.stderr), done
    return done
