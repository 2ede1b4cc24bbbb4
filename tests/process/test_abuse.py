"""What strangers and broken clients may try at the door, and that it costs nobody else anything."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.process.wire import Counter, dial, request
from tests.world import NOBODY, World, message, world

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]

CLOSE = "Connection: close\r\n"
#: Sends one request with the headers in its last argument and prints status and body.
CALL = """
import http.client, json, sys
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=30)
connection.request("POST", "/kimi/v1/messages", b"{}", json.loads(sys.argv[2]))
response = connection.getresponse()
print(response.status, response.read().decode())
"""


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> Iterator[World]:
    """A machine with a login and a running daemon."""
    with world(tmp_path) as machine:
        machine.log_in()
        machine.start()
        yield machine


@pytest.fixture(name="guarded")
def _guarded(tmp_path: Path) -> Iterator[World]:
    """The same, where callers prove themselves by the caller key."""
    with world(tmp_path) as machine:
        machine.log_in()
        machine.configure('[server]\nclients = "key"\n')
        machine.start()
        yield machine


def key_of(machine: World) -> str:
    """Return the caller key."""
    return (machine.home / ".local/state/bridge/key").read_text().strip()


def reached(machine: World) -> int:
    """Return how many requests the upstream has seen."""
    return len(machine.upstream.requests())


def sends(machine: World, data: bytes) -> bytes:
    """Send *data* and return all that comes back until the daemon closes or resets."""
    with dial(machine.port) as wire:
        try:
            wire.sends(data)
            return wire.rest()
        except ConnectionError:
            return wire.received


def statuses(answer: bytes) -> list[int]:
    """Return the status of each HTTP answer in *answer*."""
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answer)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user(machine: World) -> None:
    """Another user of the machine is refused by the kernel's word, the right key or not."""
    if shutil.which("setpriv") is None:
        pytest.skip("takes setpriv")
    for headers in ({}, {"x-bridge-key": key_of(machine)}):
        done = subprocess.run(
            [
                *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
                *(sys.executable, "-c", CALL, str(machine.port), json.dumps(headers)),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        status, _, body = done.stdout.partition(" ")
        assert status == "403"
        assert "another user of this machine" in json.loads(body)["error"]["message"]
    assert reached(machine) == 0
    assert machine.ask()[0] == 200


def test_the_caller_key(guarded: World) -> None:
    """In key mode each of three headers may carry the key, and nothing else opens."""
    key = key_of(guarded)
    bare = {"authorization": ""}
    for wrong in (
        {},
        bare,
        {"x-bridge-key": key[:-1]},
        {"x-api-key": key.upper()},
        {"cookie": key},
    ):
        status, headers, body = guarded.ask(headers=wrong)
        assert (status, headers["x-should-retry"]) == (401, "false"), wrong
        assert key not in body.decode()
    assert reached(guarded) == 0
    for right in (
        {"authorization": f"Bearer {key}"},
        {**bare, "x-api-key": key},
        {**bare, "x-bridge-key": key},
    ):
        assert guarded.ask(headers=right)[0] == 200, right
    assert reached(guarded) == 3
    assert key not in json.dumps(guarded.upstream.requests())
    assert guarded.bridge("--check", "kimi").returncode == 0  # asks without a key


def test_hosts(machine: World) -> None:
    """Only names of loopback with our port are ours: a rebound name leads nowhere."""
    port = machine.port
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"LOCALHOST:{port}", f"[::1]:{port}"):
        assert machine.ask(headers={"Host": host})[0] == 200, host
    before = reached(machine)
    for host in (
        *("evil.example", f"evil.example:{port}", "127.0.0.1", "localhost:1", ""),
        *(f"127.0.0.1:{port}.evil.example", f"127.0.0.1.evil.example:{port}", f"127.0.0.2:{port}"),
    ):
        assert machine.ask(headers={"Host": host})[0] in {400, 421}, host
        assert machine.ask("/health", method="GET", headers={"Host": host})[0] in {400, 421}, host
    content = request(port, more=CLOSE)
    assert statuses(sends(machine, content.replace(b"Host: ", b"Hast: ")))[0] in {400, 421}
    twice = content.replace(b"Host: ", b"Host: evil.example\r\nHost: ")
    assert statuses(sends(machine, twice))[0] in {400, 421}
    assert reached(machine) == before


def test_web_pages(machine: World) -> None:
    """A web page gets nothing, and no header that would let it read even the refusal."""
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": machine.url},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        for method in ("POST", "GET", "OPTIONS"):
            status, answer, _ = machine.ask(method=method, headers=headers)
            assert status == 403, headers
            assert not any(name.startswith("access-control-") for name in answer)
    assert reached(machine) == 0
    assert machine.ask(headers={"Sec-Fetch-Site": "none"})[0] == 200


GARBAGE = {
    "noise": bytes(range(256)) * 8,
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
    "http/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http/3": b"GET /health HTTP/3.0\r\nHost: 127.0.0.1\r\n\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.6\r\n",
    "one word": b"x",
    "no target": b"GET  HTTP/1.1\r\n\r\n",
    "nul": b"GET /\x00 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "header without a colon": b"GET / HTTP/1.1\r\nnonsense\r\n\r\n",
}


def test_garbage(machine: World) -> None:
    """What is no HTTP gets a 400 in words and a closed door, and the daemon serves on."""
    for name, data in GARBAGE.items():
        answer = sends(machine, data)
        assert statuses(answer) == [400], (name, answer)
        assert b"cannot be read" in answer
        assert machine.ask()[0] == 200, name
    for data in (b"", b"\r\n" * 1000, b"GET /health\r\n"):  # so far it could still become HTTP
        with dial(machine.port) as wire:
            wire.sends(data)
            wire.ends()
            assert wire.rest() == b""
    assert "Traceback" not in machine.log


def _smuggled(port: int) -> dict[str, bytes]:
    """Return requests with two readings, each with a second request hidden in one of them."""
    host = b"Host: 127.0.0.1:%d\r\n" % port
    hidden = b"POST /kimi/v1/hidden HTTP/1.1\r\n" + host + b"Content-Length: 0\r\n\r\n"
    head = b"POST /kimi/v1/messages HTTP/1.1\r\n" + host
    chunked = b"Transfer-Encoding: chunked\r\n"
    return {
        "length and chunks": head + chunked + b"Content-Length: 5\r\n\r\n0\r\n\r\n" + hidden,
        "chunks and length": head + b"Content-Length: 5\r\n" + chunked + b"\r\n0\r\n\r\n" + hidden,
        "two lengths": head + b"Content-Length: 0\r\nContent-Length: 2\r\n\r\n{}" + hidden,
        "a list of lengths": head + b"Content-Length: 0, 2\r\n\r\n{}" + hidden,
        "a signed length": head + b"Content-Length: +2\r\n\r\n{}" + hidden,
        "a length with blanks": head + b"Content-Length : 2\r\n\r\n{}" + hidden,
        "a folded header": head + b"X-A: b\r\n Content-Length: 2\r\n\r\n{}" + hidden,
        "bare line feeds": head.replace(b"\r\n", b"\n") + b"Content-Length: 2\n\n{}" + hidden,
        "a bare line feed in a value": head + b"X-A: b\nContent-Length: 2\r\n\r\n{}" + hidden,
        "a bare carriage return": head + b"X-A: b\rContent-Length: 2\r\n\r\n{}" + hidden,
        "another coding": head + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + hidden,
        "two codings": head + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + hidden,
        "a chunk size too large": head + chunked + b"\r\nfffffffffffffffff\r\n{}" + hidden,
        "a chunk size with a sign": head + chunked + b"\r\n-1\r\n{}\r\n0\r\n\r\n" + hidden,
        "a chunk without its end": head + chunked + b"\r\n2\r\n{}XX0\r\n\r\n" + hidden,
    }


def test_smuggling(machine: World) -> None:
    """A request that could be read in two ways is refused and the door closed behind it.

    Neither it nor what hides in it reaches the upstream.
    """
    for name, data in _smuggled(machine.port).items():
        answer = sends(machine, data)
        assert statuses(answer) == [400], (name, answer)
        assert machine.ask()[0] == 200, name
    targets = {str(each["target"]) for each in machine.upstream.requests()}
    assert targets == {"/coding/v1/messages"}
    assert reached(machine) == len(_smuggled(0))


def test_pipelining(machine: World) -> None:
    """Requests sent one behind the other in good order are answered one after the other."""
    once = request(machine.port, message("Hello"))
    answer = sends(machine, once + once + request(machine.port, message("Hello"), more=CLOSE))
    assert statuses(answer) == [200, 200, 200]
    assert reached(machine) == 3


def test_large_heads(machine: World) -> None:
    """A head beyond all reason is a 4xx at once; a large one that agents do send passes."""
    assert machine.ask(headers={"X-Large": "x" * 30_000})[0] == 200
    for data in (
        b"GET /" + b"x" * 1_000_000 + b" HTTP/1.1\r\n\r\n",
        request(machine.port, more=f"X-Large: {'x' * 1_000_000}\r\n"),
        request(machine.port, more="".join(f"X-{n}: {'x' * 80}\r\n" for n in range(20_000))),
    ):
        assert all(400 <= status < 500 for status in statuses(sends(machine, data)))
        assert machine.ask()[0] == 200
    assert reached(machine) == 4


def test_a_body_that_is_too_large(tmp_path: Path) -> None:
    """A body above ``max_body`` is a 413 before it has been sent, announced or not."""
    with world(tmp_path) as machine:
        machine.log_in()
        machine.configure('[server]\nmax_body = "64 KiB"\n')
        machine.start()
        head = request(machine.port).partition(b"Content-Length")[0]
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        for data in (
            head + b"Content-Length: 70000\r\n\r\n",
            head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk + chunk,
        ):
            with dial(machine.port) as wire:
                wire.sends(data)
                wire.hears(b"request_too_large")
                assert statuses(wire.received) == [413]
        assert machine.ask()[0] == 200
        assert reached(machine) == 1


def test_idle_and_half_open_clients(machine: World) -> None:
    """Hundreds of clients that say nothing, half a head or half a body keep nobody waiting."""
    whole = request(machine.port)
    with ExitStack() as stack:
        for data in (b"", b"POST /kimi/v1/mess", whole[:60], whole[:-10]) * 75:
            stack.enter_context(dial(machine.port)).sends(data)
        for _ in range(20):
            assert machine.ask()[0] == 200
        assert machine.bridge("--check", "kimi").returncode == 0
    assert reached(machine) == 20
    assert machine.ask()[0] == 200
    assert machine.bridge("--stop").returncode == 0


def test_clients_that_do_not_read(machine: World) -> None:
    """A client that stops reading its stream holds up neither the others nor the memory."""
    with Counter() as api:
        machine.bridge("--stop")
        machine.variables["KIMI_CODE_BASE_URL"] = f"{api.url}/coding/v1"
        machine.start()
        before = _resident(machine)
        with dial(machine.port) as lazy, dial(machine.port) as eager:
            lazy.sends(request(machine.port))
            endless = api.arrives()
            endless.begins()
            endless.fills()
            eager.sends(request(machine.port))
            quick = api.arrives()
            quick.begins()
            quick.streams("message_stop")
            quick.concludes()
            eager.hears(b"message_stop")
        assert _resident(machine) - before < 32 * 1024


def _resident(machine: World) -> int:
    """Return the daemon's resident memory in KiB; 0 where nobody says."""
    status = Path(f"/proc/{machine.pid}/status")
    if not status.exists():
        return 0
    (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1])


def test_websockets(machine: World) -> None:
    """An upgrade to a WebSocket is refused at once, with a body that says what to use."""
    handshake = (
        "Connection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    get = f"GET /kimi/v1/responses HTTP/1.1\r\nHost: 127.0.0.1:{machine.port}\r\n{handshake}\r\n"
    answer = sends(machine, get.encode())
    assert statuses(answer) == [426]
    assert b"HTTP streaming" in answer
    assert reached(machine) == 0


def test_http_1_0(machine: World) -> None:
    """HTTP/1.0 is served, its answer ends with the connection, and a head without Host does not."""
    content = request(machine.port).replace(b"HTTP/1.1", b"HTTP/1.0")
    with dial(machine.port) as wire:
        wire.sends(content)
        answer = wire.rest()
    assert answer.startswith(b"HTTP/1.0 200 ")
    assert b"transfer-encoding" not in answer.lower()
    assert answer.endswith(b'data: {"type": "message_stop"}\n\n')
    nameless = content.replace(b"Host: ", b"Hast: ")
    assert statuses(sends(machine, nameless))[0] in {400, 421}
    assert reached(machine) == 1


def test_both_loopbacks(machine: World) -> None:
    """IPv6 loopback is the same door; other addresses of the machine are none."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    data = request(machine.port).replace(b"127.0.0.1", b"[::1]")
    try:
        wire = dial(machine.port, "::1")
    except OSError:
        pytest.skip("no IPv6 loopback")
    with wire:
        wire.sends(data)
        wire.hears(b"message_stop")
    with pytest.raises(ConnectionRefusedError):
        dial(machine.port, "127.0.0.2")
