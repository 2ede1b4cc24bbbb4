"""A report as a person sees it."""

from __future__ import annotations

from bridge.bench.figures import MEASURES, Pair, Report
from bridge.bench.sheet import lines

SHEET = """\
                                        direct      through bridge     added by bridge
                                 p50       p99       p50       p99       p50       p99
warm: connections are kept
  small request               200 µs   1.00 ms    190 µs   1.20 ms    -10 µs   +200 µs
  first byte of a stream      200 µs   1.00 ms    190 µs   1.20 ms    -10 µs   +200 µs
  one event of a stream       200 µs   1.00 ms    190 µs   1.20 ms    -10 µs   +200 µs
cold: a new connection each time
  small request               200 µs   1.00 ms    190 µs   1.20 ms    -10 µs   +200 µs
  first byte of a stream      200 µs   1.00 ms    190 µs   1.20 ms    -10 µs   +200 µs
cold start of the daemon
  command returned after      300 ms
  first answer after         1234 ms

"direct" is what Python itself costs: the asking client and the stand-in for the API share one
process, and its time is in both columns. Only what is added is bridge's.
7 interleaved rounds in 4.0 s."""


def test_sheet() -> None:
    """Every time stands in its column, in a unit one can read, and what was added has a sign."""
    pair = Pair([0.0002, 0.001], [0.00019, 0.0012])
    pairs = dict.fromkeys(MEASURES, pair)
    shown = lines(Report(pairs, 0.3, 1.2341, 7, 4.0))
    assert [line.rstrip() for line in shown] == SHEET.splitlines()
