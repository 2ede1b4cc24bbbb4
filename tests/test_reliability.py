"""The table of what was survived says what the suites have found, and nothing else."""

from __future__ import annotations

import pytest

from tests.reliability import BEGIN, DOCUMENT, END, Verdict, inserted, summary, told

MACHINE = dict.fromkeys(
    ("processor", "memory", "kernel", "bridge", "revision", "python", "uvloop", "httptools"), "x"
)
VERDICTS = [
    Verdict("power", "kill -9 at each step", "nothing lost"),
    Verdict("faults", "upstream: status-500", "500 as it came", 0.4),
    Verdict("faults", "authorization server: status-500", "503, may be tried again", 6.26),
    Verdict("faults", "upstream: RST-at-once", "502 | may be tried again", 0.1),
]


def test_the_summary() -> None:
    """Each area has what was tried, what held and the worst recovery; a failure is not hidden."""
    assert summary(VERDICTS, {"faults": 1, "fuzz": 0})[2:] == [
        "| faults | 4 | 3 | 6.3 s |",
        "| power | 1 | 1 |  |",
    ]
    assert summary([], {"abuse": 2})[2:] == ["| abuse | 2 | 0 |  |"]


def test_the_list() -> None:
    """A fault has one line with both servers side by side, and no cell breaks the table."""
    found = {"command": "c", "date": "d", "seconds": 61, "machine": MACHINE, "failed": {}}
    lines = told({**found, "verdicts": [vars_of(each) for each in VERDICTS]})
    assert lines[0] == "`c`, d, 1 min 1 s"
    assert "| status 500 | 500 as it came (0.4 s) | 503, may be tried again (6.3 s) |" in lines
    assert "| RST at once | 502 \\| may be tried again (0.1 s) |  |" in lines
    assert "| kill -9 at each step | nothing lost |" in lines


def test_the_document_has_its_place() -> None:
    """What is written by hand stays, and only the part between the marks is replaced."""
    document = DOCUMENT.read_text()
    once = inserted(document, "found")
    assert inserted(once, "found") == once
    assert once.partition(BEGIN)[0] == document.partition(BEGIN)[0]
    assert once.partition(END)[2] == document.partition(END)[2]
    with pytest.raises(ValueError, match="marks"):
        inserted("no marks", "found")


def vars_of(verdict: Verdict) -> dict[str, object]:
    """Return *verdict* as a line of the file has it."""
    return {name: getattr(verdict, name) for name in ("area", "case", "saw", "seconds")}
