"""What any bytes may do to the rooms that read what others have written: one function for each.

A target takes bytes and checks what the room promises of all bytes; a broken promise is an
``AssertionError``, and any other exception is a crash. *SEEDS* are good ones to begin from.
``test_targets`` throws hypothesis' bytes at them, ``python -m tests.fuzz`` coverage-guided ones.
"""

# A target is no test: what it checks of an error, it checks where it is caught.
# ruff: noqa: PT017

from __future__ import annotations

import itertools
import json
import logging
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from bridge.clock import SystemClock
from bridge.config import parse
from bridge.credentials.chronicle import decoded
from bridge.credentials.keyform import LONGEST
from bridge.credentials.keyplace import judged, stripped
from bridge.credentials.store import Credential, Store
from bridge.errors import BridgeError, ConfigError, CredentialUnreadable, KeyRequired, Refused
from bridge.oauth.endpoint import LONGEST_RETRY_AFTER, _seconds
from bridge.oauth.grant import DeviceGrant, Granted, GrantReply, Wait, refreshed
from bridge.oauth.token import Token, presentable
from bridge.providers import Dialect, OAuth, Provider
from bridge.proxy.dialect import document
from bridge.proxy.estimate import estimate
from bridge.proxy.framing import Garbled, Requests
from bridge.proxy.head import Head
from bridge.proxy.rewrite import Routes, choose
from bridge.service.log import OneLine
from bridge.service.record import parse as parse_record
from bridge.service.settings import catalogue
from bridge.wire.failure import NotHttp
from bridge.wire.framing import Incoming
from tests.fuzz.reading import Message, by_h11, normal

_OAUTH: Final = OAuth(host="https://auth.example", client_id="client")
_TOKEN: Final = Token("access", "refresh", 1e9, 900.0)
_BUILT_IN: Final = catalogue()
_ROWS: Final[Mapping[str, Provider]] = parse(
    "", file="f", environment={}, options={}, catalogue=_BUILT_IN
).providers
_ROUTES: Final = Routes.of(_ROWS.values(), default="kimi")
_FOLDER: Final = tempfile.TemporaryDirectory(prefix="bridge-fuzz-")
_STATUSES: Final = (200, 400, 401, 429, 500, 502, 503)
_SECRET: Final = "sk-4f1d0c7a9b2e77aa31"


def requests(data: bytes) -> None:
    """Requests are the same however they are cut, and what is accepted h11 reads the same way."""
    whole, error = _framed([data])
    half = len(data) // 2
    assert (whole, error) == _framed([data[:half], data[half:]])
    assert (whole, error) == _framed([bytes([byte]) for byte in data[:400]] + [data[400:]])
    read = by_h11(data)
    for ours, other in itertools.zip_longest(whole, read[: len(whole)]):
        if [name.lower() for name, _ in ours.headers].count(b"host") != 1:
            break  # the guard refuses it, and h11 refuses it here
        assert ours == other, f"bridge reads {ours}, h11 reads {other}"


def answers(data: bytes) -> None:
    """An answer is the same however it is cut; what is whole never becomes less or more.

    Whether its connection is used again may differ where empty lines follow it.
    """
    seen: list[object] = []
    for cuts in ([len(data)], [len(data) // 2], range(min(len(data), 400))):
        incoming, edges = Incoming(), [0, *cuts, len(data)]
        try:
            for begin, end in itertools.pairwise(edges):
                if begin < end:
                    incoming.feed(data[begin:end])
        except NotHttp:
            seen.append(None)
            continue
        content = b"".join(incoming.taken())
        assert not incoming.whole or incoming.status >= 200
        seen.append((incoming.status, incoming.headers, content, incoming.whole))
    assert seen[0] == seen[1] == seen[2]


def configuration(data: bytes) -> None:
    """A configuration is good, or each complaint is one line that names the file."""
    text = data.decode("utf-8", "replace")
    try:
        config = parse(text, file="f.toml", environment={}, options={}, catalogue=_BUILT_IN)
    except ConfigError as error:
        for line in str(error).splitlines():
            assert line.startswith("f.toml"), line
            assert line.isprintable(), line
        return
    for row in config.providers.values():
        for url in row.surfaces.values():
            place = urlsplit(url)
            local = place.hostname in {"127.0.0.1", "localhost", "::1"}
            assert place.scheme == "https" or local, url
        assert all("\n" not in k + v and "\r" not in k + v for k, v in row.headers.items())


def credential(data: bytes) -> None:
    """A credential file holds a token that can be sent, or none, or is refused without an echo."""
    path = Path(_FOLDER.name) / "kimi-code.json"
    path.write_bytes(data)
    try:
        held = Store(path, SystemClock()).read()
    except CredentialUnreadable as error:
        assert "bridge login" in str(error)
        return
    if isinstance(held, Credential):
        token = held.token
        assert token.access or token.refresh
        assert token.access == presentable(token.access)
        assert token.refresh == presentable(token.refresh)
        assert token.expires_at >= 0 <= token.expires_in
        assert isinstance(token.stale(1e9), bool)
        Store(path, SystemClock()).replace(token)
        again = Store(path, SystemClock()).read()
        assert again is not None
        assert again.token == token


def grants(data: bytes) -> None:
    """Any answer to a refresh, or to a device flow, is a step or one of our errors in one line."""
    status = _STATUSES[data[0] % len(_STATUSES)] if data else 200
    reply = GrantReply(status, data[1:])
    flow = DeviceGrant(_OAUTH, {})
    try:
        invitation = flow.started(reply, 1e9)
        assert invitation.user_code.isprintable()
        assert invitation.verification_uri.startswith(("https://", "http://127", "http://l", ""))
        assert 0 < flow.first_wait.seconds < 1e9
    except BridgeError as error:
        assert str(error).isprintable()
    for step in (lambda: flow.heard(reply, 1e9), lambda: refreshed(_OAUTH, _TOKEN, reply, 1e9)):
        try:
            given = step()
        except BridgeError as error:
            assert str(error).isprintable()
            continue
        if isinstance(given, Wait):
            assert given.seconds > 0
            assert given.reason.isprintable()
            continue
        token = given.token if isinstance(given, Granted) else given
        assert token.access == presentable(token.access) != ""
        assert token.expires_at > 1e9


def keys(data: bytes) -> None:
    """What a key file holds, or a command prints, is a key in visible ASCII or is not echoed."""
    try:
        key = judged(stripped(data), "the place", "mend it", _ROWS["minimax"])
    except KeyRequired as error:
        words = stripped(data)
        assert len(words) < 12 or words not in str(error)
        return
    assert key.access.isascii()
    assert key.access.isprintable()
    assert " " not in key.access
    assert 0 < len(key.access) <= LONGEST
    assert not any(key.access in oddity for oddity in key.oddities if len(key.access) > 24)


def records(data: bytes) -> None:
    """A PID file names a process that can be, or nobody."""
    record = parse_record(data)
    if record is not None:
        assert record.pid > 0
        assert 0 < record.port < 10**9
        assert record.instance


def journals(data: bytes) -> None:
    """A refresh journal of any content is read, and what is read is written and read again."""
    chronicle, _ = decoded(data)
    again, whole = decoded(chronicle.encoded())
    assert whole
    assert again == chronicle


def targets(data: bytes) -> None:
    """A request target leads below the base of one row of the catalogue, or is refused."""
    head = Head("POST", data.decode("latin-1"))
    try:
        route = choose(head, _ROUTES)
        url = route.url
    except Refused as refused:
        assert refused.status in {400, 403, 404, 405}
        assert str(refused).isprintable()
        return
    base = route.provider.surfaces[route.dialect]
    place, home = urlsplit(url), urlsplit(base)
    assert (place.scheme, place.netloc) == (home.scheme, home.netloc)
    assert place.path.startswith(home.path.removesuffix("/v1"))
    path = place.path
    for _ in range(4):
        assert not {".", ".."} & set(path.replace("\\", "/").split("/")), path
        path = unquote(path, "latin-1")
    assert route.start.count(b"\r") == route.start.count(b"\n") == 2


def bodies(data: bytes) -> None:
    """The tokens of any body are counted, or it is said to be no Messages request."""
    try:
        count = estimate(data)
    except ValueError:
        return
    assert count > 0


def log_lines(data: bytes) -> None:
    """Whatever is logged is one line."""
    record = logging.LogRecord("bridge", 20, "", 0, "%s", (data.decode("utf-8", "replace"),), None)
    line = OneLine().format(record)
    assert len(line.splitlines()) == 1
    assert "\n" not in line


def pauses(data: bytes) -> None:
    """Any ``Retry-After`` is a number of seconds that can be waited, or is passed over."""
    seconds = _seconds(data.decode("latin-1"))
    assert seconds is None or 0 <= seconds <= LONGEST_RETRY_AFTER


def complaints(data: bytes) -> None:
    """An error document is JSON with the message in it, in either dialect."""
    text = data.decode("utf-8", "replace")
    for dialect in Dialect:
        error = json.loads(document(dialect, "api_error", text, "SomeError"))["error"]
        assert error["message"] == text


def _framed(pieces: list[bytes]) -> tuple[list[Message], bool]:
    """Return what bridge reads in *pieces*: the whole requests, and whether it gave up."""
    framing, error = Requests(), False
    for piece in pieces:
        try:
            framing.feed(piece)
        except Garbled:
            error = True
            break
    whole = [
        Message(
            each.head.method,
            each.head.target,
            tuple(normal(name, value) for name, value in each.head.raw),
            b"".join(each.pieces),
        )
        for each in framing.arrived
        if each.whole
    ]
    return whole, error or any(each.garbled for each in framing.arrived)


Target = Callable[[bytes], None]
_HEAD: Final = b"POST /kimi/v1/messages HTTP/1.1\r\nHost: a\r\n"
_CONFIG: Final = b"""[server]
port = 18462
hosts = ["a.example"]
[network]
proxy = "http://u:p@127.0.0.1:9"
[providers.my-gateway]
anthropic = "https://llm.example.org"
openai = "http://127.0.0.1:1/v1"
key = [{ env = "MY_KEY" }, { command = ["op", "read"] }]
models = { primary = "big", fast = "small" }
headers = { X-A = "b" }
"""
_GRANT: Final = (
    b'{"access_token": "a", "refresh_token": "r", "expires_in": 900, "device_code": "d",'
    b' "user_code": "U", "verification_uri": "https://a", "interval": 5, "error": "slow_down"}'
)
_COUNT: Final = json.dumps(
    {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        "system": "s",
        "tools": [{"name": "t", "input_schema": {"type": "object"}}],
    }
).encode()
#: Every target, with bytes to begin from.
SEEDS: Final[dict[Target, list[bytes]]] = {
    requests: [
        _HEAD + b"Content-Length: 5\r\n\r\nhello" + _HEAD + b"\r\n",
        _HEAD + b"Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nA: b\r\n\r\n",
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\nHost: a\r\n\r\n" + _HEAD + b"\r\n",
        _HEAD + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nhi",
        _HEAD + b"Connection: close\r\nX-Odd: \xe9\t \r\n\r\n",
    ],
    answers: [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 204 No\r\n\r\n",
    ],
    configuration: [_CONFIG, _BUILT_IN.encode()[:4000]],
    credential: [json.dumps({**_TOKEN.document(), "scope": "s", "new": [1, {}]}).encode()],
    grants: [
        b"0" + _GRANT,
        b"1" + _GRANT.replace(b'"access_token"', b'"a"'),
        b'1{"error": {"type": "invalid_grant"}}',
        b"1<html>",
    ],
    keys: [_SECRET.encode(), b"\xef\xbb\xbf sk-your-key-here \n", b'export KEY="sk-1"'],
    records: [b"12\nstart=3\nboot=b\npidns=p\nport=18462\ninstance=" + b"a" * 32 + b"\n"],
    journals: [b"", b"{}\n", b'{"token": "00", "at": 1}\n'],
    targets: [
        b"/kimi/v1/messages?beta=true",
        b"/v1/%2e%2e/%252e%252e/x",
        b"/glm//v1/v1/chat/completions",
        b"/kimi/v1/..;x/y",
        b"//evil.example/v1/models",
    ],
    bodies: [_COUNT],
    log_lines: [b"request answered id=1", b"a\r\nb\x85c\x0bd"],
    pauses: [b"120", b"Wed, 21 Oct 2026 07:28:00 GMT", b"1e9", b"\xb2"],
    complaints: [b"what is wrong: what to do", b'"\\\n\xff'],
}
