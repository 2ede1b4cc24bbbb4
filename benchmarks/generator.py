"""Builds the rig (``rig/*.go``), runs its upstream, and puts loads on what is measured."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from benchmarks.machine import worked
from benchmarks.phases import Phase
from benchmarks.subjects import Subject, Upstream

#: Seconds that any one load may take.
PATIENCE_SECONDS: Final = 150.0

#: What one load has found: numbers by name.
Result = dict[str, float]


class LoadFailed(Exception):
    """A request failed, or an answer was not what was sent."""


class WrongCredentials(LoadFailed):
    """The upstream saw a credential that it should not, or not the one that it should."""


class Generator(Protocol):
    """What puts loads on subjects, with an upstream behind them that speaks plainly and TLS."""

    @property
    def plain(self) -> Upstream:
        """The upstream without TLS."""

    @property
    def secure(self) -> Upstream:
        """The upstream with TLS."""

    def load(self, phase: Phase, subject: Subject) -> Result:
        """Put one load on *subject* and return what was measured; raises ``LoadFailed``."""

    def worked(self) -> float:
        """Return the seconds that the upstream has worked so far."""


@dataclass(frozen=True, slots=True)
class Rig:
    """The built rig with its running upstream: the generator that measures."""

    program: Path
    pid: int
    plain: Upstream
    secure: Upstream

    def load(self, phase: Phase, subject: Subject) -> Result:
        """Put one load on *subject* and return what was measured.

        Raises ``LoadFailed`` if a single answer was missing, cut or wrong.
        """
        words = [
            *(str(self.program), "load", *shlex.split(phase.words)),
            *("-to", f"127.0.0.1:{subject.port}", "-path", subject.path),
            *("-credential", subject.credential, "-upstream", str(self.pid)),
            *("-pids", ",".join(str(pid) for pid in subject.pids)),
        ]
        try:
            done = subprocess.run(
                words, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
            )
        except subprocess.TimeoutExpired:
            raise LoadFailed(f"no end after {PATIENCE_SECONDS:.0f} s") from None
        except subprocess.CalledProcessError as error:
            raise LoadFailed(error.stderr.strip()) from None
        found = json.loads(done.stdout)
        if reason := found.pop("error", ""):
            kind = WrongCredentials if "wrong credentials" in reason else LoadFailed
            raise kind(f"{found['errors']} failed, the first so: {reason}")
        return {
            name: float(value)
            for name, value in found.items()
            if subject.process or not name.startswith("cpu")
        }

    def worked(self) -> float:
        """Return the seconds that the upstream has worked so far."""
        return worked(self.pid)


@contextlib.contextmanager
def rig(folder: Path) -> Iterator[Rig]:
    """Build the rig in *folder* and keep its upstream running; it ends with its standard input."""
    program, authority = folder / "rig", folder / "authority.pem"
    source = Path(__file__).with_name("rig")
    subprocess.run(["go", "build", "-o", str(program), "."], cwd=source, check=True)
    with subprocess.Popen(
        [str(program), "upstream", "-authority", str(authority)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as upstream:
        assert upstream.stdout is not None
        ports: dict[str, int] = {}
        for line in upstream.stdout:
            if line == "ready\n":
                break
            name, _, port = line.partition(" ")
            ports[name] = int(port)
        plain, secure = Upstream(ports["plain"]), Upstream(ports["tls"], str(authority))
        yield Rig(program, upstream.pid, plain, secure)
