"""How much a process holds: memory, the most it has held, and descriptors, by the kernel's word."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

KIBIBYTE = 1024


class Gauge:
    """Looks at the process *pid* from outside; Linux only. Sizes are in bytes."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")

    @property
    def resident(self) -> int:
        """The memory it has now."""
        return self._field("VmRSS:")

    @property
    def highest(self) -> int:
        """The most memory it has had since the start, or since :meth:`forget`."""
        return self._field("VmHWM:")

    def forget(self) -> None:
        """Let *highest* count from now on."""
        (self._folder / "clear_refs").write_text("5")

    @property
    def descriptors(self) -> int:
        """How many descriptors it has open."""
        return len(list((self._folder / "fd").iterdir()))

    def _field(self, name: str) -> int:
        status = (self._folder / "status").read_text()
        return int(status.partition(name)[2].split()[0]) * KIBIBYTE


@contextlib.contextmanager
def descriptors_allowed(number: int) -> Iterator[int]:
    """Let this process, and what it starts, have *number* descriptors open if that may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = number if hard == resource.RLIM_INFINITY else min(number, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))
    try:
        yield max(soft, allowed)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def waiting_room() -> int:
    """Return how many connections the kernel lets wait, at most, until they are accepted."""
    return int(Path("/proc/sys/net/core/somaxconn").read_text())
