"""Sets what the rounds found as tables in Markdown, for a terminal and for ``docs``. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from benchmarks.metrics import METRICS, TLS_METRICS, VERDICTS, Metric, Row, row
from benchmarks.phases import BODIES, STREAMS
from benchmarks.rounds import Round

BEGIN: Final = "<!-- measured: written by benchmarks/run.py --write-docs -->"
END: Final = "<!-- end of what was measured -->"
_COLUMNS: Final = ("direct", "nginx", "aiohttp")


def main_table(runs: Sequence[Sequence[Round]]) -> list[str]:
    """Return the table of all metrics, with what counts for each of *runs*."""
    return _grid(
        ("", *_COLUMNS, "bridge", "counts", "must", "aim", "reached"), _lines(METRICS, runs)
    )


def tls_table(runs: Sequence[Sequence[Round]]) -> list[str]:
    """Return the table of the loads with TLS to the upstream; empty where there were none."""
    lines = [[*cells[:1], *cells[2:6]] for cells in _lines(TLS_METRICS, runs)]
    return _grid(("TLS to the upstream", *_COLUMNS[1:], "bridge", "ratio"), lines)


def growth_tables(runs: Sequence[Sequence[Round]]) -> list[str]:
    """Return how cost grows with streams and with bodies; empty where that was not measured."""
    rounds = [found for run in runs for found in run]
    streams = _grid(
        (
            *("streams", "subject", "event p50, µs", "processor time of one event, µs"),
            *("silent: kB a stream", "silent: processors busy"),
        ),
        (
            [
                *(str(n), name),
                _median(rounds, f"streams{n}", name, "p50_us"),
                _median(rounds, f"streams{n}", name, "cpu_us"),
                _median(rounds, f"silent{n}", name, "kb_per_stream"),
                _median(rounds, f"silent{n}", name, "busy_cores"),
            ]
            for n in STREAMS
            for name in ("nginx", "bridge")
        ),
    )
    bodies = _grid(
        (
            "body",
            "subject",
            "p50, µs",
            "p50 of a MB, µs",
            "processor time of a MB, ms",
            "growth, MB",
        ),
        (
            [
                *(_size(n), name),
                _median(rounds, f"body{n}", name, "p50_us"),
                _median(rounds, f"body{n}", name, "p50_us", scale=1e6 / n),
                _median(rounds, f"body{n}", name, "cpu_ms_per_mb"),
                _median(rounds, f"body{n}", name, "growth_mb"),
            ]
            for n in BODIES
            for name in ("nginx", "bridge")
        ),
    )
    return [*streams, *([""] if streams and bodies else []), *bodies]


def missed(runs: Sequence[Sequence[Round]]) -> list[str]:
    """Return, in words, what does not reach its "must" in every run."""
    return [
        f"{rows[0].metric.phase}: {rows[0].metric.label.removeprefix('… ')}"
        for rows in _rows(METRICS, runs)
        if _worst(rows) == "no"
    ]


def inserted(document: str, block: Iterable[str]) -> str:
    """Return *document* with *block* between the two marks. Raises ``ValueError`` without marks."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the marks are missing: {BEGIN} and {END}")
    return "\n".join([before + BEGIN, "", *block, "", END + after])


def _rows(metrics: Iterable[Metric], runs: Sequence[Sequence[Round]]) -> list[list[Row]]:
    every = [[found for run in runs if (found := row(metric, run))] for metric in metrics]
    return [rows for rows in every if rows]


def _lines(metrics: Iterable[Metric], runs: Sequence[Sequence[Round]]) -> list[list[str]]:
    return [_line(rows) for rows in _rows(metrics, runs)]


def _line(rows: Sequence[Row]) -> list[str]:
    metric = rows[0].metric
    values = [
        _number(statistics.median(some)) if (some := _values(rows, name)) else ""
        for name in (*_COLUMNS, metric.subject)
    ]
    values = [f"{value} {metric.unit}" if value else "" for value in values]
    counted = [each.counts for each in rows if each.counts is not None]
    times = "x" if metric.against else ""
    return [
        metric.label + ("\\*" if any(each.disturbed for each in rows) else ""),
        *values,
        " · ".join(times + _number(each) for each in counted),
        _limit(metric, metric.must),
        _limit(metric, metric.aim),
        _worst(rows),
    ]


def _values(rows: Sequence[Row], name: str) -> list[float]:
    return [each.values[name] for each in rows if name in each.values]


def _worst(rows: Sequence[Row]) -> str:
    return max((each.verdict for each in rows), key=VERDICTS.index)


def _limit(metric: Metric, limit: float | None) -> str:
    if limit is None:
        return ""
    sign = "≥" if metric.more_is_better else "≤"
    return f"{sign} {limit:g}" + ("" if metric.against else f" {metric.unit}")


def _number(value: float) -> str:
    """Return three figures, and never an exponent."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _size(number: int) -> str:
    return f"{number // 1_000_000} MB" if number >= 1_000_000 else f"{number // 1000} kB"


def _median(
    rounds: Sequence[Round], phase: str, subject: str, key: str, *, scale: float = 1.0
) -> str:
    results = [found[phase][subject] for found in rounds if subject in found.get(phase, {})]
    values = [result[key] for result in results if key in result]
    return _number(statistics.median(values) * scale) if values else ""


def _grid(head: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    """Return a Markdown table that is straight in a terminal too, without its empty lines."""
    kept = [list(line) for line in lines if any(line[2:])]
    if not kept:
        return []
    rows = [list(head), *kept]
    widths = [max(3, *(len(cells[n]) for cells in rows)) for n in range(len(head))]
    ruler = ["-" * width for width in widths]
    return [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        + " |"
        for cells in (rows[0], ruler, *rows[1:])
    ]


def wear_lines(wear: Sequence[Mapping[str, Mapping[str, float]]]) -> list[str]:
    """Return what the subjects held after the first round and after the last."""
    if not wear:
        return []
    first, last = wear[0], wear[-1]
    return [
        f"- {name}: {_number(first[name]['resident_mb'])} MB and "
        f"{first[name]['descriptors']:.0f} descriptors after the first round, "
        f"{_number(last[name]['resident_mb'])} MB and "
        f"{last[name]['descriptors']:.0f} after the last"
        for name in first
        if name in last
    ]
