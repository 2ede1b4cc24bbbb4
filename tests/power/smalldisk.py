"""A small disk of a machine's own, which can be filled and made read-only.

It is a tmpfs in a mount namespace, so nobody else sees it: the machine's commands enter the
namespace, and the test looks in through the process that holds it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Self

import pytest

from tests.world import World


def _mounts() -> bool:
    """Say whether this process may mount a disk of its own."""
    unshare = shutil.which("unshare")
    return unshare is not None and not subprocess.call(
        [unshare, "-m", "true"], stderr=subprocess.DEVNULL
    )


#: For tests that need a :class:`SmallDisk`.
mounted = pytest.mark.skipif(
    os.geteuid() != 0 or not _mounts(), reason="no mount namespace may be made here"
)


class SmallDisk:
    """A disk of 128 KiB at *folder* of *machine*, as a context manager; *path* is how we see it."""

    def __init__(self, machine: World, folder: Path) -> None:
        self._machine = machine
        self._folder = folder
        self.path = folder

    def __enter__(self) -> Self:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        script = 'mount -t tmpfs -o size=128k,mode=700 tmpfs "$0" && echo mounted && read line'
        self._holder = subprocess.Popen(
            ["unshare", "-m", "--propagation", "private", "sh", "-c", script, str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"mounted\n"
        self.path = Path(f"/proc/{self._holder.pid}/root{self._folder}")
        self._machine.prefix = ["nsenter", "-t", str(self._holder.pid), "-m"]
        return self

    def __exit__(self, *reason: object) -> None:
        self._machine.bridge("--stop")
        self._machine.prefix = []
        with self._holder:  # its input is closed, and it ends
            pass

    def fill(self) -> None:
        """Take all the room there is."""
        free = os.statvfs(self.path)
        (self.path / "ballast").write_bytes(b"x" * (free.f_bavail * free.f_frsize))

    def empty(self) -> None:
        """Give the room back."""
        (self.path / "ballast").unlink()

    def turn(self, mode: str) -> None:
        """Mount the disk again, as ``ro`` or ``rw``."""
        subprocess.run(
            [*self._machine.prefix, "mount", "-o", f"remount,{mode}", str(self._folder)],
            check=True,
        )

    def spoil(self, how: str) -> None:
        """Let it refuse whatever is written: *how* is ``full`` or ``read-only``."""
        if how == "full":
            self.fill()
        else:
            self.turn("ro")

    def mend(self, how: str) -> None:
        """Undo :meth:`spoil`."""
        if how == "full":
            self.empty()
        else:
            self.turn("rw")
