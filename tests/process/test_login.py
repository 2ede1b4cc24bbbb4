"""Login, logout, token and up: the account verbs as a person meets them, daemon or not."""

from __future__ import annotations

import http.client
import json
import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fakes.credential import KEYS
from tests.ports import free_port
from tests.process.wire import Counter
from tests.world import World, installed, world

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]

_now: Callable[[], float] = time.time  # noqa: TID251 - the daemon is a real process in real time

USER_CODE = re.compile(r"It must show this code: (\S+)")


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> Iterator[World]:
    """A machine whose authorization server is asked ten times a second."""
    with world(tmp_path, stern=True, interval=0.1) as machine:
        yield machine


def begin(machine: World) -> tuple[subprocess.Popen[str], str]:
    """Begin a login and return its process and the user code, once that is printed."""
    login = machine.spawn("login", "--no-browser")
    assert login.stdout is not None
    for line in login.stdout:
        if code := USER_CODE.search(line):
            return login, code.group(1)
    raise AssertionError(login.communicate())


def end(login: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Return exit code, further output and errors of a login."""
    output, errors = login.communicate(timeout=30)
    return login.returncode, output, errors


def polled(machine: World, times: int) -> None:
    """Return once the server has been polled so often."""
    while machine.authorization.state()["polls"] < times:
        continue


def test_a_login(machine: World) -> None:
    """Page and code are printed, waiting is patient, and the file is the official CLI's own."""
    login, code = begin(machine)
    polled(machine, 2)
    assert machine.authorization.state()["pending"] == [code]
    assert login.poll() is None
    assert not machine.credential.exists()
    machine.authorization.ask("approve", user_code=code)
    status, output, errors = end(login)
    assert (status, errors) == (0, "")
    assert f"Logged in. The login is in {machine.credential}" in output
    document = machine.token()
    assert sorted(document) == sorted(KEYS)
    assert document["scope"] == "kimi-code"
    assert machine.authorization.valid(document["access_token"])
    assert {path.name: path.stat().st_mode & 0o777 for path in machine.share.rglob("*")} == {
        "credentials": 0o700,
        "device_id": 0o600,
        "kimi-code.json": 0o600,
        "kimi-code.lock": 0o600,
    }
    assert re.fullmatch("[0-9a-f]{32}", (machine.share / "device_id").read_text())


def test_the_page(machine: World) -> None:
    """What is printed leads to the server's own page, with the code filled in."""
    login, code = begin(machine)
    login.send_signal(signal.SIGINT)
    again = machine.spawn("login", "--no-browser")
    assert again.stdout is not None
    head = again.stdout.readline() + again.stdout.readline() + again.stdout.readline()
    assert f"    {machine.authorization.url}/code/authorize_device?user_code=" in head
    assert code not in head  # each login has a code of its own
    again.send_signal(signal.SIGINT)
    assert end(again)[0] == 130
    assert end(login)[0] == 130


@pytest.mark.parametrize(
    ("verdict", "words"), [("deny", "was refused in the browser"), ("expire", "has expired")]
)
def test_no_login(machine: World, verdict: str, words: str) -> None:
    """A refusal and an expired code end the login with a line, and leave no file."""
    login, _ = begin(machine)
    machine.authorization.ask(verdict)
    status, _, errors = end(login)
    assert status == 1
    assert words in errors
    assert "bridge login" in errors
    assert errors.count("\n") == 1
    assert not machine.credential.exists()


def test_slow_down(machine: World) -> None:
    """A server that wants peace gets it: the next poll comes five seconds later, not sooner."""
    machine.authorization.set(slow_down=1, auto_approve=2)
    began = _now()
    done = machine.bridge("login", "--no-browser")
    assert done.returncode == 0
    assert "slow_down" in done.stdout
    assert machine.authorization.state()["polls"] == 2
    assert _now() - began > 5


def test_a_server_that_stumbles_while_polling(machine: World) -> None:
    """Errors of the server after the code is shown do not end the login."""
    login, code = begin(machine)
    for status in (500, 502, 503, 429):
        machine.authorization.ask("answer", status=status, body="<html>oops</html>")
    machine.authorization.ask("approve", user_code=code)
    status, output, errors = end(login)
    assert (status, errors) == (0, "")
    assert "HTTP 500" in output
    assert machine.credential.exists()


def test_a_server_that_goes_away_while_polling(machine: World) -> None:
    """Answers that never come do not end the login, either; a code used up does."""
    machine.authorization.set(lose=2)
    login, code = begin(machine)
    machine.authorization.ask("approve", user_code=code)
    status, _, errors = end(login)  # approved at once, and the answer with the token was lost
    assert (status, errors.count("\n")) == (1, 1)
    assert "no longer knows this code" in errors


def test_a_server_in_the_dark(machine: World) -> None:
    """Without a server the login does not begin: a line says which host, and no file is made."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    machine.variables["KIMI_CODE_OAUTH_HOST"] = nowhere
    assert machine.told("login").startswith(f"{nowhere} cannot be reached")
    assert not machine.credential.exists()


def test_a_server_that_answers_nonsense(machine: World) -> None:
    """What is no invitation is a line with the host and the status, never a traceback."""
    contents = [b"", b"<html>", b"[]", b'{"device_code": 1}', b'{"user_code": "A"}', b"x" * 10**7]
    with Counter() as server:
        machine.variables["KIMI_CODE_OAUTH_HOST"] = server.url
        for content in contents:
            login = machine.spawn("login")
            server.arrives().answers(200, content)
            status, _, errors = end(login)
            assert (status, errors.count("\n")) == (1, 1), content[:80]
            assert errors.startswith(f"bridge: {server.url} did not start a login (HTTP 200")


def test_interrupted(machine: World) -> None:
    """Ctrl-C ends a login with 130 and one word, and leaves no file."""
    login, _ = begin(machine)
    login.send_signal(signal.SIGINT)
    assert end(login)[::2] == (130, "bridge: interrupted\n")
    assert not machine.credential.exists()


def test_a_running_daemon_picks_the_login_up(machine: World) -> None:
    """The request after a login is answered, without a restart; a second login counts as well."""
    machine.start()
    assert machine.ask()[0] == 401
    for number in (1, 2):
        login, code = begin(machine)
        machine.authorization.ask("approve", user_code=code)
        assert end(login)[0] == 0
        assert machine.ask()[0] == 200
        assert machine.bridge("--check", "kimi").returncode == 0
        assert machine.authorization.state()["families"] == number
    assert machine.authorization.state()["refreshes"] == 0


def test_logout(machine: World) -> None:
    """A logout removes the login and nothing else; the next request asks for one."""
    assert machine.bridge("logout").stdout == "There was no login.\n"
    assert not machine.share.exists()
    machine.log_in()
    machine.start()
    assert machine.ask()[0] == 200
    done = machine.bridge("logout")
    assert (done.returncode, done.stderr) == (0, "")
    assert not machine.credential.exists()
    assert machine.ask()[0] == 401
    assert machine.bridge("--check", "kimi").returncode == 150
    assert machine.bridge("logout").stdout == "There was no login.\n"


@pytest.mark.parametrize("ours", [True, False], ids=["bridge logout", "kimi logout"])
def test_a_logout_during_a_refresh(machine: World, ours: bool) -> None:
    """A logout while the server holds a refresh is not undone by what comes of that refresh."""
    machine.log_in(expires_at=_now() - 1)
    machine.start()
    machine.authorization.set(hold_after=1)
    with ThreadPoolExecutor() as crowd:
        asked = crowd.submit(machine.ask)
        machine.authorization.ask("arrived")
        if ours:  # waits for the lock
            logout = machine.spawn("logout")
            while "kimi-code.lock" not in _open_files(logout.pid):
                assert logout.poll() is None
        else:  # the official CLI removes the file without asking anybody
            machine.credential.unlink()
        machine.authorization.ask("release")
        status, _, body = asked.result()
    if ours:
        assert logout.wait(30) == 0
    else:
        assert status == 401
        assert b"login needed" in body
    assert not machine.credential.exists()
    assert machine.ask()[0] == 401
    assert {path.name for path in machine.credential.parent.iterdir()} <= {"kimi-code.lock"}


def _open_files(pid: int) -> str:
    """Return the names of the files that a process has open, or that it is past needing any."""
    try:
        return " ".join(str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return ""


@pytest.mark.parametrize("running", [True, False], ids=["with a daemon", "without a daemon"])
def test_token(machine: World, running: bool) -> None:
    """A good access token is printed alone; an expired one is refreshed first, once."""
    before = machine.log_in()
    if running:
        machine.start()
    done = machine.bridge("token")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == before["access_token"] + "\n"
    machine.log_in(expires_at=_now() - 1)
    with ThreadPoolExecutor(4) as crowd:
        printed = {done.stdout for done in crowd.map(lambda _: machine.bridge("token"), range(4))}
    assert printed == {machine.token()["access_token"] + "\n"}
    assert machine.authorization.valid(printed.pop().strip())
    state = machine.authorization.state()
    assert (state["refreshes"], state["spent_presented"]) == (1, 0)


def test_token_without_a_login(machine: World) -> None:
    """Without a login, or with one that has ended, nothing is printed and the way out is told."""
    assert machine.told("token", code=150) == "there is no login: run: bridge login"
    machine.log_in(expires_at=_now() - 1, refresh_token="unknown")
    line = machine.told("token", code=150)
    assert "has ended" in line
    assert "bridge login" in line
    assert machine.token()["refresh_token"] == "unknown"  # a refusal blanks nothing


def test_up(machine: World) -> None:
    """``up`` starts what is not running, and is quick and quiet where all is well."""
    machine.log_in()
    assert machine.bridge("up", "kimi").returncode == 0
    pid = machine.pid
    done = machine.bridge("up", "kimi")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert machine.pid == pid


def test_up_without_a_terminal(machine: World) -> None:
    """Where a login is needed and nobody is there, ``up`` says so, and the daemon runs."""
    assert machine.told("up", "kimi", code=150) == "Kimi login needed: run: bridge login"
    assert machine.bridge("--check").returncode == 0
    assert machine.authorization.state()["device_flows"] == 0


def test_up_on_a_terminal(machine: World) -> None:
    """On a terminal ``up`` starts the daemon and walks through the login."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [installed(), "up", "kimi"],
        env={**machine.environment, "DISPLAY": "", "WAYLAND_DISPLAY": ""},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as up:
        os.close(theirs)
        shown = _read_until(ours, "Waiting for the approval")
        code = USER_CODE.search(shown)
        assert code is not None, shown
        machine.authorization.ask("approve", user_code=code.group(1))
        assert "Logged in." in _read_until(ours, "Logged in.")
        assert up.wait(30) == 0
    os.close(ours)
    assert machine.bridge("--check", "kimi").returncode == 0
    assert machine.ask()[0] == 200


def _read_until(terminal: int, words: str) -> str:
    """Return what a terminal shows once *words* are among it."""
    shown = ""
    while words not in shown:
        try:
            shown += os.read(terminal, 4096).decode()
        except OSError as error:  # Linux: whoever wrote has left
            raise AssertionError(shown) from error
    return shown


def test_requests_without_a_login(machine: World) -> None:
    """Many requests without a login share one code, and once it is approved all is well."""
    machine.start()
    with ThreadPoolExecutor(8) as crowd:
        answers = list(crowd.map(lambda _: machine.ask(), range(8)))
    (code,) = machine.authorization.state()["pending"]
    for status, headers, body in answers:
        message = json.loads(body)["error"]["message"]
        assert (status, headers["x-should-retry"]) == (401, "false")
        assert code in message
        assert "/code/authorize_device" in message
    machine.authorization.ask("approve", user_code=code)
    while machine.bridge("--check", "kimi").returncode != 0:
        assert machine.pid is not None
    assert machine.ask()[0] == 200
    assert machine.authorization.state()["device_flows"] == 1


def test_a_login_while_a_code_is_offered(machine: World) -> None:
    """A login in the terminal ends the one that the daemon offers; whatever comes, it serves."""
    machine.start()
    assert machine.ask()[0] == 401
    login, code = begin(machine)
    machine.authorization.ask("approve", user_code=code)
    assert end(login)[0] == 0
    assert machine.ask()[0] == 200
    assert machine.bridge("--stop").returncode == 0
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        machine.ask()
