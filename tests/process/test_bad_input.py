"""Bad input of every kind: one clear line, the daemon lives on, and nothing is lost."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.process.wire import Counter
from tests.world import World, free_port, world

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]

_now: Callable[[], float] = time.time  # noqa: TID251 - the daemon is a real process in real time

NOBODY = 65534
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


@pytest.fixture(name="nobody")
def _nobody() -> Iterator[World]:
    """The machine of a person who is not root, whom file modes bind."""
    with tempfile.TemporaryDirectory(prefix="bridge-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with world(folder, uid=NOBODY, stern=True) as machine:
            if machine.bridge("--version").returncode != 0:
                pytest.skip("this checkout cannot be read by a second user")
            machine.log_in()
            belongs_to(machine.share, NOBODY)
            yield machine


def belongs_to(path: Path, uid: int) -> None:
    """Give *path* and all below it to *uid*."""
    for each in (path, *path.rglob("*")):
        os.chown(each, uid, uid, follow_symlinks=False)


def told(machine: World, *words: str, code: int = 1) -> str:
    """Return the one line in which a command says what is wrong and what to do."""
    done = machine.bridge(*words)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert done.stderr.startswith("bridge: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.removeprefix("bridge: ").strip()


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
        for text in (refused(machine), told(machine, "token")):
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
    assert told(machine, "token", code=150) == "there is no login: run: bridge login"
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
    machine.start()
    os.chown(machine.credential, NOBODY, NOBODY)
    for text in (refused(machine), told(machine, "token")):
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
        text = told(machine, *words)
        assert f"this is root, but {machine.home} belongs to uid {NOBODY}" in text
    assert [path.name for path in machine.home.iterdir()] == [".kimi"]


@root
def test_an_unreadable_credential(nobody: World) -> None:
    """A credential that may not be read is named, with the way out; readable again, it works."""
    nobody.start()
    assert nobody.ask is not None
    for path in (nobody.credential, nobody.credential.parent):
        mode = path.stat().st_mode & 0o777
        path.chmod(0)
        for text in (_asked_as_nobody(nobody)[1], told(nobody, "token")):
            assert f"{nobody.credential} cannot be read (Permission denied)" in text
            assert "make it readable" in text
        path.chmod(mode)
        assert _asked_as_nobody(nobody)[0] == 200
    unspent(nobody)


def _asked_as_nobody(machine: World) -> tuple[int, str]:
    """Send one request as the machine's own person and return status and body."""
    script = (
        "import http.client, sys\n"
        "c = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]), timeout=30)\n"
        "c.request('POST', '/kimi/v1/messages', b'{}')\n"
        "r = c.getresponse()\n"
        "print(r.status, r.read().decode())\n"
    )
    done = subprocess.run(
        [*machine.prefix, sys.executable, "-c", script, str(machine.port)],
        capture_output=True,
        text=True,
        check=True,
    )
    status, _, body = done.stdout.partition(" ")
    return int(status), body


@root
def test_a_read_only_folder(nobody: World) -> None:
    """Where the new token could not be stored, none is fetched: nothing is spent.

    The living token serves on and health says what is wrong; an expired one is a clear error.
    """
    nobody.log_in(expires_at=_now() + 200)
    belongs_to(nobody.share, NOBODY)
    nobody.start()
    folder = nobody.credential.parent
    folder.chmod(0o500)
    assert _asked_as_nobody(nobody)[0] == 200
    nobody.until(lambda: "problem" in nobody.health()["providers"]["kimi"])
    document = nobody.health()
    assert document["status"] == "degraded"
    assert "cannot be" in document["providers"]["kimi"]["problem"]
    folder.chmod(0o700)
    nobody.log_in(expires_at=_now() - 1)
    belongs_to(nobody.share, NOBODY)
    folder.chmod(0o500)
    text = told(nobody, "token")
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
        'mount -t tmpfs -o size=32k,mode=700 none "$1" && cp -p "$2" "$3" && : > "$1/kimi-code.lock"'
        ' && { cat /dev/zero > "$1/filler" 2>/dev/null; shift 3; exec "$@"; }'
    )
    names = [str(folder), str(saved), str(machine.credential)]
    machine.prefix = ["unshare", "-m", "sh", "-c", script, "sh", *names]
    daemon = machine.spawn("--foreground")
    try:
        text = refused(machine)
        assert f"{machine.credential} cannot be written (No space left on device)" in text
        assert "make room" in text
        machine.prefix = ["nsenter", "-t", str(daemon.pid), "-m"]
        assert "No space left on device" in told(machine, "token")
        assert "No space left on device" in told(machine, "login", "--no-browser")
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
    "redirect": (302, b"", "HTTP 302"),
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
    assert sorted(path.name for path in machine.credential.parent.iterdir()) == [
        "kimi-code.json",
        "kimi-code.lock",
    ]
    del machine.variables["KIMI_CODE_OAUTH_HOST"]
    machine.log_in(expires_at=_now() - 1)
    assert machine.bridge("token").returncode == 0


def test_an_authorization_server_with_5xx(machine: World) -> None:
    """A server that is unwell three times in a row is a 503 with ``retry-after``, in time."""
    machine.log_in(expires_at=_now() - 1)
    machine.start()
    machine.authorization.ask("answer", status=503, body="<html>maintenance</html>", times=3)
    status, headers, body = machine.ask()
    assert status == 503
    assert int(headers["retry-after"]) > 0
    assert "x-should-retry" not in headers
    assert b"HTTP 503" in body
    unspent(machine)
    assert machine.bridge("token").returncode == 0
    assert machine.ask()[0] == 200


def test_an_authorization_server_that_is_away(machine: World) -> None:
    """No connection to it is a clear line, and nothing is lost."""
    machine.log_in(expires_at=_now() - 1)
    nowhere = f"http://127.0.0.1:{free_port()}"
    machine.variables["KIMI_CODE_OAUTH_HOST"] = nowhere
    text = told(machine, "token")
    assert text.startswith(f"{nowhere} cannot be reached")
    del machine.variables["KIMI_CODE_OAUTH_HOST"]
    assert machine.bridge("token").returncode == 0


WRONG = {
    "[server]\nport = \n": ":2:",
    "[server\nport = 1\n": ":1:",
    "[server]\nprot = 1\n": ":2: server.prot: unknown key (did you mean port?)",
    '[server]\nport = "18462"\n': ":2: server.port: expected a whole number",
    "[server]\nport = 70000\n": ":2: server.port: expected a whole number from 1 to 65535",
    "server = 1\n": ":1: server: expected a table",
    "[providers.nobody]\n": "providers.nobody",
    '[log]\nlevel = "loud"\n': ":2: log.level: expected one of",
    "[server]\nport = 1\nport = 2\n": ":3:",
    "\x00": ":1:",
}


def test_wrong_configurations(machine: World) -> None:
    """Each names file, line and key, with code 78, before anything has been started."""
    for text, words in WRONG.items():
        config = machine.configure(text)
        for command in ([], ["--foreground"], ["login"], ["--reload"]):
            line = told(machine, *command, code=78)
            assert line.startswith(str(config)), line
            assert words in line, line
    machine.configure("[server]\nprot = 1\n[log]\nlevel = 3\n")
    done = machine.bridge()
    assert (done.returncode, done.stderr.count("\n")) == (78, 2)
    assert machine.bridge("--check").returncode == 3


def test_a_configuration_that_is_no_text(machine: World) -> None:
    """A configuration that cannot be read says why, and one that was named must exist."""
    config = machine.configure("")
    config.write_bytes(b"\xff\xfe")
    assert "not UTF-8" in told(machine, code=78)
    config.unlink()
    config.mkdir()
    assert "Is a directory" in told(machine, code=78)
    gone = machine.home / "gone.toml"
    assert f"{gone} does not exist" in told(machine, "--config", str(gone), code=78)


def test_wrong_environments(machine: World) -> None:
    """A variable that leads nowhere good is named, and nothing is started or sent."""
    cases = {
        "KIMI_CODE_BASE_URL": ("http://example.org/coding/v1", "unencrypted"),
        "KIMI_CODE_OAUTH_HOST": ("http://example.org", "unencrypted"),
        "BRIDGE_PORT": ("many", "expected a whole number"),
        "KIMI_SHARE_DIR": ("relative/folder", "relative"),
        "HTTPS_PROXY": ("socks5://127.0.0.1:1", "no proxy that bridge can use"),
        "SSL_CERT_FILE": ("/nonexistent.pem", "/nonexistent.pem"),
    }
    for name, (value, words) in cases.items():
        machine.variables = {name: value}
        for command in ([], ["--foreground"], ["token"]):
            assert words in told(machine, *command, code=78), (name, command)
    machine.variables = {}
    assert machine.bridge("--check").returncode == 3


def test_without_a_home(machine: World) -> None:
    """Without HOME nothing is guessed: it is said what to set."""
    for home in ("", "relative"):
        machine.variables = {"HOME": home}
        for command in ([], ["token"], ["--check", "-v"], ["--stop"]):
            assert "HOME" in told(machine, *command, code=78), (home, command)
    machine.variables = {}


def test_unknown_providers(machine: World) -> None:
    """A provider that nobody knows is named, on the command line and in a request."""
    machine.start()
    for verb in ("login", "logout", "token", "up"):
        assert "nobody" in told(machine, verb, "nobody", code=2)
    assert machine.bridge("--check", "nobody").returncode not in {0, 3}
    unspent(machine)


def test_a_port_in_use(machine: World) -> None:
    """A port that is a stranger's is a failed start that says whose it is, in both ways to start."""
    with socket.create_server(("127.0.0.1", machine.port)):
        for words in ([], ["--foreground"]):
            text = told(machine, *words, code=4)
            assert f"port {machine.port} on 127.0.0.1 is taken by" in text
            assert f"pid {os.getpid()}" in text
    machine.start()
    assert machine.ask()[0] == 200


def test_a_pid_file_with_the_number_of_another(machine: World) -> None:
    """A PID file that names a living stranger is stale: nobody is signalled, and a start works."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        machine.start()
        text = machine.pid_file.read_text()
        assert machine.bridge("--stop").returncode == 0
        machine.pid_file.write_text(text.replace(text.split("\n")[0], str(stranger.pid), 1))
        assert machine.bridge("--check").returncode == 1
        assert machine.bridge("--stop").stdout == "bridge: not running\n"
        assert told(machine, "--reload", code=3)
        machine.start()
        assert stranger.poll() is None
        stranger.kill()
    assert machine.pid != stranger.pid


@pytest.mark.parametrize("content", ["", "nonsense", "\x00\xff" * 3000, "-1\n", "1\n"])
def test_a_garbled_pid_file(machine: World, content: str) -> None:
    """A PID file of which nothing can be made is stale, and the next start replaces it."""
    machine.pid_file.parent.mkdir(parents=True)
    machine.pid_file.write_text(content)
    assert machine.bridge("--check").returncode == 1
    assert machine.bridge("--stop").stdout == "bridge: not running\n"
    machine.start()
    assert machine.bridge("--check").returncode == 0


def test_a_pid_file_that_is_none(machine: World) -> None:
    """A folder or a FIFO in the place of the PID file is named, with the way out."""
    machine.pid_file.parent.mkdir(parents=True)
    for make in (os.mkdir, os.mkfifo):
        make(machine.pid_file)
        for words in ([], ["--foreground"]):
            text = told(machine, *words)
            assert str(machine.pid_file) in text
            assert "--pid-file" in text
        assert machine.bridge("--check").returncode == 1
        machine.pid_file.rmdir() if make is os.mkdir else machine.pid_file.unlink()
    machine.start()


@root
def test_a_foreign_pid_file(nobody: World) -> None:
    """A PID file of another user, readable or not, is named and left alone."""
    nobody.pid_file.parent.mkdir(parents=True)
    belongs_to(nobody.home / ".local", NOBODY)
    nobody.pid_file.write_text("1\n")
    for mode in (0o644, 0o600):
        nobody.pid_file.chmod(mode)
        assert str(nobody.pid_file) in told(nobody)
        assert nobody.pid_file.read_text() == "1\n"
    nobody.pid_file.unlink()
    nobody.start()


def test_a_log_that_cannot_be_written(machine: World) -> None:
    """A log that cannot be written is a failed start that says so, and no daemon without a log."""
    state = machine.home / ".local/state"
    state.mkdir(parents=True)
    (state / "bridge").write_text("in the way")
    text = told(machine)
    assert f"the log {state}/bridge/bridge.log cannot be written" in text
    assert machine.bridge("--check").returncode == 3
    (state / "bridge").unlink()
    machine.start()


@root
def test_a_log_folder_without_rights(nobody: World) -> None:
    """The same where the folder's mode forbids it."""
    state = nobody.home / ".local/state/bridge"
    state.mkdir(parents=True)
    belongs_to(nobody.home / ".local", NOBODY)
    state.chmod(0o500)
    assert "Permission denied" in told(nobody)
    state.chmod(0o700)
    nobody.start()


def test_a_spoilt_caller_key(machine: World) -> None:
    """A key file that is empty is filled; one that others can read, or that is none, is refused."""
    key = machine.home / ".local/state/bridge/key"
    key.parent.mkdir(parents=True)
    key.write_text("bridge-" + "k" * 40)
    key.chmod(0o644)
    assert f"{key} can be read by others" in told(machine)
    key.chmod(0o600)
    key.write_text("short")
    assert "too short" in told(machine)
    key.unlink()
    key.mkdir()
    assert str(key) in told(machine)
    key.rmdir()
    key.write_text("")
    machine.start()
    assert len(key.read_text()) > 32
    with contextlib.suppress(FileNotFoundError):
        assert key.stat().st_mode & 0o777 == 0o600
