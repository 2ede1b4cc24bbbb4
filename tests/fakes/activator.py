"""An idle socket unit on loopback: systemd's own ``systemd-socket-activate``, and no daemon yet."""

from __future__ import annotations

import shutil
import subprocess
from typing import Self

import pytest

from bridge import peer
from tests.world import World, installed


class Activator:
    """Holds the port of *machine* on both loopbacks and becomes the daemon at the first request.

    Use it as a context manager; *process* is first the one, then the other.
    """

    def __init__(self, machine: World, *words: str) -> None:
        self.machine = machine
        self._words = words

    def __enter__(self) -> Self:
        program = shutil.which("systemd-socket-activate")
        if program is None:
            pytest.skip("systemd-socket-activate is not installed")
        port = self.machine.port
        settings = [f"--setenv={k}={v}" for k, v in self.machine.environment.items()]
        with (self.machine.home.parent / "stderr.log").open("a") as stderr:
            self.process = subprocess.Popen(
                [
                    *(program, *settings, "-l", f"127.0.0.1:{port}", "-l", f"[::1]:{port}"),
                    *(installed(), "--foreground", *self._words),
                ],
                stdin=subprocess.DEVNULL,
                stderr=stderr,
            )
        while peer.listener("::1", port) is None:
            assert self.process.poll() is None, self.machine.log
        return self

    def __exit__(self, *reason: object) -> None:
        with self.process:
            self.process.kill()

    @property
    def is_idle(self) -> bool:
        """Whether no daemon has been started yet."""
        owner = peer.listener("127.0.0.1", self.machine.port)
        held = peer.process_of(owner.inode) if owner is not None else None
        return held == (self.process.pid, "systemd-socket-")
