"""Keeps in order what befell refresh tokens here, and says what it means for one of them.

Pure. A refresh token is known by a digest, which tells nobody anything but whether two are the
same. The order is that of the entries and never that of their times: wall clocks jump.
"""

from __future__ import annotations

import enum
import hashlib
import json
import string
from dataclasses import dataclass, replace
from typing import Final

#: How many entries are kept; the last few rotations and what troubled the token at hand.
KEPT: Final = 20
#: No time from here on (the year 5138) can be shown to people, so none is believed.
NEVER: Final = 1e11

_DIGEST_LENGTH: Final = 64


class Outcome(enum.StrEnum):
    """What became of a refresh, or how else a refresh token got here."""

    ROTATED = "rotated"
    REFUSED = "refused"
    LOST = "lost"
    UNSAVED = "unsaved"
    FAILED = "failed"
    CUT_SHORT = "cut short"
    ADOPTED = "adopted"


#: Of one token the first of these made it suspect; of all others the last is told.
_FIRST_COUNTS: Final = frozenset({Outcome.CUT_SHORT, Outcome.LOST})


class Suspicion(enum.Enum):
    """Why a refresh token may have been spent here; the members stand in the order of certainty."""

    SPENT = enum.auto()
    UNSAVED = enum.auto()
    CUT_SHORT = enum.auto()
    LOST = enum.auto()
    UNDER_WAY = enum.auto()


_SUSPECT: Final = {
    Outcome.ROTATED: Suspicion.SPENT,
    Outcome.UNSAVED: Suspicion.UNSAVED,
    Outcome.CUT_SHORT: Suspicion.CUT_SHORT,
    Outcome.LOST: Suspicion.LOST,
    None: Suspicion.UNDER_WAY,
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One refresh of *token*, begun at *begun_at*; no *outcome* yet means under way or cut short.

    Both *token* and the *successor* that came of it are digests; of an adopted token only the
    latter is known. Times are seconds since the epoch.
    """

    token: str
    begun_at: float
    outcome: Outcome | None = None
    ended_at: float | None = None
    successor: str = ""


@dataclass(frozen=True, slots=True)
class Chronicle:
    """What befell refresh tokens, the oldest first. Nothing is changed: each step returns anew."""

    entries: tuple[Entry, ...] = ()

    def begun(self, token: str, now: float) -> Chronicle:
        """Return this with a refresh of *token* begun."""
        return _plus(self.settled(now), Entry(token, now))

    def ended(self, token: str, outcome: Outcome, now: float, successor: str = "") -> Chronicle:
        """Return this with the refresh of *token* that is under way, or was last, ended so."""
        mine = [entry for entry in self.entries if entry.token == token]
        begun = next((entry for entry in mine if entry.outcome is None), None)
        begun_at = begun.begun_at if begun else mine[-1].begun_at if mine else now
        rest = Chronicle(tuple(entry for entry in self.entries if entry is not begun))
        return _plus(rest, Entry(token, begun_at, outcome, now, successor))

    def adopted(self, token: str, issued_at: float) -> Chronicle:
        """Return this with *token* as one that somebody else got at *issued_at*."""
        return _plus(self, Entry("", issued_at, Outcome.ADOPTED, issued_at, token))

    def settled(self, now: float) -> Chronicle:
        """Return this with whatever is under way cut short, as who holds the lock may know."""
        settled = Chronicle(tuple(entry for entry in self.entries if entry.outcome is not None))
        for entry in self.entries:
            if entry.outcome is None:
                cut = replace(entry, outcome=Outcome.CUT_SHORT, ended_at=now)
                settled = _plus(settled, cut)
        return settled

    def knows(self, token: str) -> bool:
        """Say whether *token* has been seen here."""
        return any(token in {entry.token, entry.successor} for entry in self.entries)

    @property
    def under_way(self) -> bool:
        """Whether a refresh has begun of which no end is known."""
        return any(entry.outcome is None for entry in self.entries)

    def issued_at(self, token: str) -> float | None:
        """Return when *token* was issued, ``None`` where that is not known."""
        came = (e for e in self.entries if e.successor == token != e.token)
        return next((entry.ended_at for entry in came), None)

    def suspicion(self, token: str) -> tuple[Suspicion, float] | None:
        """Return why *token* may have been spent, and when the refresh began that may have done it.

        ``None``: it was not, as far as is known here.
        """
        found = [
            (_SUSPECT[entry.outcome], entry.begun_at)
            for entry in self.entries
            if entry.token == token != entry.successor and entry.outcome in _SUSPECT
        ]
        order = list(Suspicion)
        return min(found, key=lambda each: order.index(each[0]), default=None)

    def refused(self, token: str) -> bool:
        """Say whether *token* was refused when it was last presented."""
        mine = [entry.outcome for entry in self.entries if entry.token == token]
        return mine[-1:] == [Outcome.REFUSED]

    def last_failure(self) -> Entry | None:
        """Return the last refresh that failed."""
        good = {None, Outcome.ROTATED, Outcome.ADOPTED}
        return next((e for e in reversed(self.entries) if e.outcome not in good), None)

    def encoded(self) -> bytes:
        """Return this as JSON, one line for each entry."""
        return b"".join(_line(entry) for entry in self.entries)


def digest(refresh: str) -> str:
    """Return by what the refresh token *refresh* is known here."""
    spelt = refresh.encode(errors="surrogatepass")
    return hashlib.sha256(b"bridge refresh token\0" + spelt).hexdigest()


def decoded(data: bytes) -> tuple[Chronicle, bool]:
    """Return what can be read in *data*, and whether all of it could.

    A last line that was cut is no damage: that is how a power cut looks.
    """
    *lines, last = data.split(b"\n")
    entries = [_entry(line) for line in lines]
    if last and (entry := _entry(last)) is not None:
        entries.append(entry)
    known = tuple(entry for entry in entries if entry is not None)
    return Chronicle(known[-KEPT:]), all(entries)


def _plus(chronicle: Chronicle, entry: Entry) -> Chronicle:
    """Return *chronicle* with *entry*; what it repeats gives way, so that no outage fills it."""
    known = chronicle.entries
    same = [e for e in known if entry.outcome is not None and _kind(e) == _kind(entry)]
    if same and entry.outcome in _FIRST_COUNTS:
        entry = replace(entry, begun_at=same[0].begun_at, ended_at=same[0].ended_at)
    rest = tuple(each for each in known if each not in same)
    return Chronicle((*rest, entry)[-KEPT:])


def _kind(entry: Entry) -> tuple[str, Outcome | None, str]:
    return entry.token, entry.outcome, entry.successor


def _line(entry: Entry) -> bytes:
    document = {
        "token": entry.token,
        "begun_at": entry.begun_at,
        "outcome": entry.outcome,
        "ended_at": entry.ended_at,
        "successor": entry.successor,
    }
    return json.dumps({key: value for key, value in document.items() if value}).encode() + b"\n"


def _entry(line: bytes) -> Entry | None:
    try:
        document = json.loads(line)
        outcome = Outcome(document["outcome"]) if "outcome" in document else None
        entry = Entry(
            _digest(document.get("token", "")),
            _moment(document["begun_at"]),
            outcome,
            _moment(document["ended_at"]) if outcome else None,
            _digest(document.get("successor", "")),
        )
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return entry if entry.token or entry.successor else None


def _digest(value: object) -> str:
    if not isinstance(value, str) or len(value) not in {0, _DIGEST_LENGTH}:
        raise ValueError
    if not set(value) <= set(string.hexdigits):
        raise ValueError
    return value


def _moment(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < NEVER:
        raise ValueError
    return float(value)
