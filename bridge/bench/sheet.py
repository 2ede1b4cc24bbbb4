"""Sets a report in plain text, for a person. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from bridge.bench.figures import MEASURES, Quantiles, Report, quantiles

TITLE: Final = "bridge bench: what bridge adds to a request, on this machine alone"

_NAME: Final = 26
_CELL: Final = 10
_HEADINGS: Final = {
    "warm_small": "warm: connections are kept",
    "cold_small": "cold: a new connection each time",
}
_NOTE: Final = """\
"direct" is what Python itself costs: the asking client and the stand-in for the API share one
process, and its time is in both columns. Only what is added is bridge's."""


def lines(report: Report) -> list[str]:
    """Return the lines of the sheet, without the title."""
    return [
        " " * _NAME
        + _cells(("direct", "", "through bridge", "", "added by bridge", ""), wide=True),
        " " * _NAME + _cells(("p50", "p99") * 3),
        *_rows(report),
        "cold start of the daemon",
        _named("command returned after") + _cells([_time(report.returned)]),
        _named("first answer after") + _cells([_time(report.answered)]),
        "",
        *_NOTE.splitlines(),
        f"{report.rounds} interleaved rounds in {report.seconds:.1f} s.",
    ]


def _rows(report: Report) -> Iterable[str]:
    for name, pair in report.pairs.items():
        if name in _HEADINGS:
            yield _HEADINGS[name]
        sides = (quantiles(pair.direct), quantiles(pair.bridge))
        yield _named(MEASURES[name]) + _cells(
            [*_times(sides[0]), *_times(sides[1]), *_times(pair.added, sign="+")]
        )


def _named(name: str) -> str:
    return f"  {name}".ljust(_NAME)


def _times(found: Quantiles, sign: str = "") -> tuple[str, str]:
    return _time(found.p50, sign), _time(found.p99, sign)


def _time(seconds: float, sign: str = "") -> str:
    """Return *seconds* in the unit in which they have at most three figures before the point."""
    if abs(seconds) < 0.9995e-3:
        return f"{seconds * 1e6:{sign}.0f} µs"
    digits = 2 if abs(seconds) < 0.1 else 0
    return f"{seconds * 1e3:{sign}.{digits}f} ms"


def _cells(cells: Iterable[str], *, wide: bool = False) -> str:
    """Return *cells*, each in its column; *wide* ones stand over two columns."""
    if wide:
        return "".join(f"{cell:>{2 * _CELL}}" for cell in cells if cell)
    return "".join(f"{cell:>{_CELL}}" for cell in cells)
