"""Follows one request for the one line about it in the log."""

from __future__ import annotations

from bridge.clock import Clock
from bridge.proxy.head import Head


class Trace:
    """When what happened to one request, and what is said of it: never a query, header or body.

    *number* is its name in the log; *provider* and *status* become known on the way.
    """

    __slots__ = (
        "_began",
        "_clock",
        "_ended_at",
        "_head",
        "_head_at",
        "number",
        "provider",
        "status",
    )

    def __init__(self, clock: Clock, number: str, head: Head) -> None:
        self.number = number
        self.provider = "-"
        self.status = 0
        self._clock = clock
        self._head = head
        self._began = self._head_at = clock.monotonic()
        self._ended_at = 0.0

    def answered(self, status: int) -> None:
        """Note that the head of the answer is here."""
        self.status = status
        self._head_at = self._clock.monotonic()

    def ended(self) -> None:
        """Note that the answer has ended."""
        self._ended_at = self._clock.monotonic()

    def words(self, sent: int) -> str:
        """Return the line, of an answer of which *sent* bytes have gone out."""
        ended = self._ended_at or self._clock.monotonic()
        path = self._head.target.partition("?")[0][:200].encode("ascii", "backslashreplace")
        return (
            f"id={self.number} provider={self.provider} method={self._head.method} "
            f"path={path.decode()} status={self.status or '-'} bytes={sent} "
            f"head_ms={(self._head_at - self._began) * 1000:.1f} "
            f"total_ms={(ended - self._began) * 1000:.1f}"
        )
