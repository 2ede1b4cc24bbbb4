"""A wall clock for one machine that the test can turn, while the monotonic one goes on.

Every process of the machine gets libfaketime before the C library, and reads from a file how far
its wall clock is off, at each look. Time stamps of files stay as they are.
"""

from __future__ import annotations

import platform
from pathlib import Path

from tests.world import World

#: Where Debian's package ``libfaketime`` puts the library.
LIBRARY = Path(f"/usr/lib/{platform.machine()}-linux-gnu/faketime/libfaketime.so.1")


class WallClock:
    """The wall clock of *machine*; it is right until it is turned."""

    def __init__(self, machine: World) -> None:
        self._file = machine.home / ".off"
        self.turn(0)
        machine.variables |= {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def turn(self, off: float) -> None:
        """Let the clock be wrong by *off* seconds from now on, whatever it was before."""
        draft = self._file.with_suffix(".new")
        draft.write_text(f"{off:+.3f}")
        draft.replace(self._file)
