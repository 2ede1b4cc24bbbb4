"""What the table shows: a row for each metric, its limits, and whether they are reached.

Pure: it is handed what the rounds found. A ratio is taken inside a round, where both sides had
the same machine, and the median of these ratios is what counts.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.generator import Result
from benchmarks.rounds import Round

#: These machines are noisy: a median this near to a limit counts as having reached it.
NOISE: Final = 0.10


@dataclass(frozen=True, slots=True)
class Metric:
    """One row: where its number is found, and the limits (*must*, *aim*) of what counts.

    *against* is the subject that bridge is divided by; empty where bridge's own value counts.
    *beyond* is a subject whose value is taken off first: what is left is what a proxy adds.
    """

    label: str
    phase: str
    key: str
    unit: str
    must: float | None = None
    aim: float | None = None
    against: str = "nginx"
    beyond: str = ""
    more_is_better: bool = False
    scale: float = 1.0
    subject: str = "bridge"


@dataclass(frozen=True, slots=True)
class Row:
    """What one run found for a metric: *values* by subject, what *counts*, and the *verdict*."""

    metric: Metric
    values: dict[str, float]
    counts: float | None
    disturbed: bool

    @property
    def verdict(self) -> str:
        """How far the limits are reached."""
        metric = self.metric
        if metric.must is None or self.counts is None:
            return ""
        if metric.aim is not None and self._reaches(metric.aim):
            return "aim"
        if self._reaches(metric.must):
            return "must"
        near = 1 - NOISE if metric.more_is_better else 1 + NOISE
        return "within 10 %" if self._reaches(metric.must * near) else "no"

    def _reaches(self, limit: float) -> bool:
        if self.counts is None:
            return False
        return self.counts >= limit if self.metric.more_is_better else self.counts <= limit


#: From the best to the worst.
VERDICTS: Final = ("aim", "must", "within 10 %", "no", "")


METRICS: Final = (
    Metric("small request, p50", "small", "p50_us", "µs", 2.0, 1.5),
    Metric("… what the proxy adds to direct", "small", "p50_us", "µs", beyond="direct"),
    Metric("… p99", "small", "p99_us", "µs"),
    Metric("… processor time", "small", "cpu_us", "µs", 3.5, 2.0),
    Metric("requests/s, 32 at once", "many", "per_second", "/s", 0.4, 0.6, more_is_better=True),
    Metric("… processor time of one", "many", "cpu_us", "µs"),
    Metric("first byte of a stream, p50", "first", "p50_us", "µs", 1.8, 1.2),
    Metric("… p99", "first", "p99_us", "µs"),
    Metric("event of 50 paced streams, p50", "paced50", "p50_us", "µs", 1.3, 1.0),
    Metric("… p99", "paced50", "p99_us", "µs"),
    Metric("… processor time of one event", "paced50", "cpu_us", "µs", 1.2, 0.9),
    Metric("event of 500 paced streams, p50", "paced500", "p50_us", "µs", 1.6, 1.2),
    Metric("… p99", "paced500", "p99_us", "µs"),
    Metric("… processor time of one event", "paced500", "cpu_us", "µs"),
    Metric("one stream flat out", "flat", "mb_per_second", "MB/s", 1.0, 1.4, more_is_better=True),
    Metric("… processor time of a GB", "flat", "cpu_seconds_per_gb", "s"),
    Metric("1 MB request body, p50", "body1m", "p50_us", "µs", 3.0, 2.0),
    Metric("memory, just started", "idle", "started_mb", "MB", against=""),
    Metric("memory idle, after first requests", "idle", "resident_mb", "MB", 45, 32, against=""),
    Metric("… proportional (PSS)", "idle", "proportional_mb", "MB", against=""),
    Metric("memory per open stream", "open500", "kb_per_stream", "kB", 16, 8, against=""),
    Metric("growth with a stalled reader", "stalled", "growth_mb", "MB", 2, 1, against=""),
    Metric("`bridge --check` ÷ `python -c pass`", "check", "wall_ms", "ms", 2.5, 1.9, "pass",
           subject="check"),
    Metric("cold start until a request is served", "start", "start_seconds", "ms", 350, 200, "",
           scale=1000),
    Metric("… in the background", "start", "start_seconds", "ms", 350, 200, "",
           scale=1000, subject="background"),
)  # fmt: skip

TLS_METRICS: Final = (
    Metric("small request, p50", "small-tls", "p50_us", "µs"),
    Metric("… processor time", "small-tls", "cpu_us", "µs"),
    Metric("first byte of a stream, p50", "first-tls", "p50_us", "µs"),
    Metric("event of 50 paced streams, p50", "paced50-tls", "p50_us", "µs"),
    Metric("… processor time of one event", "paced50-tls", "cpu_us", "µs"),
    Metric("one stream flat out", "flat-tls", "mb_per_second", "MB/s", more_is_better=True),
)


def row(metric: Metric, rounds: Sequence[Round]) -> Row | None:
    """Return what *rounds* say about *metric*; ``None`` where it was not measured."""
    measured = [
        found[metric.phase] for found in rounds if metric.subject in found.get(metric.phase, {})
    ]
    if not measured:
        return None
    names = {name for found in measured for name in found if name != metric.beyond}
    if metric.subject != "bridge":  # a case of its own, which the others do not have
        names = {metric.subject}
    values = {
        name: statistics.median(some)
        for name in names
        if (some := [v for found in measured if (v := _value(metric, found, name)) is not None])
    }
    disturbed = any(
        found.get(name, {}).get("disturbed")
        for found in measured
        for name in {metric.subject, metric.against}
    )
    return Row(metric, values, _counted(metric, measured), disturbed)


def _value(metric: Metric, found: Mapping[str, Result], name: str) -> float | None:
    if metric.key not in found.get(name, {}) or (metric.beyond and metric.beyond not in found):
        return None
    taken_off = found[metric.beyond][metric.key] if metric.beyond else 0.0
    return (found[name][metric.key] - taken_off) * metric.scale


def _counted(metric: Metric, measured: Sequence[Mapping[str, Result]]) -> float | None:
    """Return the median of the rounds' ratios, or of bridge's own values where there are none."""
    counted = []
    for found in measured:
        ours = _value(metric, found, metric.subject)
        base = _value(metric, found, metric.against) if metric.against else 1.0
        if ours is not None and base:
            counted.append(ours / base)
    return statistics.median(counted) if counted else None
