"""Puts off what nobody waits for, such as a line in the log, until the bytes are on their way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Ledger:
    """Calls what is entered at the next turn of the event loop, in order."""

    def __init__(self) -> None:
        self._entries: list[Callable[[], None]] = []

    def enter(self, entry: Callable[[], None]) -> None:
        """Let *entry* be called when this turn is over and what it sent is with the kernel."""
        if not self._entries:
            asyncio.get_running_loop().call_soon(self.write)
        self._entries.append(entry)

    def write(self) -> None:
        """Call what has been entered."""
        entries, self._entries = self._entries, []
        for entry in entries:
            entry()
