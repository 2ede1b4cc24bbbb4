"""Bad credential files and answers: a clear error, the daemon lives on, and nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.process.wire import Counter
from tests.world import NOBODY, World, belongs_to, world

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]

_now: Callable[[], float] = time.time  # noqa: TID251 - the daemon is a real process in real time

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
namespaces = pytest.mark.skipif(
    os.geteuid() != 0
    or shutil.which("unshare") is None
    or subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0,
    reason="takes root and mount namespaces",
)


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> Iterator[World]:
    """A machine with a login."""
    with world(tmp_path, stern=True) as machine:
        machine.log_in()
        yield machine


def refused(machine: World, status: int = 503) -> str:
    """Return the message of the error that a client gets, in its dialect."""
    got, _, body = machine.ask()
    document = json.loads(body)
    assert (got, document["type"]) == (status, "error"), body
    return str(document["error"]["message"])


def unspent(machine: World) -> None:
    """Assert that no refresh token was given away."""
    state = machine.authorization.state()
    assert (state["refreshes"], state["spent_presented"], state["revoked"]) == (0, 0, 0)


def _corrupt(path: Path) -> None:
    path.write_text('{"access_token": "torn')


def _empty(path: Path) -> None:
    path.write_text("")


def _list(path: Path) -> None:
    path.write_text("[1, 2]")


def _deep(path: Path) -> None:
    path.write_text("[" * 200_000)


def _binary(path: Path) -> None:
    path.write_bytes(bytes(range(256)))


def _huge(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(1 << 31)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


SPOILT = {
    _corrupt: "is corrupt",
    _empty: "is corrupt",
    _list: "is corrupt",
    _deep: "is corrupt",
    _binary: "is corrupt",
    _huge: "is larger than any credential",
    _folder: "is not a file",
    _fifo: "is not a file",
    _loop: "cannot be read",
}


def test_spoilt_credential_files(machine: World) -> None:
    """Each is named to client and shell with the way out, is left as it is, and costs nothing.

    Once the file is good again, so is the next request.
    """
    machine.start()
    credential = machine.credential
    good = credential.read_bytes()
    for spoil, words in SPOILT.items():
        spoil(credential)
        before = os.lstat(credential)
        for text in (refused(machine), machine.told("token")):
            assert f"{credential} {words}" in text, spoil
            assert "bridge login" in text, spoil
        assert machine.bridge("--check").returncode == 0, spoil
        assert machine.bridge("--check", "kimi").returncode == 150, spoil
        assert words in machine.health()["providers"]["kimi"]["problem"]
        after = os.lstat(credential)
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns), spoil
        shutil.rmtree(credential) if credential.is_dir() else credential.unlink()
        credential.write_bytes(good)
        credential.chmod(0o600)
        assert machine.ask()[0] == 200, spoil
    unspent(machine)


def test_a_vanished_credential(machine: World) -> None:
    """A file that is gone is "not logged in", and one that comes back counts at once."""
    machine.start()
    assert machine.ask()[0] == 200
    aside = machine.credential.with_name("aside")
    machine.credential.rename(aside)
    assert "Kimi login needed" in refused(machine, 401)
    assert machine.told("token", code=150) == "there is no login: run: bridge login"
    aside.rename(machine.credential)
    assert machine.ask()[0] == 200
    moved = machine.share.rename(machine.home / "moved")
    assert "Kimi login needed" in refused(machine, 401)
    moved.rename(machine.share)
    assert machine.ask()[0] == 200
    unspent(machine)


def test_numbers_that_are_none(machine: World) -> None:
    """A credential whose numbers are nonsense is refreshed, as the official CLI does it."""
    machine.log_in(expires_at="soon", expires_in=None)
    machine.start()
    assert machine.ask()[0] == 200
    assert machine.authorization.state()["refreshes"] == 1


@root
def test_a_foreign_credential(machine: World) -> None:
    """A credential of another user is refused by the name of that user, and not touched."""
    os.chown(machine.credential, NOBODY, NOBODY)
    machine.start()
    for text in (refused(machine), machine.told("token")):
        assert f"{machine.credential} belongs to nobody, not to root" in text
        assert "chown" in text
    os.chown(machine.credential, 0, 0)
    assert machine.ask()[0] == 200
    unspent(machine)


@root
def test_root_in_another_home(machine: World) -> None:
    """Root leaves nothing in the home of somebody else: it says so and does nothing."""
    os.chown(machine.home, NOBODY, NOBODY)
    for words in ([], ["--foreground"], ["login"], ["token"], ["up"]):
        text = machine.told(*words)
        assert f"this is root, but {machine.home} belongs to uid {NOBODY}" in text
    assert [path.name for path in machine.home.iterdir()] == [".kimi"]


def test_an_unreadable_credential(nobody: World) -> None:
    """A credential that may not be read is named, with the way out; readable again, it works."""
    for path in (nobody.credential, nobody.credential.parent):
        mode = path.stat().st_mode & 0o777
        path.chmod(0)
        nobody.start()
        for text in (refused(nobody), nobody.told("token")):
            assert f"{nobody.credential} cannot be read (Permission denied)" in text
            assert "make it readable" in text
        path.chmod(mode)
        assert nobody.ask()[0] == 200
        assert nobody.bridge("--stop").returncode == 0
    unspent(nobody)


def test_a_read_only_folder(nobody: World) -> None:
    """Where the new token could not be stored, none is fetched: nothing is spent.

    The living token serves on and health says what is wrong; an expired one is a clear error.
    """
    nobody.log_in(expires_at=_now() + 200)
    belongs_to(nobody.share, NOBODY)
    folder = nobody.credential.parent
    folder.chmod(0o500)
    nobody.start()
    assert nobody.ask()[0] == 200
    nobody.until(lambda: "problem" in nobody.health()["providers"]["kimi"])
    document = nobody.health()
    assert document["status"] == "degraded"
    assert "cannot be" in document["providers"]["kimi"]["problem"]
    folder.chmod(0o700)
    nobody.log_in(expires_at=_now() - 1)
    belongs_to(nobody.share, NOBODY)
    folder.chmod(0o500)
    text = nobody.told("token")
    assert str(folder) in text
    assert "Permission denied" in text
    unspent(nobody)
    folder.chmod(0o700)
    assert nobody.bridge("token").returncode == 0


@namespaces
def test_a_full_disk(machine: World) -> None:
    """On a full disk no token is spent; once there is room, the refresh is made up for."""
    machine.log_in(expires_at=_now() - 1)
    folder, saved = machine.credential.parent, machine.home / "saved"
    shutil.copy2(machine.credential, saved)
    script = (
        'mount -t tmpfs -o size=32k,mode=700 none "$1" && cp -p "$2" "$3" && '
        ': > "$1/kimi-code.lock" && cat /dev/zero 2>/dev/null > "$1/filler"; shift 3; exec "$@"'
    )
    names = [str(folder), str(saved), str(machine.credential)]
    machine.prefix = ["unshare", "-m", "sh", "-c", script, "sh", *names]
    daemon = machine.spawn("--foreground")
    machine.prefix = []
    while machine.bridge("--check").returncode != 0:
        assert daemon.poll() is None, daemon.communicate()
    try:
        text = refused(machine)
        assert f"{machine.credential} cannot be written (No space left on device)" in text
        assert "make room" in text
        machine.prefix = ["nsenter", "-t", str(daemon.pid), "-m"]
        assert "No space left on device" in machine.told("token")
        assert "No space left on device" in machine.told("login", "--no-browser")
        unspent(machine)
        there = Path(f"/proc/{daemon.pid}/root{folder}")
        assert (there / "kimi-code.json").read_bytes() == saved.read_bytes()
        (there / "filler").unlink()
        assert machine.bridge("token").returncode == 0
        assert machine.authorization.state()["refreshes"] == 1
        assert machine.ask()[0] == 200
    finally:
        machine.prefix = []
        daemon.terminate()
        daemon.wait(20)


SERVERS = {
    "html": (200, b"<html>Sign in to the hotel's network</html>", "lost|refresh"),
    "huge": (200, b'{"access_token": "' + b"x" * 10_000_000 + b'"}', "lost|refresh"),
    "not an object": (200, b'["access_token"]', "lost|refresh"),
    "numbers": (200, b'{"access_token": 1, "refresh_token": 2}', "lost|refresh"),
    "nothing": (200, b"", "lost|refresh"),
    "gateway": (502, b"<html>Bad Gateway</html>", "HTTP 502"),
}


@pytest.mark.parametrize("kind", SERVERS)
def test_an_authorization_server_gone_mad(machine: World, kind: str) -> None:
    """What is no token answer is an error with its reason; the file stays, and the daemon lives.

    The living token serves on meanwhile, and the answer is not asked for twice in a row.
    """
    status, content, words = SERVERS[kind]
    machine.log_in(expires_at=_now() + 200)
    before = machine.credential.read_bytes()
    with Counter() as server:
        machine.variables["KIMI_CODE_OAUTH_HOST"] = server.url
        machine.start()
        assert machine.ask()[0] == 200
        server.arrives().answers(status, content, "text/html")
        machine.until(lambda: "problem" in machine.health()["providers"]["kimi"])
        problem = machine.health()["providers"]["kimi"]["problem"]
        assert server.url in problem
        assert any(word in problem for word in words.split("|"))
        assert machine.ask()[0] == 200
        assert not server.waiting
    assert machine.credential.read_bytes() == before
    del machine.variables["KIMI_CODE_OAUTH_HOST"]
    machine.log_in(expires_at=_now() - 1)
    assert machine.bridge("token").returncode == 0


def test_an_authorization_server_that_is_unwell(machine: World) -> None:
    """Three failures in a row, the last without a connection, are a 503 with ``retry-after``."""
    machine.log_in(expires_at=_now() - 1)
    with Counter() as server, ThreadPoolExecutor() as crowd:
        machine.variables["KIMI_CODE_OAUTH_HOST"] = server.url
        machine.start()
        asked = crowd.submit(machine.ask)
        server.arrives().answers(503, b"<html>maintenance</html>")
        redirected = server.arrives()
        server.close()
        redirected.answers(302, b"")
        status, headers, body = asked.result()
        assert (status, int(headers["retry-after"]) > 0) == (503, True)
        assert "x-should-retry" not in headers
        assert f"{server.url} cannot be reached".encode() in body
    del machine.variables["KIMI_CODE_OAUTH_HOST"]
    assert machine.bridge("token").returncode == 0
    assert machine.ask()[0] == 200
