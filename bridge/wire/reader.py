"""Says what a connection to an upstream tells whoever asks on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bridge.wire.framing import Incoming


class Reader(Protocol):
    """Whoever asked. None of this may block; what it raises is told to :meth:`failed`."""

    def head(self, answer: Incoming) -> None:
        """Take the head; say ``relay`` or ``close`` to the connection, now or later."""

    def failed(self, error: Exception) -> None:
        """Hear that the answer will not be whole; the connection is gone."""


class Sink(Protocol):
    """Where the content of an answer goes. Must not block; what it raises, its reader is told."""

    def take(self, pieces: Sequence[bytes], *, last: bool) -> None:
        """Take what has come; with *last* the answer is whole, and the connection another's."""

    def flush(self) -> None:
        """Send what waits for content, as none is here yet."""
