"""Holds times that were taken and says what bridge added to them. Pure.

Two quantiles are told of everything: the usual case (``p50``) and the unlucky one (``p99``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

#: What is measured, in the order in which it is shown.
MEASURES: Final = {
    "warm_small": "small request",
    "warm_first": "first byte of a stream",
    "warm_event": "one event of a stream",
    "cold_small": "small request",
    "cold_first": "first byte of a stream",
}


@dataclass(frozen=True, slots=True)
class Quantiles:
    """The usual and the unlucky case, in seconds."""

    p50: float
    p99: float

    def __sub__(self, other: Quantiles) -> Quantiles:
        return Quantiles(self.p50 - other.p50, self.p99 - other.p99)


def quantiles(seconds: Sequence[float]) -> Quantiles:
    """Return the quantiles of some times; each is one that was really taken (nearest rank)."""
    ranked = sorted(seconds)

    def at(share: float) -> float:
        return ranked[max(0, math.ceil(share * len(ranked)) - 1)]

    return Quantiles(at(0.5), at(0.99))


@dataclass(frozen=True, slots=True)
class Pair:
    """The times of one measure: *direct*, and through *bridge*."""

    direct: list[float] = field(default_factory=list)
    bridge: list[float] = field(default_factory=list)

    @property
    def added(self) -> Quantiles:
        """What bridge added; noise can make a small one negative."""
        return quantiles(self.bridge) - quantiles(self.direct)


@dataclass(frozen=True, slots=True)
class Report:
    """All that one bench has found: *pairs* by measure, and the daemon's cold start.

    *returned* and *answered* are the seconds until the command was back, and until the first
    answer had passed; *rounds* and *seconds* say how much was measured.
    """

    pairs: dict[str, Pair]
    returned: float
    answered: float
    rounds: int
    seconds: float

    def document(self) -> dict[str, object]:
        """Return it for a program, in microseconds and milliseconds."""
        return {
            "rounds": self.rounds,
            "seconds": round(self.seconds, 2),
            "start": {
                "returned_ms": _rounded(self.returned, 1e3),
                "answered_ms": _rounded(self.answered, 1e3),
            },
            **{
                kind: {
                    name.removeprefix(f"{kind}_"): _figures(pair)
                    for name, pair in self.pairs.items()
                    if name.startswith(kind)
                }
                for kind in ("warm", "cold")
            },
        }


def _figures(pair: Pair) -> dict[str, object]:
    sides = {
        "direct": quantiles(pair.direct),
        "bridge": quantiles(pair.bridge),
        "added": pair.added,
    }
    return {
        "samples": len(pair.bridge),
        **{
            side: {"p50_us": _rounded(found.p50, 1e6), "p99_us": _rounded(found.p99, 1e6)}
            for side, found in sides.items()
        },
    }


def _rounded(seconds: float, scale: float) -> float:
    return round(seconds * scale, 1)
