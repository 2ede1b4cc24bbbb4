"""Follows one request for the one line about it in the log."""

from __future__ import annotations

from bridge.clock import Clock
from bridge.proxy.head import Head
from bridge.proxy.tally import Outcome, Tally


class Trace:
    """When what happened to one request, and what is said of it: never a query, header or body.

    *number* is its name in the log; *provider* and *status* become known on the way. *added* is the
    time, in seconds, that bridge took for itself: from the end of the request until it was asked
    further (with a connection, and after a 401 once more), and from the head of the answer here
    until it was made for the client.
    """

    __slots__ = (
        "_asked_at",
        "_began",
        "_clock",
        "_ended_at",
        "_head",
        "_head_at",
        "_received_at",
        "added",
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
        self._began = self._received_at = self._head_at = clock.monotonic()
        self._asked_at = self._ended_at = self.added = 0.0

    def received(self) -> None:
        """Note that the body is here, where it did not come with the head."""
        self._received_at = self._clock.monotonic()

    def asked(self) -> None:
        """Note that the request is on its way to the upstream."""
        self._asked_at = self._clock.monotonic()

    def answered(self, status: int, heard_at: float | None = None) -> None:
        """Note that the head of the answer is here, *heard_at* (monotonic) if an upstream sent it.

        An answer of bridge's own is all its doing.
        """
        self.status = status
        now = self._head_at = self._clock.monotonic()
        if heard_at is None:
            self.added = now - self._received_at
        else:
            self.added = self._asked_at - self._received_at + now - heard_at

    def ended(self) -> None:
        """Note that the answer has ended."""
        self._ended_at = self._clock.monotonic()

    def count(self, tally: Tally, outcome: Outcome, sent: int, error: str = "") -> None:
        """Enter the request into *tally*, as it ended; *error* says what was wrong."""
        added = self.added if outcome is Outcome.ANSWERED else None
        tally.enter(self.provider, outcome, self.status, sent, added)
        if error:
            tally.last_error = f"{self.provider}: {error}"
            tally.last_error_at = self._clock.now()

    def words(self, sent: int) -> str:
        """Return the line, of an answer of which *sent* bytes have gone out."""
        ended = self._ended_at or self._clock.monotonic()
        path = self._head.target.partition("?")[0][:200].encode("ascii", "backslashreplace")
        return (
            f"id={self.number} provider={self.provider} method={self._head.method} "
            f"path={path.decode()} status={self.status or '-'} bytes={sent} "
            f"head_ms={(self._head_at - self._began) * 1000:.1f} "
            f"total_ms={(ended - self._began) * 1000:.1f} added_ms={self.added * 1000:.2f}"
        )
