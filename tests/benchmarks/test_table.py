"""What was found, as Markdown."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import table
from benchmarks.rounds import Round

DOCUMENT = Path(__file__).parents[2] / "docs" / "performance.md"


def found(bridge: float, nginx: float = 50.0) -> Round:
    """Return a round of small requests."""
    return {"small": {"bridge": {"p50_us": bridge}, "nginx": {"p50_us": nginx}}}


def cells(line: str) -> list[str]:
    """Return the cells of a line."""
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_main_table() -> None:
    """A row shows the medians, what counts in each run, the limits, and the worst verdict."""
    lines = table.main_table([[found(70.0)], [found(90.0)], [found(106.0)]])
    assert cells(lines[0])[-4:] == ["counts", "must", "aim", "reached"]
    assert set(lines[1]) == set("| -")
    assert cells(lines[2]) == [
        *("small request, p50", "", "50.0 µs", "", "90.0 µs"),
        *("x1.40 · x1.80 · x2.12", "≤ 2", "≤ 1.5", "within 10 %"),
    ]
    assert len({len(line) for line in lines}) == 1


def test_own_limits_have_a_unit() -> None:
    """Where bridge's own value counts, so does its unit; a rate is to be reached from below."""
    idle: Round = {"idle": {"bridge": {"resident_mb": 40.25}}}
    many: Round = {"many": {"bridge": {"per_second": 20000.0}, "nginx": {"per_second": 40000.0}}}
    rates, memory = table.main_table([[idle | many]])[2:]
    assert cells(memory)[4:] == ["40.2 MB", "40.2", "≤ 45 MB", "≤ 32 MB", "must"]
    assert cells(rates)[2:] == ["40,000 /s", "", "20,000 /s", "x0.50", "≥ 0.4", "≥ 0.6", "must"]


def test_disturbed_rows_are_marked() -> None:
    """A row of which something was disturbed has an asterisk, which Markdown leaves alone."""
    disturbed = found(70.0)
    disturbed["small"]["bridge"]["disturbed"] = 1.0
    assert table.main_table([[disturbed]])[2].startswith("| small request, p50\\* ")


def test_missed() -> None:
    """A "must" that one run has missed is missed; noise is not."""
    assert table.missed([[found(109.0)], [found(70.0)]]) == []
    assert table.missed([[found(111.0)], [found(70.0)]]) == ["small: small request, p50"]


def test_tls_table() -> None:
    """The loads over TLS have a table of their own, if there were any."""
    over: Round = {"small-tls": {"bridge": {"p50_us": 90.0}, "nginx": {"p50_us": 60.0}}}
    head, _, line = table.tls_table([[over]])
    assert cells(head) == ["TLS to the upstream", "nginx", "aiohttp", "bridge", "ratio"]
    assert cells(line) == ["small request, p50", "60.0 µs", "", "90.0 µs", "x1.50"]
    assert table.tls_table([[found(70.0)]]) == []


def test_growth() -> None:
    """Cost is told for each stream and each megabyte, so that a line that grows is seen."""
    grown: Round = {
        "streams50": {"bridge": {"p50_us": 80.0, "cpu_us": 14.0}},
        "silent50": {"bridge": {"kb_per_stream": 7.0, "busy_cores": 0.004}},
        "body10000000": {"bridge": {"p50_us": 4000.0, "growth_mb": 15.0}},
        "body10000": {"nginx": {"p50_us": 80.0, "cpu_ms_per_mb": 3.0}},
    }
    lines = [cells(line) for line in table.growth_tables([[grown]])]
    assert lines[2] == ["50", "bridge", "80.0", "14.0", "7.00", "0.00"]
    assert lines[-2] == ["10 kB", "nginx", "80.0", "8,000", "3.00", ""]
    assert lines[-1] == ["10 MB", "bridge", "4,000", "400", "", "15.0"]
    assert len(lines) == 8
    assert table.growth_tables([[found(70.0)]]) == []


def test_wear() -> None:
    """The first and the last look at what a process holds are shown side by side."""
    first = {"bridge": {"resident_mb": 45.0, "descriptors": 20.0}}
    last = {"bridge": {"resident_mb": 46.04, "descriptors": 520.0}}
    assert table.wear_lines([first, {}, last]) == [
        "- bridge: 45.0 MB and 20 descriptors after the first round, 46.0 MB and 520 after the last"
    ]
    assert table.wear_lines([]) == []


def test_insert() -> None:
    """Only what is between the marks is replaced, as often as one likes."""
    document = f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n"
    once = table.inserted(document, ["new", "lines"])
    assert once == f"before\n{table.BEGIN}\n\nnew\nlines\n\n{table.END}\nafter\n"
    assert table.inserted(once, ["new", "lines"]) == once


def test_insert_without_marks() -> None:
    """A document without its marks is not written over."""
    with pytest.raises(ValueError, match="marks are missing"):
        table.inserted(f"{table.BEGIN} only", ["new"])


def test_the_document_has_its_marks() -> None:
    """docs/performance.md can be written."""
    assert "something new" in table.inserted(DOCUMENT.read_text(), ["something new"])
