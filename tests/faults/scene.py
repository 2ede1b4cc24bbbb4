"""A machine whose daemon reaches both servers through relays, and what holds after each fault."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Self

from tests.faults.relay import Relay, Script
from tests.faults.sight import Sight, look
from tests.process.gauge import Gauge
from tests.verdicts import record
from tests.world import World

#: Whether every combination is to be tried, and not only those that differ most.
FULL: Final = os.environ.get("BRIDGE_TEST_FULL") == "1"
_ROOT: Final = Path(__file__).parents[2]
_now: Callable[[], float] = time.time  # noqa: TID251 - a real machine
_tick: Callable[[], float] = time.monotonic  # noqa: TID251 - as above
#: Real seconds after which something that should have come to rest has not.
_PATIENCE: Final = 30.0
#: Real seconds by which a machine that has much to do may be late.
_SLOW: Final = 5.0
#: The allocator is told to keep up to 16 MiB (``service.memory``), and has holes.
_KEPT: Final = 24 << 20
#: Real seconds between two looks.
_BREATH: Final = 0.005
#: Connections to a server that may stay open in the pool, a spare one among them.
_POOLED: Final = 2
#: What lives as long as a request.
_OF_A_REQUEST: Final = frozenset(
    f"bridge.{name}"
    for name in (
        *("proxy.visit.Visit", "proxy.forward.Exchange", "proxy.reply.Reply", "proxy.body.Body"),
        *("proxy.trace.Trace", "proxy.framing.Request", "proxy.connection.Connection"),
        "wire.framing.Incoming",
    )
)


class Scene(World):
    """One machine, with a relay before each server.

    Its daemon's monotonic clock runs *pace* times as fast, so that all its patience is shorter.
    """

    def __init__(self, folder: Path, *, pace: float = 1.0, **server: Any) -> None:
        super().__init__(folder, interval=0.1, **server)
        self.pace = pace
        self.namespace: list[str] = []
        self.window = folder / "window"
        self.relays: dict[str, Relay] = {}
        self._resting: dict[str, Any] = {}
        self._breath = threading.Event()

    def __enter__(self) -> Self:
        super().__enter__()
        for name, url in self.servers().items():
            self.relays[name] = Relay(url).__enter__()
        self.variables |= self.ways()
        return self

    def __exit__(self, *reason: object) -> None:
        super().__exit__(*reason)
        for relay in self.relays.values():
            relay.__exit__()

    def servers(self) -> Mapping[str, str]:
        """Return where each server truly is."""
        return {"authorization": self.authorization.url, "upstream": self.upstream.url}

    def ways(self) -> Mapping[str, str]:
        """Return the variables that lead the daemon to the relays."""
        return {
            "KIMI_CODE_OAUTH_HOST": self.relays["authorization"].url,
            "KIMI_CODE_BASE_URL": f"{self.relays['upstream'].url}/coding/v1",
        }

    def start(self) -> None:
        """Start the daemon in its hurry, and see what it holds at rest after a first request."""
        words = [*self.namespace, sys.executable, "-m", "tests.faults.hurried"]
        with self._stderr.open("a") as stderr:
            child = subprocess.Popen(
                [*words, str(self.pace), str(self.window), "--foreground"],
                env=self.environment,
                cwd=_ROOT,
                stdin=subprocess.DEVNULL,
                stderr=stderr,
                text=True,
            )
        self._children.append(child)
        while self.bridge("--check").returncode != 0:
            assert child.poll() is None, self.log
        self.child = child
        self.logs_in()
        for surface in ("anthropic", "openai", "models"):
            assert self.looks(surface).status == 200, self.log
        self.settles(self._is_at_rest, "the daemon does not come to rest")
        self._resting = self.held()

    def logs_in(self, *, lives: float = 900.0) -> dict[str, Any]:
        """Give the machine a new login whose access token lives so many seconds more."""
        return self.log_in(expires_at=_now() + lives)

    def looks(self, surface: str = "anthropic", **asked: Any) -> Sight:
        """Ask the daemon, and see."""
        return look(self.port, surface, **asked)

    def suffers(self, server: str, script: Script | None) -> Relay:
        """Let *server* be unwell: play *script*, or refuse without one."""
        relay = self.relays[server]
        if script is None:
            relay.refuses()
        else:
            relay.plays(script)
        return relay

    def recovers(self, server: str = "", *, within: float = 120.0) -> float:
        """Return how long the daemon needs to serve again, in its own seconds.

        *server* is made well first; without one all are, and nothing is disturbed.
        """
        if server:
            self.relays[server].heals()
        began = _tick()
        while (sight := self.looks()).status != 200:
            assert _tick() - began < within / self.pace + _SLOW, sight.brief + self.log[-2000:]
            self._breath.wait(_BREATH)
        return (_tick() - began) * self.pace

    def lets_go(self, server: str, *, kept: int) -> None:
        """See that the daemon leaves *server* while that is still unwell, but for *kept* lines."""
        relay = self.relays[server]
        self.settles(lambda: relay.open <= kept, f"it keeps {relay.open} connections to {server}")

    def settles(self, happened: Callable[[], object], what: str) -> None:
        """Return once *happened*; fails with *what* when that takes too long."""
        began = _tick()
        while not happened():
            assert _tick() - began < _PATIENCE, f"{what}: {self.held()}, not {self._resting}"
            assert self.child.poll() is None, self.log[-2000:]
            self._breath.wait(_BREATH)

    def held(self) -> dict[str, Any]:
        """Return what the daemon holds: tasks, objects of requests, descriptors."""
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(str(self.window))
            told = b"".join(iter(lambda: asking.recv(65536), b""))
        assert self.pid is not None
        found: dict[str, Any] = json.loads(told)
        gauge = Gauge(self.pid)
        return {**found, "descriptors": gauge.descriptors, "resident": gauge.resident}

    def is_unharmed(self, *, refused: bool = False) -> None:
        """See that the daemon, the login and its file have come through, and nothing leaks.

        *refused*: that login has truly ended, and only its file is looked at.
        """
        assert self.child.poll() is None
        document = self.token()
        assert stat.S_IMODE(self.credential.stat().st_mode) == 0o600
        if not refused:
            assert self.authorization.valid(document["access_token"])
        self.settles(self._is_tidy, "files are left beside the credential")
        self.settles(self._is_at_rest, "the daemon does not come to rest")
        self.settles(self._is_alone, "connections are left open")

    def ends_well(self) -> None:
        """Stop the daemon, and see that it had nothing to complain about."""
        self.is_unharmed()
        assert self.held()["resident"] < self._resting["resident"] + _KEPT
        self.bridge("--stop")
        assert self.child.wait(30) == 0
        for word in ("Traceback", "reason=bug", "never retrieved", "was destroyed", "Unclosed"):
            assert word not in self.log, self.log[self.log.index(word) - 2000 :]

    def holds(self, case: str, saw: str, seconds: float | None = None) -> None:
        """Write down that *case* held."""
        record("faults", case, saw, None if seconds is None else round(seconds, 2))

    def _is_tidy(self) -> bool:
        names = {path.name for path in self.credential.parent.iterdir()}
        return names <= {"kimi-code.json", "kimi-code.lock", ".kimi-code.lock"}

    def _is_alone(self) -> bool:
        authorization, upstream = self.relays["authorization"], self.relays["upstream"]
        return authorization.open == 0 and upstream.open <= _POOLED

    def _is_at_rest(self) -> bool:
        held, rest = self.held(), self._resting
        more = Counter(held["tasks"]) - Counter(rest.get("tasks", held["tasks"]))
        spare = held["descriptors"] - rest.get("descriptors", held["descriptors"])
        served = {name: number for name, number in held["objects"].items() if name in _OF_A_REQUEST}
        pooled = held["objects"].get("bridge.wire.connection.Connection", 0)
        return not more and not served and pooled <= _POOLED and spare <= _POOLED
