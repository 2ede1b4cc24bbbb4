"""The machine as ``/proc`` tells of it: what it is, who works on it, what a process holds."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

from bridge.clock import SystemClock

CLOCK: Final = SystemClock()
#: Processors that others may take while something is measured.
FOREIGN_CORES: Final = 0.15
#: Seconds that are looked at, and that are waited at most, for a quiet moment.
LOOK_SECONDS: Final = 0.2
QUIET_SECONDS: Final = 4.0
_TICK_SECONDS: Final = 1 / os.sysconf("SC_CLK_TCK")
_IDLE: Final = (3, 4)


def busy(stat: str) -> float:
    """Return the seconds that all processors were busy, from the text of ``/proc/stat``."""
    words = stat.split("\n", 1)[0].split()[1:9]
    return sum(int(word) * _TICK_SECONDS for n, word in enumerate(words) if n not in _IDLE)


def worked(pid: int) -> float:
    """Return the seconds that the living threads of *pid* have run; 0 if there is no such one."""
    total = 0
    for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(file.read_text().split()[0])
        except OSError:
            continue
    return total / 1e9


def family(pid: int) -> list[int]:
    """Return *pid* and all its descendants."""
    children: dict[int, list[int]] = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(file.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(file.parent.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def resident_mb(pid: int) -> float:
    """Return the megabytes of *pid* that are in memory."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def descriptors(pid: int) -> int:
    """Return how many files and sockets *pid* has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


class Watch:
    """Tells how many processors others took between its making and :meth:`foreign_cores`."""

    def __init__(self) -> None:
        self._moment = CLOCK.monotonic()
        self._busy = _busy_now()
        self._ours = _ours()

    def foreign_cores(self, besides: float = 0.0) -> float:
        """Return it; *besides* are seconds worked for us by what is no ended child of ours."""
        ours = _ours() - self._ours + besides
        return (_busy_now() - self._busy - ours) / (CLOCK.monotonic() - self._moment)


def wait_for_quiet() -> None:
    """Return when nobody else is at work, or after a bounded time."""
    deadline = CLOCK.monotonic() + QUIET_SECONDS
    while CLOCK.monotonic() < deadline:
        watch = Watch()
        CLOCK.pause(LOOK_SECONDS)
        if watch.foreign_cores() <= FOREIGN_CORES:
            return


def described(nginx: str) -> dict[str, str]:
    """Return what the numbers depend on: processor, memory, kernel and versions."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": f"{os.cpu_count()} x {_processor()}",
        "memory": f"{pages / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: _version(name) for name in ("bridge", "aiohttp", "uvloop", "httptools")},
        "revision": _said(
            ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
        ),
        "nginx": _said([nginx, "-v"]).rpartition("/")[2],
        "go": _said(["go", "version"]).removeprefix("go version go").split(" ")[0],
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


def _said(words: Sequence[str]) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return (done.stdout or done.stderr).strip() if done.returncode == 0 else "unknown"


def _busy_now() -> float:
    return busy(Path("/proc/stat").read_text())


def _ours() -> float:
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        use = resource.getrusage(who)
        total += use.ru_utime + use.ru_stime
    return total
