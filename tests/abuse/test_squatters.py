"""Somebody else on our port, and process numbers that mean another process."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.abuse.siege import clean, noted
from tests.world import World, world

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]

namespaces = pytest.mark.skipif(
    os.geteuid() != 0
    or shutil.which("unshare") is None
    or subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", "true"], capture_output=True, check=False
    ).returncode
    != 0,
    reason="takes root and PID namespaces",
)


class Squatter:
    """A stranger on the port who says to be bridge; *heard* is all that was told to it."""

    def __init__(self, port: int) -> None:
        self.heard = b""
        self._listener = socket.create_server(("127.0.0.1", port))
        self._thread = threading.Thread(target=self._serves, daemon=True)
        self._thread.start()

    def _serves(self) -> None:
        document = json.dumps({"status": "ok", "version": "0.1.0", "pid": 1, "providers": {}})
        head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-bridge-instance: feedc0ffee"
        answer = (
            f"{head}\r\nx-bridge-ready: yes\r\ncontent-length: {len(document)}\r\n\r\n{document}"
        )
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(0.2)
                try:
                    self.heard += connection.recv(65536)
                    connection.sendall(answer.encode())
                except OSError:
                    continue

    def leaves(self) -> None:
        """Free the port."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> Iterator[World]:
    """A machine with a login."""
    with world(tmp_path) as machine:
        machine.log_in()
        yield machine


def test_a_squatter(machine: World) -> None:
    """Before a start and after a stop: it is named, never taken for us, and told no secret."""
    secrets = [machine.token()["access_token"], machine.token()["refresh_token"]]
    squatter = Squatter(machine.port)
    text = machine.told(code=4)
    assert f"port {machine.port} on 127.0.0.1 is taken by" in text
    assert f"pid {os.getpid()}" in text
    for words in (["--check"], ["--check", "kimi"]):
        assert machine.bridge(*words).returncode in {3, 4}, words
    squatter.leaves()
    machine.start()
    assert machine.ask()[0] == 200
    secrets.append((machine.home / ".local/state/bridge/key").read_text().strip())
    record = machine.pid_file.read_text()
    assert machine.bridge("--stop").returncode == 0
    after = Squatter(machine.port)
    machine.pid_file.write_text(record)  # as a crash leaves it
    for words in (["--check"], ["--check", "kimi"], ["--reload"]):
        assert machine.bridge(*words).returncode != 0, words
    machine.bridge("--stop")
    after.leaves()
    for heard in (squatter.heard, after.heard):
        assert not any(secret.encode() in heard for secret in secrets)
    noted("a squatter before start and after stop", "named, exit 4, told no secret")


@namespaces
def test_the_number_of_another_container(machine: World) -> None:
    """A daemon of another PID namespace is said to be elsewhere, and nobody here is signalled."""
    prefix = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    machine.prefix = prefix
    inside = machine.spawn("--foreground")
    machine.prefix = []
    while machine.pid is None:
        assert inside.poll() is None, inside.communicate()
    number = machine.pid
    while machine.bridge("--check").returncode == 3:
        assert inside.poll() is None, inside.communicate()
    assert number < 100  # which is somebody else's here
    assert machine.ask()[0] == 200
    for words in (["--stop"], ["--reload"]):
        done = machine.bridge(*words)
        assert "Traceback" not in done.stderr
        assert done.returncode != 0 or words == ["--stop"], words
    assert inside.poll() is None
    assert machine.ask()[0] == 200
    inside.terminate()
    inside.kill()
    inside.communicate(timeout=20)
    assert machine.bridge("--check").returncode in {1, 3}  # left behind, and held by nobody
    machine.start()
    assert machine.ask()[0] == 200
    assert machine.bridge("--stop").returncode == 0
    clean(machine.log)
    noted("a PID file of another container", "said to be elsewhere, nobody signalled")
