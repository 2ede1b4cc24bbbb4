"""Holds what an examination has found: how bad it is, about what, and how to mend it.

Pure. No text may show a value that could be a secret; whoever makes a finding sees to that.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from bridge.errors import BridgeError


class Level(enum.StrEnum):
    """How bad a finding is; the members stand in that order."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: *subject* in a word or two, *text* what was seen.

    *mend* is a sentence or a command, and empty exactly where nothing has to be mended.
    """

    level: Level
    subject: str
    text: str
    mend: str = ""

    def __post_init__(self) -> None:
        if (self.level is Level.OK) == bool(self.mend):
            raise ValueError(f"{self.level} finding {self.text!r} with mend {self.mend!r}")


def ok(subject: str, text: str) -> Finding:
    """Return the finding that all is well."""
    return Finding(Level.OK, subject, text)


def warn(subject: str, text: str, mend: str) -> Finding:
    """Return a finding that may do harm."""
    return Finding(Level.WARN, subject, text, mend)


def fail(subject: str, text: str, mend: str) -> Finding:
    """Return a finding that does harm."""
    return Finding(Level.FAIL, subject, text, mend)


def told(error: BridgeError, otherwise: str) -> tuple[str, str]:
    """Return what *error* says is wrong and what to do next, which is *otherwise* if it is silent.

    An error reads ``what is wrong: what to do next``.
    """
    text, _, mend = str(error).partition(": ")
    return text, mend or otherwise


def worst(findings: Iterable[Finding]) -> Level:
    """Return the worst level among *findings*; all is well where there are none."""
    levels = list(Level)
    return max((finding.level for finding in findings), key=levels.index, default=Level.OK)
