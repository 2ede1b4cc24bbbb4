"""Another user of the machine: may connect, and gets nothing, whatever becomes of the socket."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.abuse import stranger
from tests.abuse.siege import clean, noted
from tests.abuse.stranger import SOMEBODY, said
from tests.process.wire import request
from tests.world import NOBODY, World, belongs_to, world

pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(120),
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("setpriv") is None,
        reason="only root can be somebody else, and it takes setpriv",
    ),
]

CLOSE = "Connection: close\r\n"


@pytest.fixture(name="machine", scope="module")
def _machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Root's machine with a daemon; root is whom the kernel names for a socket without owner."""
    with world(tmp_path_factory.mktemp("strangers")) as machine:
        machine.log_in()
        machine.start()
        yield machine
        clean(machine.log)


@pytest.fixture(name="modest", scope="module")
def _modest() -> Iterator[World]:
    """The machine of somebody who is not root, with a daemon that serves its own user only."""
    with tempfile.TemporaryDirectory(prefix="bridge-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with world(folder, uid=NOBODY) as machine:
            if machine.bridge("--version").returncode != 0:
                pytest.skip("this checkout cannot be read by a second user")
            machine.log_in()
            belongs_to(machine.home, NOBODY)
            machine.start()
            yield machine
            clean(machine.log)


def key_of(machine: World) -> str:
    """Return the caller key."""
    return (machine.home / ".local/state/bridge/key").read_text().strip()


def reached(machine: World) -> int:
    """Return how many requests the upstream has seen."""
    return len(machine.upstream.requests())


def asked(machine: World, more: str = "") -> str:
    """Return a request, in hexadecimal."""
    return request(machine.port, more=more + CLOSE).hex()


def test_every_other_user(machine: World, modest: World) -> None:
    """Somebody, nobody and root are strangers to a daemon that is not theirs, key or no key."""
    for who, home in ((SOMEBODY, machine), (NOBODY, machine), (SOMEBODY, modest), (0, modest)):
        before = reached(home)
        key = key_of(home)
        for more in (
            "",
            f"x-bridge-key: {key}\r\n",
            f"x-api-key: {key}\r\n",
            f"Authorization: Bearer {key}\r\n",
        ):
            answer = said(who, "asks", str(home.port), asked(home, more))
            assert answer.startswith("HTTP/1.1 403 "), (who, answer)
            assert "another user of this machine" in answer
        health = f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{home.port}\r\n{CLOSE}\r\n".encode()
        document = said(who, "asks", str(home.port), health.hex()).partition("\n\n")[2]
        assert json.loads(document)["status"] == "ok"
        assert key not in document
        assert reached(home) == before
    assert said(NOBODY, "asks", str(modest.port), asked(modest)).startswith("HTTP/1.1 200 ")
    assert said(0, "asks", str(machine.port), asked(machine)).startswith("HTTP/1.1 200 ")
    noted("another user, with and without the key", "403 for root, nobody and a fresh uid")


@pytest.mark.parametrize("verb", ["sends_and_closes", "sends_and_resets", "half_closes"])
def test_a_socket_without_owner(machine: World, modest: World, verb: str) -> None:
    """Sent, and gone before the daemon looks: nobody's socket is not root's, and gets nothing."""
    for home in (machine, modest):
        before, pid = reached(home), home.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            for who in (SOMEBODY, 0 if home is modest else NOBODY):
                for _ in range(5):
                    said(who, verb, str(home.port), asked(home))
        finally:
            os.kill(pid, signal.SIGCONT)
        assert home.ask("/health", method="GET")[0] == 200  # accepted after them
        assert home.ask("/health", method="GET")[0] == 200
        assert reached(home) == before
    noted(f"orphaned sockets ({verb})", "20 requests of gone strangers, none forwarded")


def test_a_socket_that_we_gave_away(machine: World) -> None:
    """Whoever gets a connection that we opened acts for us: the kernel names who opened it.

    That is a program of ours lending its own right (as it could by asking itself), and no way in.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.create_connection(("127.0.0.1", machine.port)) as connection:
        theirs.set_inheritable(True)
        socket.send_fds(ours, [b"x"], [connection.fileno()])
        number = theirs.fileno()
        answer = said(SOMEBODY, "uses", str(number), asked(machine), pass_fds=(number,))
    assert answer.startswith("HTTP/1.1 200 ")
    noted("a connection of ours passed to another user", "served: it is ours, and was lent")


def test_a_socket_that_was_given_to_us(machine: World) -> None:
    """A connection that a stranger opened stays a stranger's, whoever speaks on it."""
    before = reached(machine)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        number = theirs.fileno()
        with stranger.as_user(
            SOMEBODY, "gives", str(machine.port), str(number), pass_fds=(number,), wait=False
        ) as child:
            _, (passed, *_), _, _ = socket.recv_fds(ours, 1, 1)
            with socket.socket(fileno=passed) as connection:
                connection.settimeout(30)
                connection.sendall(bytes.fromhex(asked(machine)))
                assert connection.recv(65536).startswith(b"HTTP/1.1 403 ")
            child.communicate(timeout=30)
    assert reached(machine) == before
    noted("a connection of another user passed to us", "403: it stays the stranger's")


def test_our_files(modest: World) -> None:
    """In a home that is open to all, none of bridge's files or folders opens for anybody else."""
    modest.home.chmod(0o755)
    assert modest.bridge("--reload").returncode == 0
    # The folder of the login is the official CLI's, and so is its mode.
    shared = [path for path in (modest.home / ".kimi").rglob("*") if path.is_file()]
    own = (modest.home / ".local").rglob("*")
    paths = [str(path) for path in (*shared, *own)]
    names = {Path(path).name for path in paths}
    assert {"kimi-code.json", "key", "bridge.log", "bridge.pid"} <= names
    process = [f"/proc/{modest.pid}/{name}" for name in ("environ", "fd", "mem", "maps", "cwd")]
    opened = said(SOMEBODY, "reads", *paths, *process).split()
    listable = {str(modest.home / ".local/state")} & set(opened)
    assert set(opened) == listable
    noted("our files and our process, by another user", f"{len(paths) + len(process)}, none opens")


def test_signals_and_words_of_another_user(modest: World) -> None:
    """Nobody else can stop, reload or take over the daemon, its PID file in hand or not."""
    pid = modest.pid
    own = modest.prefix
    try:
        modest.prefix = ["setpriv", f"--reuid={SOMEBODY}", f"--regid={SOMEBODY}", "--clear-groups"]
        elsewhere = {"HOME": "/nonexistent", "BRIDGE_PID_FILE": str(modest.pid_file)}
        for words in (["--stop"], ["--reload"]):
            done = modest.bridge(*words, environment=elsewhere)
            assert "Traceback" not in done.stderr
            assert done.returncode != 0 or words == ["--stop"]
    finally:
        modest.prefix = own
    assert modest.pid == pid
    assert modest.bridge("--check").returncode == 0
    noted("another user stops, reloads, restarts", "the daemon did not hear of it")
