"""Stand-ins for ``systemctl --user``, ``loginctl`` and ``launchctl``: with a log, and with memory.

They start and stop real processes, as the units say, in the bare environment that a service manager
has. What they know stands in the folder ``KEEPER``; a file ``down`` there: no manager answers.
"""

from __future__ import annotations

import json
import os
import plistlib
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fakes.unit import Unit

SERVICE, SOCKET = "bridge.service", "bridge.socket"
#: What a manager has: nothing of the person's shell.
BARE = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
SECONDS = 30.0


class Keeper:
    """A service manager's memory: which units it has loaded, and which processes it keeps."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "state.json"
        self.state: dict[str, Any] = {"loaded": {}, "pids": {}}
        if self._file.exists():
            self.state = json.loads(self._file.read_text())

    @property
    def is_down(self) -> bool:
        """Whether no manager answers."""
        return (self.folder / "down").exists()

    def log(self, words: list[str]) -> None:
        """Write down that *words* were called."""
        with (self.folder / "calls").open("a") as file:
            file.write(json.dumps(words) + "\n")

    def save(self) -> None:
        """Keep what is known for the next call."""
        self._file.write_text(json.dumps(self.state))

    def pid(self, name: str) -> int:
        """Return the process kept under *name*, 0 if there is none or it has ended."""
        pid = int(self.state["pids"].get(name, 0))
        try:
            status = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return 0
        return 0 if status.rpartition(")")[2].split()[0] == "Z" else pid

    def spawn(self, name: str, words: list[str], environment: dict[str, str]) -> int:
        """Start *words* as the process *name*, with what is said to the journal in a file."""
        with (self.folder / "journal").open("ab") as journal:
            child = subprocess.Popen(
                words,
                env={**BARE, **environment},
                stdin=subprocess.DEVNULL,
                stdout=journal,
                stderr=journal,
                start_new_session=True,
            )
        child.returncode = 0  # it outlives us, and nobody is to complain
        self.state["pids"][name] = child.pid
        return child.pid

    def end(self, name: str) -> None:
        """Stop the process *name*, and wait for its end."""
        if pid := self.pid(name):
            process = os.pidfd_open(pid)
            os.kill(pid, signal.SIGTERM)
            select.select([process], [], [], SECONDS)
            os.close(process)
        self.state["pids"].pop(name, None)


class Systemctl:
    """The user's systemd."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._units = Path(os.environ["HOME"]) / ".config/systemd/user"

    def run(self, words: list[str]) -> int:
        """Do what *words* ask for and return the exit code."""
        verb, *rest = [word for word in words if word != "--user"]
        names = [word for word in rest if not word.startswith("-")]
        if self._keeper.is_down:
            print("Failed to connect to bus: No medium found", file=sys.stderr)
            return 1
        if verb == "show":
            print("\n".join(self._show(name) for name in names) if names else "Version=252")
        elif verb == "daemon-reload":
            files = self._units.glob("bridge.*")
            self._keeper.state["loaded"] = {f.name: f.read_text() for f in files if f.is_file()}
        else:
            verbs: dict[str, Callable[[str], int]] = {
                "start": self._start,
                "restart": self._restart,
                "stop": self._stop,
                "enable": self._enable,
                "disable": self._disable,
                "reset-failed": lambda name: 0,
            }
            code = max(verbs[verb](name) for name in names)
            if "--now" in rest and verb == "disable":
                code |= max(self._stop(name) for name in names)
            return code
        return 0

    def _show(self, name: str) -> str:
        is_loaded = name in self._keeper.state["loaded"]
        pid = self._keeper.pid(name)
        if name == SERVICE and not pid and self._activator() and not self._is_waiting():
            pid = self._activator()
        is_active = bool(self._activator()) if name == SOCKET else bool(pid)
        enabled = "enabled" if is_loaded and self._link(name).is_symlink() else "disabled"
        return "\n".join(
            [
                f"Id={name}",
                f"LoadState={'loaded' if is_loaded else 'not-found'}",
                f"UnitFileState={enabled if is_loaded else ''}",
                f"ActiveState={'active' if is_active else 'inactive'}",
                f"MainPID={0 if name == SOCKET else pid}",
                "Result=success",
                f"FragmentPath={self._units / name if is_loaded else ''}",
                "",
            ]
        )

    def _unit(self, name: str) -> Unit:
        return Unit(self._keeper.state["loaded"][name])

    def _link(self, name: str) -> Path:
        return self._units / f"{self._unit(name).one('WantedBy')}.wants" / name

    def _enable(self, name: str) -> int:
        link = self._link(name)
        link.parent.mkdir(exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(self._units / name)
        return 0

    def _disable(self, name: str) -> int:
        self._link(name).unlink(missing_ok=True)
        return 0

    def _start(self, name: str) -> int:
        if name == SOCKET:
            return self._listen()
        return 0 if self._keeper.pid(name) else self._serve()

    def _restart(self, name: str) -> int:
        self._stop(name)
        return self._start(name)

    def _stop(self, name: str) -> int:
        if name == SERVICE and self._activator() and not self._is_waiting():
            self._keeper.end(SOCKET)  # the daemon, in the place of whom had waited
            return self._listen()
        self._keeper.end(name)
        return 0

    def _serve(self) -> int:
        """Start the service, and return once it says that it is ready, or has ended."""
        place = self._keeper.folder / "notify"
        place.unlink(missing_ok=True)
        unit = self._unit(SERVICE)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
            ear.bind(str(place))
            pid = self._keeper.spawn(
                SERVICE, unit.command, {**unit.environment, "NOTIFY_SOCKET": str(place)}
            )
            process = os.pidfd_open(pid)
            said = b""
            while b"READY=1" not in said:
                readable = select.select([ear.fileno(), process], [], [], SECONDS)[0]
                if ear.fileno() not in readable:
                    print(f"Job for {SERVICE} failed. See journalctl.", file=sys.stderr)
                    return 1
                said = ear.recv(4096)
        return 0

    def _listen(self) -> int:
        """Let a process wait at the ports of the socket unit, to become the daemon."""
        if self._activator():
            return 0
        words = ["/usr/bin/systemd-socket-activate"]
        for address in self._unit(SOCKET).all("ListenStream"):
            words += ["-l", address]
        unit = self._unit(SERVICE)
        for name, value in unit.environment.items():
            words += ["-E", f"{name}={value}"]
        pid = self._keeper.spawn(SOCKET, [*words, *unit.command], {})
        port = int(self._unit(SOCKET).all("ListenStream")[0].rpartition(":")[2])
        while not _listens(port):
            assert Path(f"/proc/{pid}").exists()
        return 0

    def _activator(self) -> int:
        return self._keeper.pid(SOCKET)

    def _is_waiting(self) -> bool:
        return Path(f"/proc/{self._activator()}/comm").read_text().startswith("systemd-socket")


class Launchctl:
    """The user's launchd."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    def run(self, words: list[str]) -> int:
        """Do what *words* ask for and return the exit code."""
        verb, target = words[:2]
        domain, _, label = target.partition("/")[2].partition("/")
        assert domain == str(os.getuid())
        if self._keeper.is_down:
            print("Could not find domain for", file=sys.stderr)
            return 112
        if verb == "bootstrap":
            return self._bootstrap(Path(words[2]))
        if verb == "enable" or not label:
            return 0
        if label not in self._keeper.state["loaded"]:
            print(f'Could not find service "{label}" in domain', file=sys.stderr)
            return 113
        if verb == "print":
            pid = self._keeper.pid(label)
            print(f"{target} = {{\n\tstate = {'running' if pid else 'not running'}")
            print(f"\tpid = {pid}\n}}" if pid else "\tlast exit code = 0\n}")
        elif verb == "bootout":
            self._keeper.end(label)
            del self._keeper.state["loaded"][label]
        elif not self._keeper.pid(label):
            self._start(label)
        return 0

    def _bootstrap(self, path: Path) -> int:
        label = plistlib.loads(path.read_bytes())["Label"]
        if label in self._keeper.state["loaded"]:
            print("Bootstrap failed: 5: Input/output error", file=sys.stderr)
            return 5
        self._keeper.state["loaded"][label] = path.read_text()
        self._start(label)
        return 0

    def _start(self, label: str) -> None:
        agent = plistlib.loads(self._keeper.state["loaded"][label].encode())
        environment = {"HOME": os.environ["HOME"], "XPC_SERVICE_NAME": label}
        words = agent["ProgramArguments"]
        self._keeper.spawn(label, words, {**environment, **agent["EnvironmentVariables"]})


def main(name: str, words: list[str]) -> int:
    """Be the program *name* for the length of one call."""
    keeper = Keeper(Path(os.environ["KEEPER"]))
    keeper.log([name, *words])
    if name == "loginctl":
        linger = keeper.folder / "linger"
        print(f"Linger={'yes' if linger.exists() else 'no'}")
        return 0
    code = (Launchctl if name == "launchctl" else Systemctl)(keeper).run(words)
    keeper.save()
    return code


def calls(folder: Path) -> list[list[str]]:
    """Return every call so far that was a job and no question."""
    lines = (folder / "calls").read_text().splitlines() if (folder / "calls").exists() else []
    made: list[list[str]] = [json.loads(line) for line in lines]
    return [each for each in made if not {"show", "show-user", "print"} & set(each)]


def installed(folder: Path, *names: str) -> None:
    """Put programs called *names* into *folder*/bin that are these stand-ins."""
    root = Path(__file__).parents[2]
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    for name in names:
        script = folder / "bin" / name
        script.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(root)!r})\n"
            f"from tests.fakes.keeper import main\nsys.exit(main({name!r}, sys.argv[1:]))\n"
        )
        script.chmod(0o755)


def ended(folder: Path) -> None:
    """End every process that is kept."""
    keeper = Keeper(folder)
    for name in list(keeper.state["pids"]):
        keeper.end(name)


def _listens(port: int) -> bool:
    """Say whether somebody waits at *port*, without connecting."""
    wanted = f"0100007F:{port:04X} 00000000:0000 0A"
    return wanted in Path("/proc/net/tcp").read_text()
