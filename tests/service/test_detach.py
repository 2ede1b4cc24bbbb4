"""A daemon leaves the terminal behind, and the command that started it learns how that went."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HEAD = """
import json, os, resource, signal, socket, sys
from bridge.clock import SystemClock
from bridge.errors import PortTaken, ServiceError
from bridge.service.detach import Reporter, no_core, run_detached

folder, alive, *rest = sys.argv[1:]
alive = int(alive)
before = signal.getsignal(signal.SIGTERM)

def facts():
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
        terminal = True
    except OSError:
        terminal = False
    os.close(os.open(f"{folder}/made", os.O_CREAT, 0o777))
    return {
        "pid": os.getpid(), "leader": os.getsid(0) == os.getpid(), "session": os.getsid(0),
        "terminal": terminal, "cwd": os.getcwd(), "mode": os.stat(f"{folder}/made").st_mode & 0o777,
        "core": resource.getrlimit(resource.RLIMIT_CORE)[1],
        "open": sorted(int(n) for n in os.listdir("/proc/self/fd"))[:-1],
        "streams": [os.readlink(f"/proc/self/fd/{n}") for n in range(3)],
        "term kept": signal.getsignal(signal.SIGTERM) == before,
        "hup ignored": signal.getsignal(signal.SIGHUP) == signal.SIG_IGN,
    }

def tell(verdict):
    try:
        os.waitpid(-1, 0)
        children = True
    except ChildProcessError:
        children = False
    told = {"code": verdict.exit_code, "line": verdict.line, "children": children}
    with open(f"{folder}/verdict", "w") as file:
        json.dump(told | {"pid": os.getpid(), "session": os.getsid(0)}, file)
"""

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="the facts are read from /proc")


class Command:
    """A command that starts a daemon, as a child; *told* is its verdict, *facts* the daemon's."""

    def __init__(self, folder: Path, body: str, *, seconds: float = 8, shell: str = "") -> None:
        program = folder / "program.py"
        program.write_text(f"{HEAD}\n{body}\ntell(run_detached(body, {seconds}, log_path='LOG'))\n")
        self._folder = folder
        reading, writing = os.pipe()
        command = [sys.executable, str(program), str(folder), str(writing)]
        if shell:
            command = ["sh", "-c", f'exec "$@" {shell}', "sh", *command]
        done = subprocess.run(
            command, pass_fds=[writing], capture_output=True, text=True, check=False
        )
        os.close(writing)
        # Everything that the command started has ended once nobody holds the pipe any more.
        while os.read(reading, 1):
            continue
        os.close(reading)
        self.exit_code, self.output = done.returncode, done.stdout + done.stderr

    @property
    def told(self) -> Any:
        """What the command was told."""
        return json.loads((self._folder / "verdict").read_text())

    @property
    def facts(self) -> Any:
        """What the daemon saw around itself."""
        return json.loads((self._folder / "facts").read_text())


DAEMON = """
def body(reporter):
    reporter.detach([alive])
    with open(f"{folder}/facts", "w") as file:
        json.dump(facts(), file)
    reporter.ready()
    return 0
"""


@needs_linux
def test_a_daemon_has_left_everything_behind(tmp_path: Path) -> None:
    """No terminal, a session of its own that it does not lead, root folder, no open files."""
    daemon = Command(tmp_path, DAEMON)
    assert (daemon.exit_code, daemon.output) == (0, "")
    assert (daemon.told["code"], daemon.told["line"]) == (0, "")
    facts = daemon.facts
    assert facts["pid"] != daemon.told["pid"]
    assert facts["session"] != daemon.told["session"]
    assert not facts["leader"]
    assert not facts["terminal"]
    assert facts["cwd"] == "/"
    assert facts["streams"] == ["/dev/null"] * 3
    assert len(facts["open"]) <= 3 + 3  # the streams, what was kept, the report, /proc/self/fd


@needs_linux
def test_a_daemon_keeps_its_secrets(tmp_path: Path) -> None:
    """Its files are for the user alone, and no core file can be written."""
    facts = Command(tmp_path, DAEMON).facts
    assert facts["mode"] == 0o700
    assert facts["core"] == 0


@needs_linux
def test_a_daemon_owns_its_signals(tmp_path: Path) -> None:
    """SIGTERM is left to the service; SIGHUP (an early --reload) is ignored until it has begun."""
    facts = Command(tmp_path, DAEMON).facts
    assert facts["term kept"]
    assert facts["hup ignored"]


def test_the_command_leaves_no_zombie(tmp_path: Path) -> None:
    """Once the verdict is here, the command has no child."""
    assert Command(tmp_path, DAEMON).told["children"] is False


@needs_linux
def test_a_terminal_is_left(tmp_path: Path) -> None:
    """A command that has a controlling terminal starts a daemon that has none."""
    main, terminal = pty.openpty()
    body = f"os.login_tty({terminal})\nassert facts()['terminal']\n{DAEMON}"
    os.set_inheritable(terminal, True)
    program = tmp_path / "outer.py"
    program.write_text(f"{HEAD}\n{body}\ntell(run_detached(body, 8))\n")
    reading, writing = os.pipe()
    command = [sys.executable, str(program), str(tmp_path), str(writing)]
    with subprocess.Popen(command, pass_fds=[writing, terminal]) as child:
        os.close(writing)
        assert child.wait() == 0
    assert os.read(reading, 1) == b""
    for descriptor in (main, terminal, reading):
        os.close(descriptor)
    assert json.loads((tmp_path / "facts").read_text())["terminal"] is False


@needs_linux
@pytest.mark.parametrize("closed", ["<&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_no_harm(tmp_path: Path, closed: str) -> None:
    """A parent that gave no standard streams gets a daemon like any other."""
    body = DAEMON.replace("reporter.ready()", "print('x'); reporter.ready()")
    daemon = Command(tmp_path, body, shell=closed)
    assert daemon.exit_code == 0
    assert daemon.told["code"] == 0
    assert daemon.facts["streams"] == ["/dev/null"] * 3


def test_a_listening_socket_survives(tmp_path: Path) -> None:
    """What is kept stays open: a client that connects during the start is served afterwards."""
    body = """
listening = socket.create_server(("127.0.0.1", 0))
caller = socket.create_connection(listening.getsockname())
def body(reporter):
    reporter.detach([alive, listening.fileno()])
    reporter.ready()
    listening.accept()[0].sendall(b"served")
    return 0
import atexit
atexit.register(lambda: os.getppid() == 1 or open(f"{folder}/heard", "wb").write(caller.recv(9)))
"""
    assert Command(tmp_path, body).told["code"] == 0
    assert (tmp_path / "heard").read_bytes() == b"served"


def test_output_goes_to_a_log(tmp_path: Path) -> None:
    """With a log file, what the daemon prints lands there, and nothing on the terminal."""
    body = """
def body(reporter):
    log = os.open(f"{folder}/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    reporter.detach([alive], log)
    os.write(1, b"out ")
    os.write(2, b"err")
    reporter.ready()
    return 0
"""
    assert Command(tmp_path, body).output == ""
    assert (tmp_path / "log").read_text() == "out err"


FAILURES = {
    "before": ("raise PortTaken('taken: stop it')", 4, "taken: stop it"),
    "after": ("reporter.detach([alive]); raise ServiceError('no')", 1, "no"),
    "reported": ("reporter.detach([alive]); reporter.failed(78, 'bad'); return 78", 78, "bad"),
    "bug": ("reporter.detach([alive]); 1 / 0", 1, "the start failed (ZeroDivisionError: "),
    "long": ("reporter.failed(1, 'x' * 100_000); return 1", 1, "xxx"),
}


@pytest.mark.parametrize("how", FAILURES)
def test_a_failed_start_is_told(tmp_path: Path, how: str) -> None:
    """Whatever goes wrong before ready reaches the command, with exit code and one line."""
    statement, code, line = FAILURES[how]
    command = Command(tmp_path, f"def body(reporter):\n    {statement}")
    assert command.told["code"] == code
    assert command.told["line"].startswith(line)
    assert command.told["children"] is False
    assert command.output == ""


DEATHS = {
    "before": "os.kill(os.getpid(), signal.SIGKILL)",
    "after": "reporter.detach([alive]); os._exit(3)",
    "silently": "return 0",
}


@pytest.mark.parametrize("how", DEATHS)
def test_a_death_is_told(tmp_path: Path, how: str) -> None:
    """A daemon that dies without a word is said to have died, and where to look."""
    command = Command(tmp_path, f"def body(reporter):\n    {DEATHS[how]}")
    assert command.told["code"] == 1
    assert command.told["line"] == "the daemon died while it was starting: look at LOG"


@pytest.mark.parametrize("detached", [True, False])
def test_patience_ends(tmp_path: Path, detached: bool) -> None:
    """A daemon that does not report is left to itself; one that has not even detached is ended."""
    body = f"""
def body(reporter):
    if {detached}:
        reporter.detach([alive])
    while not os.path.exists(f"{{folder}}/verdict"):
        SystemClock().pause(0.01)
    open(f"{{folder}}/lived on", "w")
    return 0
"""
    command = Command(tmp_path, body, seconds=0.2)
    assert command.told["line"] == "the daemon has not answered in 0.2 s: look at LOG"
    assert command.told["children"] is False
    assert (tmp_path / "lived on").exists() is detached


def test_a_command_that_has_gone_does_not_matter(tmp_path: Path) -> None:
    """The daemon goes on when nobody waits for its report any more (Ctrl-C)."""
    body = """
waiting = os.getpid()
def body(reporter):
    reporter.detach([alive])
    os.kill(waiting, signal.SIGINT)
    while os.path.exists(f"/proc/{waiting}/fd/0"):
        SystemClock().pause(0.01)
    reporter.ready()
    reporter.ready()
    open(f"{folder}/lived on", "w")
    return 0
"""
    command = Command(tmp_path, body)
    assert "KeyboardInterrupt" in command.output
    assert (tmp_path / "lived on").exists()


def test_a_failure_after_the_report_goes_to_the_log(tmp_path: Path) -> None:
    """Once the command has left, an error is logged instead."""
    body = """
def body(reporter):
    log = os.open(f"{folder}/log", os.O_WRONLY | os.O_CREAT, 0o600)
    reporter.detach([alive], log)
    reporter.ready()
    raise ServiceError("the disk is full")
"""
    assert Command(tmp_path, body).told["code"] == 0
    assert "daemon failed reason=the disk is full" in (tmp_path / "log").read_text()


def test_an_interrupted_start_says_nothing(tmp_path: Path) -> None:
    """Ctrl-C in the launcher ends it; the words are left to the command."""
    command = Command(tmp_path, "def body(reporter):\n    raise KeyboardInterrupt")
    assert command.output == ""
    assert "died" in command.told["line"]


def test_no_core_file_in_the_foreground() -> None:
    """A daemon in the foreground writes no core file either."""
    program = (
        "import resource; from bridge.service.detach import no_core; no_core();"
        "print(resource.getrlimit(resource.RLIMIT_CORE))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "(0, 0)"
