"""Runs the real ``bridge`` as a person would, but in a home folder of the play's own.

Nothing of the person's own settings reaches it: not their login, not their daemon, not their
proxies. The room knows commands and files and nothing of what is played.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bridge.clock import Clock, within
from bridge.config import Paths, paths
from bridge.errors import BridgeError
from bridge.service.pidfile import HELD, look, signal_owner

#: Seconds that any command may take; none needs more than two on an idle machine.
PATIENCE_SECONDS: Final = 20.0
#: Below what the system gives to whoever asks for any port: ours must stay free until the start.
PORTS: Final = range(20000, 32000)
#: Seconds that streams may still run when the daemon is stopped.
DRAIN_SECONDS: Final = 1
LOG_TAIL_LINES: Final = 20

#: What would let a setting, a login, a service manager or a proxy of the person's take part.
_FOREIGN: Final = (
    *("ANTHROPIC_", "BRIDGE_", "CLAUDE_", "KIMI_", "LISTEN_", "XDG_"),
    *("NOTIFY_SOCKET", "SSL_CERT_", "WATCHDOG_"),
)


class Flop(BridgeError):
    """Something in the play did not happen as it must."""


def expect(holds: object, otherwise: str) -> None:
    """Raise ``Flop`` with *otherwise* unless *holds*."""
    if not holds:
        raise Flop(otherwise)


@dataclass(frozen=True, slots=True)
class Run:
    """One command that has ended: its exit code and what it wrote."""

    words: tuple[str, ...]
    code: int
    out: str = field(repr=False)
    err: str = field(repr=False)

    @property
    def name(self) -> str:
        """The command as one types it."""
        return " ".join(("bridge", *self.words))


class Program:
    """The program in the folder *home*, listening on *port*, with *servers* for a world."""

    def __init__(
        self, home: Path, port: int, servers: str, environment: Mapping[str, str], clock: Clock
    ) -> None:
        self.port = port
        self.runs: list[Run] = []
        self._environment = _isolated(environment, home, port, servers)
        self._clock = clock

    @property
    def url(self) -> str:
        """Where the daemon listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def paths(self) -> Paths:
        """Where the program keeps its files."""
        return paths(self._environment)

    async def run(self, *words: str, hear: Callable[[str], None] = lambda _: None) -> Run:
        """Run one command to its end and return what came of it.

        *hear* is told each line of standard output when it is written. Raises ``Flop`` if the
        command does not end in time; it is killed then, and also when the caller is cancelled.
        """
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bridge", *words),
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        heard = asyncio.create_task(_heard(process, hear))
        try:
            if not await within(self._clock, PATIENCE_SECONDS, heard):
                raise Flop(f"bridge {' '.join(words)} did not end within {PATIENCE_SECONDS:.0f} s")
        finally:
            heard.cancel()
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            code = await process.wait()
        out, err = heard.result()
        self.runs.append(Run(words, code, out, err))
        return self.runs[-1]

    async def end(self) -> None:
        """Stop the daemon, whatever state it is in, and leave no process behind."""
        with contextlib.suppress(BridgeError):
            await self.run("--stop")
        kind, record = look(self.paths.pid_file)
        if kind == HELD and record is not None:
            with contextlib.suppress(BridgeError):
                signal_owner(self.paths.pid_file, record, signal.SIGKILL)

    def log(self) -> str:
        """Return the daemon's log; empty where there is none."""
        try:
            return Path(self.paths.log).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def log_tail(self, secrets: Iterable[str]) -> list[str]:
        """Return the last lines of the log, with every one of *secrets* struck out."""
        text = self.log()
        for secret in secrets:
            text = text.replace(secret, "***")
        return text.splitlines()[-LOG_TAIL_LINES:]


def free_port(ports: Sequence[int] = PORTS) -> int:
    """Return one of *ports* that is nobody's on loopback at this moment; ``Flop`` if none is."""
    for port in random.sample(ports, len(ports)):
        with socket.socket() as listening, contextlib.suppress(OSError):
            listening.bind(("127.0.0.1", port))
            return port
    raise Flop(f"no port from {ports[0]} to {ports[-1]} is free on 127.0.0.1")


async def _heard(
    process: asyncio.subprocess.Process, hear: Callable[[str], None]
) -> tuple[str, str]:
    """Return all that *process* writes, on both its outputs, once it has closed them."""

    async def lines(stream: asyncio.StreamReader | None, hear: Callable[[str], None]) -> str:
        text = ""
        while stream is not None and (line := await stream.readline()):
            text += line.decode("utf-8", "replace")
            hear(line.decode("utf-8", "replace").rstrip("\n"))
        return text

    out, err = await asyncio.gather(
        lines(process.stdout, hear), lines(process.stderr, lambda _: None)
    )
    await process.wait()
    return out, err


def _isolated(
    environment: Mapping[str, str], home: Path, port: int, servers: str
) -> dict[str, str]:
    kept = {
        name: value
        for name, value in environment.items()
        if not name.startswith(_FOREIGN) and not name.upper().endswith("_PROXY")
    }
    return kept | {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_STATE_HOME": str(home / ".local" / "state"),
        "BRIDGE_PORT": str(port),
        "BRIDGE_DRAIN_SECONDS": str(DRAIN_SECONDS),
        "KIMI_CODE_OAUTH_HOST": servers,
        "KIMI_CODE_BASE_URL": f"{servers}/coding/v1",
    }
