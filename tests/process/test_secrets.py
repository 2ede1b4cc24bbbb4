"""No secret leaves its place: a busy life with recognisable secrets, and a look into every sink."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.fakes.grants import ACCESS_MARK, REFRESH_MARK
from tests.process.wire import Counter, dial, request
from tests.world import World, message, world

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]

_now: Callable[[], float] = time.time  # noqa: TID251 - the daemon is a real process in real time

#: What a client shows or says that is nobody else's business, by where it stands.
CLIENTS = {
    "authorization": "Bearer CLIENTsecret-bearer",
    "x-api-key": "CLIENTsecret-api-key",
    "proxy-authorization": "Basic CLIENTsecret-proxy",
    "cookie": "session=CLIENTsecret-cookie",
    "x-bridge-key": "CLIENTsecret-bridge-key",
}
PROMPT = "BODYsecret, my diary"
QUERY = "QUERYsecret"
ANSWER = "ANSWERsecret"
HEADER = "HEADERsecret"
PROXY = "PROXYsecret"
MARKS = ("CLIENTsecret", PROMPT, QUERY, ANSWER, HEADER, PROXY, ACCESS_MARK, REFRESH_MARK)

CONFIG = f"""
[log]
level = "debug"
[network]
proxy = "http://person:{PROXY}@127.0.0.1:9"
[providers.kimi]
headers = {{ X-Gateway = "{HEADER}" }}
"""


class Life:
    """A busy life of one machine; *sinks* are all places where its secrets must not turn up."""

    def __init__(self, machine: World) -> None:
        self.machine = machine
        self.sinks: dict[str, bytes] = {}
        self.secrets: set[str] = set()

    def asks(self, path: str = "/kimi/v1/messages", **more: str) -> int:
        """Send one request full of secrets; an error of ours in answer to it is a sink."""
        status, headers, body = self.machine.ask(
            f"{path}?key={QUERY}", message(PROMPT), headers={**CLIENTS, **more}
        )
        sink = f"answer {len(self.sinks)} to {path}: HTTP {status}"
        self.sinks[sink] = json.dumps(headers).encode() + body
        return status

    def sends(self, data: bytes) -> bytes:
        """Send bytes that need not be HTTP and return what came back, which is a sink."""
        with dial(self.machine.port) as wire:
            wire.sends(data)
            wire.ends()
            answer = wire.rest()
        self.sinks[f"answer {len(self.sinks)} to garbage"] = answer
        return answer

    def notes_token(self) -> None:
        """Remember the tokens in the file: their tails are secrets just as their heads are."""
        document = self.machine.token()
        self.secrets |= {document["access_token"][-16:], document["refresh_token"][-16:]}

    def looks_at_processes(self) -> None:
        """Take what ``ps`` shows of the daemon and of everything else here."""
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            if entry.parent.name == str(os.getpid()):
                continue
            try:
                self.sinks[f"command line of {entry.parent.name}"] = entry.read_bytes()
            except OSError:  # it has just ended
                continue

    def looks_at_files(self) -> None:
        """Take every file of the home, but those two that hold the secrets."""
        for path in self.files():
            self.sinks[str(path)] = path.read_bytes()

    def files(self) -> Iterator[Path]:
        """Yield the files below the home that are not there to hold a secret."""
        kept = {self.machine.credential, self.machine.home / ".local/state/bridge/key"}
        kept.add(self.machine.home / ".config/bridge/config.toml")
        for path in self.machine.home.rglob("*"):
            if path.is_file() and path not in kept:
                yield path


def leaks(sinks: Mapping[str, bytes], secrets: set[str]) -> list[str]:
    """Return where a secret, or one of the marks with which they begin, can be read."""
    wanted = [secret.encode() for secret in {*MARKS, *secrets}]
    return [name for name, content in sinks.items() if any(each in content for each in wanted)]


@pytest.fixture(name="machine", scope="module")
def _machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A machine with a configuration that holds secrets."""
    with world(tmp_path_factory.mktemp("secrets"), interval=0.1, auto_approve=2) as machine:
        machine.configure(CONFIG)
        yield machine


@pytest.fixture(name="life", scope="module")
def _life(machine: World) -> Life:
    """A life that has been lived: login, work, every kind of trouble, and the end."""
    life = Life(machine)
    _settles_in(life)
    _works(life)
    _gets_into_trouble(life)
    life.looks_at_processes()
    _ends(life)
    life.looks_at_files()
    life.sinks |= {f"output {n}": text.encode() for n, text in enumerate(machine.outputs)}
    life.sinks["log"] = machine.log.encode()
    return life


def _settles_in(life: Life) -> None:
    machine = life.machine
    machine.bridge("token")  # there is no login
    machine.start()
    assert life.asks() == 401
    assert machine.bridge("login", "--no-browser").returncode == 0
    machine.authorization.set(auto_approve=1_000_000)  # from now on nobody logs in by accident
    life.notes_token()
    key = machine.home / ".local/state/bridge/key"
    life.secrets.add(key.read_text().strip())


def _works(life: Life) -> None:
    machine = life.machine
    assert life.asks() == 200
    assert life.asks("/kimi/v1/messages/count_tokens") == 200
    machine.upstream.expect_401()
    assert life.asks() == 200  # by a refresh
    life.notes_token()
    machine.upstream.refuse_all()
    assert life.asks() == 401
    machine.upstream.refuse_all(False)
    for words in (
        ["--check", "--json"],
        ["--check", "kimi", "-v"],
        ["--reload"],
        ["shell-init", "bash"],
    ):
        machine.bridge(*words)


def _gets_into_trouble(life: Life) -> None:
    machine = life.machine
    secret = CLIENTS["authorization"]
    life.asks("/nobody/v1/messages")
    life.asks(Host="evil.example")
    life.asks(Origin="https://evil.example")
    life.asks(Upgrade="websocket", Connection="upgrade")
    life.sends(f"GET / {secret}\r\n\r\n".encode())
    life.sends(f"POST /kimi/v1/messages HTTP/1.1\r\n{secret} : x\r\n\r\n".encode())
    life.sends(f"POST / HTTP/1.1\r\nAuthorization: {secret}\r\nContent-Length: x\r\n\r\n".encode())
    life.sends(request(machine.port, message(PROMPT))[:-5])
    _is_refused(life)
    machine.configure(
        CONFIG.replace(f'"{HEADER}"', f'"{HEADER}\\u0001"').replace("http://", "ftp://")
    )
    assert machine.bridge("--reload").returncode == 78
    machine.configure(CONFIG)
    with Counter() as counter:
        machine.variables["KIMI_CODE_OAUTH_HOST"] = counter.url
        waiting = machine.spawn("login", "--no-browser")
        asked = counter.arrives()
        error = {"error": "unwell", "error_description": ANSWER, "refresh_token": REFRESH_MARK}
        asked.answers(500, json.dumps(error).encode())
        machine.outputs += [str(part) for part in waiting.communicate(timeout=30)]
        del machine.variables["KIMI_CODE_OAUTH_HOST"]


def _is_refused(life: Life) -> None:
    """Let the authorization server echo the refresh token in its refusal, and refuse for good."""
    machine = life.machine
    good = machine.credential.read_bytes()
    document = machine.token()
    spent = json.dumps(
        {**document, "expires_at": _now() - 1, "refresh_token": f"{REFRESH_MARK}-no"}
    )
    machine.credential.write_text(spent)
    words = f"{ANSWER} {REFRESH_MARK}-no is no good"
    body = json.dumps({"error": "invalid_grant", "error_description": words})
    machine.authorization.ask("answer", status=400, body=body)
    assert life.asks() == 401
    machine.credential.write_text(f'{{"access_token": "{ACCESS_MARK}-torn')
    assert life.asks() == 503
    machine.bridge("token")
    machine.bridge("--check", "kimi", "-v")
    machine.credential.write_bytes(good)
    assert life.asks() == 200


def _ends(life: Life) -> None:
    machine = life.machine
    pid = machine.pid
    limits = Path(f"/proc/{pid}/limits")
    if limits.exists():
        assert "Max core file size        0                    0" in limits.read_text()
    assert machine.bridge("--restart").returncode == 0
    assert life.asks() == 200
    assert machine.bridge("--stop").returncode == 0


def test_no_secret_in_any_sink(life: Life) -> None:
    """No token, key, header, prompt or answer stands in a log, an output, an error or a file."""
    assert len(life.sinks) > 40
    assert b"request answered" in life.sinks["log"]
    assert leaks(life.sinks, life.secrets) == []


def test_the_scanner_sees(life: Life) -> None:
    """A secret planted in the log is found, and so is a token's tail: the test above is awake."""
    tail = life.machine.token()["refresh_token"][-16:]
    for secret in (*MARKS, tail):
        log = life.sinks["log"] + f"request failed reason={secret}\n".encode()
        assert leaks({**life.sinks, "log": log}, life.secrets) == ["log"], secret


def test_files_are_private(life: Life) -> None:
    """What holds a secret is for its owner alone, and so is all else that bridge writes."""
    machine = life.machine
    written = [machine.home / ".local/state/bridge", machine.share]
    for path in (each for top in written for each in (top, *top.rglob("*"))):
        assert path.stat().st_mode & 0o077 == 0, path
    assert {path.name for path in machine.share.rglob("*") if path.is_file()} == {
        "device_id",
        "kimi-code.json",
        "kimi-code.lock",
    }
