"""Requests that two servers would read in two ways, before a daemon with several credentials.

The table of ``tests/proxy/ambiguous.py`` is tried on the daemon in ``tests/process``; here are what
it leaves out, and any combination of such lines at random.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Final

import pytest

from tests.abuse.siege import SHOWN, Siege, besieged, noted, statuses
from tests.proxy.rawclient import RawClient, passes, rawclient

pytestmark = [pytest.mark.process, pytest.mark.timeout(240)]

FULL: Final = os.environ.get("BRIDGE_TEST_FULL") == "1"

#: Lines that say something of the length, or that some servers take for such.
LENGTHS: Final = (
    *(b"Content-Length: 5", b"Content-Length: 05", b"Content-Length: +5", b"Content-Length: -5"),
    *(b"Content-Length: 0x5", b"Content-Length:", b"Content-Length:  ", b"Content-Length: 5 5"),
    *(
        b"Content-Length: 5,5",
        b"Content-Length: 5, 6",
        b"Content-Length: 5;a=b",
        b"Content-Length: 5.0",
    ),
    *(b"Content-Length : 5", b" Content-Length: 5", b"Content-Length\t: 5", b"Content_Length: 5"),
    *(b"content-length: 4", b"Content-Length: 6", b"Content-Length: 1e1", b'Content-Length: "5"'),
    *(
        b"Content-Length: 5\x0b",
        b"Content-Length: \x0c5",
        b"Content-Length: 5\x00",
        b"Content-Length: \xb2",
    ),
    *(
        b"Content-Length: 18446744073709551621",
        b"Content-Length: 4294967301",
        b"X: y\rContent-Length: 5",
    ),
    *(b"X: y\nContent-Length: 5", b"X: y\r\n\tContent-Length: 5", b"X: y\r\n Content-Length: 5"),
)
CODINGS: Final = (
    *(b"Transfer-Encoding: chunked", b"transfer-encoding: CHUNKED", b"Transfer-Encoding:chunked"),
    *(
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding:",
    ),
    *(
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked, gzip",
        b"Transfer-Encoding: x",
    ),
    *(
        b"Transfer-Encoding : chunked",
        b" Transfer-Encoding: chunked",
        b"Transfer-Encoding: chunked;a",
    ),
    *(
        b'Transfer-Encoding: "chunked"',
        b"Transfer-Encoding: chun ked",
        b"Transfer-Encoding: \x0bchunked",
    ),
    *(b"Transfer_Encoding: chunked", b"X: y\rTransfer-Encoding: chunked", b"TE: chunked"),
    *(
        b"X: y\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\x00",
        b"Transfer-\r\nEncoding: chunked",
    ),
)
OTHERS: Final = (
    *(b"Connection: close", b"Connection: keep-alive, Content-Length", b"Expect: 100-continue"),
    *(
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ",
        b"Host: b",
    ),
    *(b"Connection: Authorization, Host", b"X-HTTP-Method-Override: DELETE", b"Upgrade: websocket"),
    *(b"Authorization: Bearer again", b"x-api-key: again", b"Content-Type: text/plain", b"A:b"),
)
ENDS: Final = (b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\r\n", b"\x00\r\n")
SIZES: Final = (
    *(
        b"5",
        b"05",
        b"5 ",
        b"5\t",
        b" 5",
        b"0x5",
        b"+5",
        b"-5",
        b"5;a",
        b'5;a="b\r\nc"',
        b"5;\n",
        b"G",
    ),
    *(
        b"fffffffffffffffff5",
        b"00000000000000000000005",
        b"5\r",
        b"5\n",
        b"",
        b"6",
        b"4",
        b"5;" + b"x" * 300,
    ),
)
CHUNK_ENDS: Final = (b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"", b"XX", b"\r\n\r\n")


def hidden(host: bytes, provider: str) -> bytes:
    """Return a request that nobody sent, as the body of another."""
    first = f"POST /{provider}/v1/hidden HTTP/1.1".encode()
    return first + b"\r\nHost: " + host + b"\r\nContent-Length: 0\r\n\r\n"


def made_up(chance: random.Random, host: bytes) -> bytes:
    """Return a request of lines that may or may not go together, and what hides behind it."""
    lines = [b"POST /kimi/v1/messages HTTP/1.1", b"Host: " + host]
    lines += [b"Authorization: Bearer " + SHOWN.encode()]
    more = [*chance.choices(LENGTHS, k=chance.choice([0, 1, 1, 2]))]
    more += chance.choices(CODINGS, k=chance.choice([0, 0, 1, 1, 2]))
    more += chance.choices(OTHERS, k=chance.choice([0, 0, 1, 2]))
    chance.shuffle(more)
    ends, breaks = chance.choice([ENDS, [b"\r\n"]]), chance.choice([CHUNK_ENDS, [b"\r\n"]])
    head = b"".join(line + chance.choice(ends) for line in [*lines, *more]) + chance.choice(ends)
    size = chance.choice([b"5", chance.choice(SIZES)])
    chunks = size + chance.choice(breaks) + b"hello" + chance.choice(breaks)
    chunks += b"0" + chance.choice(breaks) + chance.choice([b"", b"X-T: 1\r\n"]) + b"\r\n"
    body = chance.choice([b"hello", chunks, b""])
    return head + body + hidden(host, "minimax")


async def _tried(siege: Siege, probe: RawClient, data: bytes, cut: int) -> list[int]:
    """Send *data* in two pieces; return the statuses of what came back by the time all is said.

    The daemon has one loop: what it had to say to *data* it has said when *probe*, which asks
    something after it, has been answered often enough for a way to the upstream and back.
    """
    async with rawclient(siege.machine.port) as client:
        await client.sends(data[:cut])
        await passes(2)
        await client.sends(data[cut:])
        for _ in range(8):
            probe.received.clear()
            await probe.sends(b"GET /health HTTP/1.1\r\nHost: %b\r\n\r\n" % siege.host)
            await probe.hears(b'"providers"')
        return statuses(each for each in client.answers if each.status >= 200)


async def test_requests_at_random(tmp_path: Path) -> None:
    """Whatever the lines: what arrives was answered, one for one, with its provider's credential.

    No request arrives that another provider's credential was put on and nobody asked for in the
    one way of reading that HTTP has: a hidden one is there only behind an answered first.
    """
    seed = 20261122
    chance = random.Random(seed)
    accepted = tried = 0
    told: list[list[int]] = []
    async with besieged(tmp_path) as siege, rawclient(siege.machine.port) as probe:
        for _ in range(20_000 if FULL else 450):
            data = made_up(chance, siege.host)
            # Each has its number, so that what comes late is not taken for another's.
            number = b"?case=%d " % tried
            data = data.replace(b"/messages ", b"/messages" + number)
            data = data.replace(b"/hidden ", b"/hidden" + number)
            told.append(await _tried(siege, probe, data, chance.randrange(1, len(data))))
            assert set(told[-1]) <= {200, 400, 403, 413, 421, 426}, (seed, data, told[-1])
            tried += 1
        siege.holds()
        arrived: dict[int, list[str]] = {}
        for name, sent in siege.arrived:
            case = int(sent.target.partition("?case=")[2])
            arrived.setdefault(case, []).append(f"{name} {sent.target.partition('?')[0]}")
        first, second = "kimi /coding/v1/messages", "minimax /mm/v1/hidden"
        for case, statuses_told in enumerate(told):
            found = arrived.get(case, [])
            # Behind a refusal that ends in good order (426) the next request is one of its own.
            alone = [[second]] if statuses_told == [426, 200] else []
            good = [[], [first], [first, second], *alone]
            assert found in good, (seed, case, found, statuses_told)
            assert statuses_told.count(200) <= len(found), (seed, case, found, statuses_told)
            accepted += bool(found)
        await siege.serves()
    assert accepted > 20
    noted("smuggling at random", f"seed {seed}: {tried} requests, {accepted} read in one way")


async def test_a_body_that_is_somebody_elses_request(tmp_path: Path) -> None:
    """Requests inside of bodies, chunks, extensions and trailers stay what they are: content."""
    async with besieged(tmp_path) as siege:
        inner = hidden(siege.host, "minimax")
        first = (
            b"POST /kimi/v1/messages HTTP/1.1\r\nHost: " + siege.host + b"\r\nConnection: close\r\n"
        )
        chunked = first + b"Transfer-Encoding: chunked\r\n\r\n"
        chunk = b"%x\r\n%b\r\n" % (len(inner), inner)
        bodies = {
            "a body": first + b"Content-Length: %d\r\n\r\n" % len(inner) + inner,
            "a chunk": chunked + chunk + b"0\r\n\r\n",
            "chunks of a byte": chunked
            + b"".join(b"1\r\n%c\r\n" % byte for byte in inner)
            + b"0\r\n\r\n",
        }
        for name, data in bodies.items():
            siege.forgets()
            assert statuses(await siege.answers(data)) == [200], name
            assert [(at, sent.body) for at, sent in siege.arrived] == [("kimi", inner)], name
        siege.forgets()
        line = inner.replace(b"\r\n", b"|")
        for data in (
            chunked + b"5;x=" + line + b"\r\nhello\r\n0\r\n\r\n",
            chunked + b"5\r\nhello\r\n0\r\nX-T: " + line + b"\r\n\r\n",
        ):
            await siege.answers(data)
        assert {(at, sent.body) for at, sent in siege.arrived} <= {("kimi", b"hello")}
        for trailer in (b"Authorization: Bearer x", b"x-bridge-key: x", b"Content-Length: 9"):
            await siege.answers(chunked + b"5\r\nhello\r\n0\r\n" + trailer + b"\r\n\r\n")
        await siege.serves()
    noted("requests inside of bodies and trailers", "stayed content")
