"""A service manager over one real daemon: starts it, hears what it says, asks and kills it.

It does what systemd does with a ``Type=notify`` unit, in the test's own process: a datagram socket
takes the daemon's words, sockets are passed as descriptors, and a ``systemctl`` on the PATH of the
machine's person speaks with it.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from tests.world import World, installed

#: Becomes the daemon, as the process that the variables name and with descriptors from 3 on.
LAUNCHER = """
import fcntl, os, sys
count, *words = sys.argv[1:]
passed = [int(number) for number in count.split()]
high = [fcntl.fcntl(number, fcntl.F_DUPFD, 100) for number in passed]
for place, number in enumerate(high, 3):
    os.dup2(number, place)
pid = str(os.getpid())
os.environ["WATCHDOG_PID"] = os.environ["SYSTEMD_EXEC_PID"] = pid
if passed:
    os.environ |= {"LISTEN_PID": pid, "LISTEN_FDS": str(len(passed)), "LISTEN_FDNAMES": "a:b"}
os.execv(words[0], words)
"""
#: Hands its words to the manager and prints what that says.
SYSTEMCTL = """#!{python}
import socket, sys
with socket.socket(socket.AF_UNIX) as manager:
    manager.connect({control!r})
    manager.sendall("\\n".join(sys.argv[1:]).encode())
    manager.shutdown(socket.SHUT_WR)
    answer = manager.makefile().read()
code, _, text = answer.partition(" ")
print(text, end="")
sys.exit(int(code or 1))
"""
PATIENCE = 30.0


class Supervisor:
    """The manager of *machine*'s daemon; use it as a context manager.

    *watchdog* is its patience with a silent daemon, in seconds; *passed* are sockets that listen.
    *heard* keeps every word of the daemon, *asked* every call of ``systemctl``.
    """

    def __init__(
        self,
        machine: World,
        *,
        watchdog: float | None = None,
        passed: Sequence[socket.socket] = (),
        abstract: bool = False,
    ) -> None:
        self.machine = machine
        self.heard: list[dict[str, str]] = []
        self.asked: list[list[str]] = []
        self.daemon: subprocess.Popen[str] | None = None
        self._watchdog = watchdog
        self._passed = passed
        self._folder = machine.home.parent / "manager"
        self._folder.mkdir(exist_ok=True)
        self._address = f"@bridge-test-{os.getpid()}" if abstract else str(self._folder / "notify")
        self._ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ear.settimeout(PATIENCE)
        self._ear.bind(self._address.replace("@", "\0", 1))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self._ear.close()
        (self._folder / "notify").unlink(missing_ok=True)
        if self.daemon is not None:
            with self.daemon:
                self.daemon.kill()

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start the daemon as a service and return at once."""
        environment = {**self.machine.environment, "NOTIFY_SOCKET": self._address}
        if self._watchdog is not None:
            environment["WATCHDOG_USEC"] = str(int(self._watchdog * 1e6))
        numbers = [listening.fileno() for listening in self._passed]
        with (self.machine.home.parent / "stderr.log").open("a") as stderr:
            self.daemon = subprocess.Popen(
                [
                    *(sys.executable, "-c", LAUNCHER, " ".join(map(str, numbers))),
                    *(installed(), "--foreground", *words),
                ],
                env=environment,
                pass_fds=numbers,
                stdin=subprocess.DEVNULL,
                stderr=stderr,
                text=True,
                cwd=self._folder,  # where a core file would be left
            )
        return self.daemon

    def hears(self, word: str, value: str = "", *, patience: float = PATIENCE) -> dict[str, str]:
        """Return the next message with *word* in it, and *value* in that; what passes is kept.

        Raises ``TimeoutError`` after *patience* seconds of silence.
        """
        self._ear.settimeout(patience)
        while True:
            lines = self._ear.recv(65536).decode().split("\n")
            message = dict(line.partition("=")[::2] for line in lines)
            self.heard.append(message)
            if word in message and value in message[word]:
                return message

    def forgets(self) -> None:
        """Throw away what has been said and not heard."""
        self._ear.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._ear.recv(65536)

    def gives_up(self) -> int:
        """End the daemon as the watchdog does: SIGABRT, then SIGKILL; return its exit code."""
        assert self.daemon is not None
        self.daemon.send_signal(signal.SIGABRT)
        try:
            return self.daemon.wait(0.5)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            return self.daemon.wait(PATIENCE)

    @property
    def core_files(self) -> list[Path]:
        """The core files that the daemon has left."""
        return [path for path in self._folder.iterdir() if re.match(r"core(\.\d+)?$", path.name)]

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Answer ``systemctl`` on the machine's PATH, as the user manager of a login does."""
        control = self._folder / "control"
        script = self._folder / "bin/systemctl"
        script.parent.mkdir(exist_ok=True)
        script.write_text(SYSTEMCTL.format(python=sys.executable, control=str(control)))
        script.chmod(0o755)
        self.machine.variables["PATH"] = f"{script.parent}:{os.environ['PATH']}"
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(str(control))
            door.listen()
            clerk = threading.Thread(target=self._answers, args=[door])
            clerk.start()
            try:
                yield
            finally:
                door.shutdown(socket.SHUT_RDWR)
                clerk.join()
                control.unlink()

    def _answers(self, door: socket.socket) -> None:
        while True:
            try:
                caller, _ = door.accept()
            except OSError:
                return
            with caller:
                words = caller.makefile().read().split("\n")
                self.asked.append(words)
                caller.sendall(self._does(words).encode())

    def _does(self, words: list[str]) -> str:
        verb = next(word for word in words if not word.startswith("--"))
        runs = self.daemon is not None and self.daemon.poll() is None
        if verb == "show":
            pid = self.daemon.pid if runs and self.daemon is not None else 0
            return f"0 MainPID={pid}\nActiveState={'active' if runs else 'inactive'}\n"
        if verb not in {"stop", "restart"}:
            return "1 "
        if runs and self.daemon is not None:
            self.daemon.terminate()
            if verb == "restart":
                self.daemon.wait(PATIENCE)
                self.start()
        return "0 "
