"""Runs the suites that attack the daemon and writes down what they have found.

    python -m tests.reliability [--full] [--suites A,B] [--write-docs] [--again FILE]

With ``--write-docs`` the generated part of ``docs/reliability.md`` is written anew, ``--full`` runs
the suites in full length, and ``--again`` runs nothing and takes what an earlier run has left.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

from benchmarks.machine import described

ROOT: Final = Path(__file__).parents[1]
DOCUMENT: Final = ROOT / "docs" / "reliability.md"
OUT: Final = ROOT / "build" / "reliability.json"
SUITES: Final = ("faults", "power", "abuse", "fuzz", "soak", "secrets")
BEGIN: Final = "<!-- found: written by python -m tests.reliability --write-docs -->"
END: Final = "<!-- end of what was found -->"
#: How the cases of the fault suite begin, and the column in which they stand.
SERVERS: Final = {"upstream": "provider", "authorization server": "authorization server"}
_AREA: Final = "| area | cases | held | worst recovery |"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One case that held: what was seen, and how many *seconds* until all was well again."""

    area: str
    case: str
    saw: str
    seconds: float | None = None


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, write; 1 if a case did not hold."""
    asked = _asked(argv)
    if asked.again:
        found = json.loads(asked.again.read_text())
    else:
        found = _run(asked.suites.split(","), full=asked.full)
        OUT.parent.mkdir(exist_ok=True)
        OUT.write_text(json.dumps(found, indent=1) + "\n")
    block = "\n".join(told(found))
    sys.stdout.write(block + "\n")
    if asked.write_docs:
        DOCUMENT.write_text(inserted(DOCUMENT.read_text(), block))
    return 1 if any(found["failed"].values()) or found["code"] else 0


def told(found: Mapping[str, Any]) -> list[str]:
    """Return what was found, in Markdown."""
    verdicts = [Verdict(**each) for each in found["verdicts"]]
    machine = found["machine"]
    minutes, seconds = divmod(round(found["seconds"]), 60)
    lines = [
        f"`{found['command']}`, {found['date']}, {minutes} min {seconds} s",
        "",
        f"- {machine['processor']}, {machine['memory']}, {machine['kernel']}",
        f"- bridge {machine['bridge']} ({machine['revision']}), Python {machine['python']}",
        f"- uvloop {machine['uvloop']}, httptools {machine['httptools']}",
        "",
        *summary(verdicts, found["failed"]),
    ]
    for area in _areas(verdicts):
        own = [each for each in verdicts if each.area == area]
        lines += [
            "",
            f"### {area.capitalize()}",
            "",
            *(_pairs(own) if _paired(own) else _list(own)),
        ]
    return lines


def summary(verdicts: Sequence[Verdict], failed: Mapping[str, int]) -> list[str]:
    """Return the table by area; what *failed* (tests by area) was tried, and did not hold."""
    lines = [_AREA, "|---|---|---|---|"]
    for area in _areas(verdicts, failed):
        held = [each for each in verdicts if each.area == area]
        times = [each.seconds for each in held if each.seconds is not None]
        worst = f"{max(times):.1f} s" if times else ""
        lines.append(f"| {area} | {len(held) + failed.get(area, 0)} | {len(held)} | {worst} |")
    return lines


def inserted(document: str, block: str) -> str:
    """Return *document* with *block* between the two marks. Raises ``ValueError`` without marks."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the marks are missing: {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{block}\n\n{END}{after}"


def _pairs(verdicts: Iterable[Verdict]) -> list[str]:
    """Return one line for each fault, with a column for either server that can have it."""
    seen: dict[str, dict[str, str]] = {}
    for each in verdicts:
        server, _, fault = each.case.partition(": ")
        seen.setdefault(fault, {})[server] = _cell(each)
    lines = [f"| fault | {' | '.join(SERVERS.values())} |", "|---|---|---|"]
    for fault in sorted(seen, key=_naturally):
        cells = [seen[fault].get(server, "") for server in SERVERS]
        lines.append(f"| {_plain(fault.replace('-', ' '))} | {' | '.join(cells)} |")
    return lines


def _list(verdicts: Iterable[Verdict]) -> list[str]:
    lines = ["| case | seen |", "|---|---|"]
    cases = sorted(verdicts, key=lambda each: _naturally(each.case))
    return lines + [f"| {_plain(each.case)} | {_cell(each)} |" for each in cases]


def _cell(verdict: Verdict) -> str:
    seconds = f" ({verdict.seconds:.1f} s)" if verdict.seconds is not None else ""
    return _plain(verdict.saw) + seconds


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _naturally(text: str) -> tuple[bool, str]:
    """Sort statuses behind words."""
    return text.removeprefix("status-")[:1].isdigit(), text.casefold()


def _paired(verdicts: Sequence[Verdict]) -> bool:
    return all(each.case.partition(": ")[0] in SERVERS for each in verdicts)


def _areas(verdicts: Iterable[Verdict], failed: Mapping[str, int] | None = None) -> list[str]:
    known = {each.area for each in verdicts} | {name for name, n in (failed or {}).items() if n}
    return sorted(known, key=lambda name: SUITES.index(name) if name in SUITES else len(SUITES))


def _run(areas: Sequence[str], *, full: bool) -> dict[str, Any]:
    suites = [f"tests/{name}" for name in areas if (ROOT / "tests" / name).is_dir()]
    begun = _now()
    with tempfile.TemporaryDirectory(prefix="bridge-verdicts-") as name:
        verdicts, report = Path(name) / "verdicts", Path(name) / "report.xml"
        environment = {**os.environ, "BRIDGE_TEST_VERDICTS": str(verdicts)}
        if full:
            environment["BRIDGE_TEST_FULL"] = "1"
        words = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *suites]
        code = subprocess.run(words, cwd=ROOT, env=environment, check=False).returncode
        lines = verdicts.read_text().splitlines() if verdicts.exists() else []
        failed = _failed(report)
    command = ["python", "-m", "tests.reliability", *(["--full"] if full else [])]
    command += [] if tuple(areas) == SUITES else ["--suites", ",".join(areas)]
    return {
        "command": shlex.join(command),
        "date": f"{begun:%Y-%m-%d}",
        "seconds": (_now() - begun).total_seconds(),
        "machine": described("nginx"),
        "code": code,
        "failed": failed,
        "verdicts": [json.loads(line) for line in lines],
    }


def _failed(report: Path) -> dict[str, int]:
    """Return how many tests have failed, by the name of their suite."""
    failed = dict.fromkeys(SUITES, 0)
    for case in ET.parse(report).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            area = case.get("classname", "").split(".")[1]
            failed[area] = failed.get(area, 0) + 1
    return failed


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)  # noqa: TID251 - when a table was made is what people ask first


def _asked(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument("--full", action="store_true", help="run the suites in full length")
    parser.add_argument("--suites", default=",".join(SUITES), help="only these")
    parser.add_argument("--write-docs", action="store_true", help="put it into the document")
    parser.add_argument("--again", type=Path, metavar="JSON", help="run nothing, show this")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
