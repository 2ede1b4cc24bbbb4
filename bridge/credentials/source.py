"""Says what a request may ask of whatever keeps a credential: a login that rotates, or a key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Held(Protocol):
    """A credential at hand; *access* is what goes out with a request."""

    @property
    def access(self) -> str:
        """The secret itself."""


class Source(Protocol):
    """Where a request gets the credential it leaves with."""

    def at_once(self) -> Held | None:
        """Return a credential that is good now, ``None`` where :meth:`current` has to be asked.

        Never waits; costs one ``stat`` at most.
        """

    async def current(self) -> Held:
        """Return a credential that is good now. Raises a ``BridgeError`` that says what to do."""

    async def rejected(self, held: Held) -> Held:
        """Return what to try once more with, after the upstream answered 401 to *held*.

        The same one comes back where no other may be had now: the 401 is then the client's.
        """

    def condition(self) -> Condition:
        """Say how the source is doing. Never raises and never waits."""


@dataclass(frozen=True, slots=True)
class Condition:
    """How a source is doing, for people: no secret in it.

    *remaining* is in seconds, every ``_at`` a moment of the wall clock. *problem* keeps the source
    from being used, or is about to; *note* is worth knowing and no problem yet. *next_refresh_at*
    is when a refresh is due without a request, *ends_at* when the login is likely to end,
    *failure* what was wrong with the last refresh that failed, at *failed_at*. ``None`` says that
    there is nothing to tell.
    """

    ready: bool
    remaining: float | None
    refreshed_at: float | None
    problem: str | None
    next_refresh_at: float | None = None
    ends_at: float | None = None
    failed_at: float | None = None
    failure: str | None = None
    note: str | None = None
