"""``status``, ``--check`` and ``/health`` say the same, whatever there is to find."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.commands.check import Question, check
from bridge.commands.status import status
from bridge.errors import UsageError
from bridge.service.pidfile import PidFile
from bridge.service.probe import NOT_RUNNING, SERVING, STRANGE
from bridge.service.record import Record
from tests.ports import free_port
from tests.world import NOBODY

INSTANCE = "feedc0ffee"
HOLDERS = ["nobody", "stale", "elsewhere", "starting", "us", "garbage"]
BEHAVIOURS = ["closed", "ours", "stranger", "refusing", "hasty", "broken"]

words = st.text(max_size=40)
moments = st.integers(0, 1 << 33)
states = st.fixed_dictionaries(
    {"ready": st.booleans(), "auth": st.sampled_from(["oauth", "key", "passthrough"])},
    optional={
        "source": words,
        "expires_in_seconds": st.integers(-(1 << 20), 1 << 20),
        "refreshed_at": moments,
        "next_refresh_at": moments,
        "login_ends_at": moments,
        "problem": words,
        "note": words,
        "failure": words,
        "requests": st.integers(0, 1 << 40),
    },
)
healths = st.fixed_dictionaries(
    {"status": st.sampled_from(["ok", "degraded"]), "version": words},
    optional={
        "providers": st.dictionaries(st.sampled_from(["kimi", "glm", "x" * 30]), states),
        "started_at": moments,
        "added_ms": st.just({"p50": None, "p99": None}) | st.just({"p50": 0.2, "p99": 3.0}),
        "last_error": st.none() | st.fixed_dictionaries({"at": moments, "text": words}),
    },
)


class Listener:
    """Somebody on a port who gives every caller the same *answer*; without one it only accepts."""

    def __init__(self, answer: bytes | None) -> None:
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self._held: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            self._held.append(connection)
            if self._answer is None:
                continue
            asked = connection.recv(65536)
            if asked == b"leave":
                return
            connection.sendall(self._answer)
            connection.close()

    def close(self) -> None:
        """Go away."""
        self._answer = b""
        with socket.create_connection(("127.0.0.1", self.port)) as last:
            last.sendall(b"leave")
            self._thread.join()
        self._socket.close()
        for connection in self._held:
            connection.close()


def answer(behaviour: str, health: object) -> bytes:
    """Return what a listener of that *behaviour* says to everybody."""
    content = json.dumps(health).encode()
    if behaviour == "broken":
        content = b"nonsense"
    if behaviour == "hasty":
        return b"HTTP/1.1 200 OK\r\ncontent-le"
    name = "somebody" if behaviour == "stranger" else INSTANCE
    code = 503 if behaviour == "refusing" else 200
    lines = [f"HTTP/1.1 {code} OK", f"content-length: {len(content)}", f"x-bridge-instance: {name}"]
    return "\r\n".join([*lines, "", ""]).encode() + content


@contextmanager
def held(holder: str, path: Path, port: int) -> Iterator[None]:
    """Let the PID file be as *holder* has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    record = Record(pid=7, port=port, instance=INSTANCE, boot="b", host="far")
    if holder == "us":
        claimed = PidFile.claim(
            str(path), port=port, instance=INSTANCE, version="1", pause=lambda seconds: None
        )
        try:
            yield
        finally:
            claimed.release()
        return
    if holder != "nobody":
        texts = {"starting": "", "garbage": "\0\xff"}
        path.write_text(texts.get(holder, record.text()))
    try:
        with ExitStack() as stack:
            if holder in {"starting", "elsewhere"}:
                file = stack.enter_context(path.open())
                fcntl.flock(file, fcntl.LOCK_EX)
            yield
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def listening(behaviour: str, health: object) -> Iterator[int]:
    """Let somebody be on a port, or nobody; return the port."""
    if behaviour == "closed":
        yield free_port()
        return
    listener = Listener(None if behaviour == "silent" else answer(behaviour, health))
    try:
        yield listener.port
    finally:
        listener.close()


def question(port: int, **changes: Any) -> Question:
    """Return what ``--check -v`` asks."""
    asked = Question()
    asked.port, asked.verbose = port, True
    for name, value in changes.items():
        setattr(asked, name, value)
    return asked


def agree(port: int, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    """Ask in every way, see that all agree, and return the code and the document."""
    capsys.readouterr()
    code = check(question(port))
    line = "".join(capsys.readouterr()).strip("\n")
    assert check(question(port, json=True)) == code
    health = capsys.readouterr().out
    options = {"port": port}
    assert status(options, as_json=True, watch=False) == code
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert status(options, as_json=False, watch=False) == code
    screen = capsys.readouterr().out
    assert document["exit_code"] == code
    assert document["line"] == line
    assert document["serving"] is (code == SERVING)
    assert "".join(line.split()) in "".join(screen.split())
    assert all(len(each) <= 80 for each in screen.splitlines())
    if health.startswith("{"):
        _agrees_with(json.loads(health), document, screen)
    elif health:
        assert "status" not in document["daemon"]
    else:
        assert code != SERVING
        assert document["daemon"] is None or "status" not in document["daemon"]
    return code, document


def _agrees_with(health: dict[str, Any], document: dict[str, Any], screen: str) -> None:
    """See that all of *health* is in *document*, and who is ready on the screen."""
    providers = health.pop("providers", None)
    assert health.items() <= document["daemon"].items()
    if providers is None:
        return
    assert document["providers"] == providers
    for name, state in providers.items():
        shown = f"\n{name:<14}" if len(name) < 14 else f"\n{name}\n{'':14}"
        if shown in screen:
            assert screen.partition(shown)[2].startswith("ready") is state["ready"]
        else:
            assert not state.get("requests")


@settings(
    max_examples=300 if os.environ.get("BRIDGE_TEST_FULL") == "1" else 30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(holder=st.sampled_from(HOLDERS), behaviour=st.sampled_from(BEHAVIOURS), health=healths)
@pytest.mark.timeout(120)
def test_they_never_disagree(
    home: Path, capsys: pytest.CaptureFixture[str], holder: str, behaviour: str, health: Any
) -> None:
    """Every PID file with every listener, and any document of ours."""
    with listening(behaviour, health) as port, held(holder, home / ".local/run/bridge.pid", port):
        code, document = agree(port, capsys)
    assert (code == SERVING) == (holder == "us" and behaviour in {"ours", "broken"})
    if holder == "nobody":
        assert code == (NOT_RUNNING if behaviour == "closed" else STRANGE)
        assert document["daemon"] is None


@pytest.mark.parametrize("holder", ["us", "nobody"])
def test_who_says_nothing(holder: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A daemon that hangs, and a stranger who does."""
    with (
        listening("silent", {}) as port,
        held(holder, home / ".local/run/bridge.pid", port),
    ):
        code, document = agree(port, capsys)
    assert code == STRANGE
    assert (document["daemon"] or {}).get("pid") == (os.getpid() if holder == "us" else None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_the_pid_file_of_somebody_else(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its text decides nothing."""
    path = home / ".local/run/bridge.pid"
    with listening("ours", {"status": "ok"}) as port, held("stale", path, port):
        os.chown(path, NOBODY, NOBODY)
        code, document = agree(port, capsys)
    assert code == STRANGE
    assert document["daemon"] is None


def test_a_configuration_gone_wrong_is_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The screen comes all the same, with what is wrong in it."""
    config = home / ".config/bridge/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("[servr]\n")
    code, document = agree(free_port(), capsys)
    assert code == NOT_RUNNING
    assert document["providers"] == {}
    assert f"{config}:1" in document["configuration"]["problem"]


def test_nothing_is_written_and_nobody_is_told(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look leaves no trace in the home, runs no command and shows no key."""
    monkeypatch.setenv("GLM_API_KEY", "GLMsecret-1234567890")
    config = home / "c.toml"
    trace = home / "trace"
    config.write_text(f'[providers.minimax]\nkey = {{ command = ["touch", "{trace}"] }}\n')
    before = sorted(home.rglob("*"))
    options = {"port": free_port(), "config": str(config)}
    for as_json in (True, False):
        status(options, as_json=as_json, watch=False)
        told = capsys.readouterr()
        assert "GLM_API_KEY" in told.out
        assert "GLMsecret" not in told.out + told.err
    assert sorted(home.rglob("*")) == before


@pytest.mark.parametrize("as_json", [True, False])
def test_a_watch_takes_a_terminal(home: Path, *, as_json: bool) -> None:
    """A pipe would get the same screen a thousand times."""
    with pytest.raises(UsageError):
        status({}, as_json=as_json, watch=True)
