"""Measures bridge against nothing, nginx and a plain aiohttp pass-through, and prints the table.

    python benchmarks/run.py [--rounds N] [--runs N] [--phases A,B] [--full] [--write-docs]

Needs an installed bridge beside this interpreter, and ``apt-get install golang-go nginx``.
Everything stays on loopback, in processes of its own and in a temporary folder.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import check, starting, table
from benchmarks.generator import Result, WrongCredentials, rig
from benchmarks.machine import FOREIGN_CORES, described
from benchmarks.phases import COMMANDS, LOADS, chosen
from benchmarks.rounds import REPEATS, Bench, Round, wear
from benchmarks.subjects import ALL, NGINX

DOCUMENT: Final = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
OUT: Final = DOCUMENT.parents[1] / "build" / "benchmark.json"
CHECKS: Final = 30


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write; 1 if something failed or a "must" was missed."""
    asked = _asked(argv)
    if asked.again:
        found = json.loads(asked.again.read_text())
    else:
        found = _measured(asked)
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps(found, indent=1) + "\n")
        print(f"written: {asked.out}")
    block = _block(found)
    print("\n" + "\n".join(block))
    if asked.write_docs:
        DOCUMENT.write_text(table.inserted(DOCUMENT.read_text(), block))
        print(f"written: {DOCUMENT}")
    runs = _rounds_of(found)
    for label in table.missed(runs):
        print(f"missed: {label}")
    for failure in found["failures"]:
        print(f"failed: {failure}")
    return 1 if found["failures"] or table.missed(runs) else 0


def _asked(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds of a run (5)")
    parser.add_argument("--runs", type=int, default=1, help="runs in a row (1)")
    parser.add_argument("--phases", default="", help="only these, separated by commas")
    parser.add_argument("--subjects", default=",".join(ALL), help="only these")
    parser.add_argument("--full", action="store_true", help="TLS and how cost grows, too")
    parser.add_argument(
        "--repeats", type=int, default=REPEATS, help="of what others disturb; 0: do not care (2)"
    )
    parser.add_argument("--out", type=Path, default=OUT, help="where JSON goes")
    parser.add_argument("--write-docs", action="store_true", help="put it into docs/performance.md")
    parser.add_argument("--again", type=Path, metavar="JSON", help="measure nothing, show this")
    asked = parser.parse_args(argv)
    asked.command = _command(asked, asked.phases)
    try:
        asked.phases = chosen(asked.phases, full=asked.full)
    except ValueError as error:
        parser.error(str(error))
    named = asked.subjects.split(",")
    if unknown := [name for name in named if name not in ALL]:
        parser.error(f"no such subject: {', '.join(unknown)}: there are {', '.join(ALL)}")
    asked.subjects = [name for name in ALL if name in named]
    needed = {"go": "go", "nginx": NGINX} if "nginx" in asked.subjects else {"go": "go"}
    missing = [name for name, tool in needed.items() if not shutil.which(tool)]
    if missing and not asked.again:
        parser.error(f"missing: {', '.join(missing)}: apt-get install golang-go nginx")
    return asked


def _command(asked: argparse.Namespace, phases: str) -> str:
    """Return the command that would measure the same again, without anybody's file names."""
    words = [
        "python",
        "benchmarks/run.py",
        "--runs",
        str(asked.runs),
        "--rounds",
        str(asked.rounds),
    ]
    words += ["--full"] if asked.full else []
    words += ["--phases", phases] if phases else []
    return shlex.join(words)


def _measured(asked: argparse.Namespace) -> dict[str, Any]:
    """Return everything that was found, as it is written to the file."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bridge-bench-")))
        folder.chmod(0o755)  # nginx's workers may be somebody else
        built = stack.enter_context(rig(folder))
        bench = Bench(built, folder, asked.subjects, _say, asked.repeats)
        runs = []
        for number in range(asked.runs):
            _say(f"run {number + 1} of {asked.runs}")
            runs.append(_run(bench, asked.phases, asked.rounds))
    return {
        "command": asked.command,
        "machine": described(NGINX),
        "rounds": asked.rounds,
        "runs": runs,
        "failures": bench.failures,
    }


def _run(bench: Bench, phases: Sequence[str], rounds: int) -> dict[str, Any]:
    loads = [name for name in phases if name in LOADS]
    plain = [name for name in loads if not LOADS[name].tls]
    secure = [name for name in loads if LOADS[name].tls]
    found: list[Round] = [{} for _ in range(rounds)]
    worn: list[dict[str, Result]] = []
    with bench.running() as running:
        for number in range(rounds):
            found[number] |= bench.round(number, plain, running)
            worn.append(wear(running))
            found[number] |= _commands(bench, [name for name in phases if name in COMMANDS])
    if secure:
        with bench.running(tls=True) as running:
            for number in range(rounds):
                found[number] |= bench.round(number, secure, running)
    return {"rounds": found, "wear": worn}


def _commands(bench: Bench, phases: Sequence[str]) -> Round:
    found: Round = {}
    if "start" in phases:
        with bench.noted("start"):
            found["start"] = dict(_starts(bench))
            _say(f"start: {_milliseconds(found['start'], 'start_seconds', 1000)}")
    if "check" in phases:
        bench.quiet()
        with bench.noted("check"):
            found["check"] = check.measured(CHECKS)
            _say(f"check: {_milliseconds(found['check'], 'wall_ms', 1)}")
    return found


def _starts(bench: Bench) -> Iterator[tuple[str, Result]]:
    for name in bench.names:
        if name != "direct":
            start = partial(starting.in_foreground, bench.rig, bench.made(name))
            yield name, starting.median(start, bench.quiet)
    if "bridge" in bench.names:
        start = partial(starting.in_background, bench.rig, bench.made("bridge"))
        yield "background", starting.median(start, bench.quiet)


def _milliseconds(found: Mapping[str, Result], key: str, scale: float) -> str:
    return ", ".join(f"{name} {result[key] * scale:.1f} ms" for name, result in found.items())


def _rounds_of(found: Mapping[str, Any]) -> list[list[Round]]:
    return [run["rounds"] for run in found["runs"]]


def _block(found: Mapping[str, Any]) -> list[str]:
    """Return what was measured, in Markdown."""
    runs = _rounds_of(found)
    machine = found["machine"]
    lines = [
        _told(found),
        "",
        f"- {machine['processor']}, {machine['memory']}, {machine['kernel']}",
        f"- bridge {machine['bridge']} ({machine['revision']}), Python {machine['python']}",
        f"- uvloop {machine['uvloop']}, httptools {machine['httptools']}",
        f"- nginx {machine['nginx']}, aiohttp {machine['aiohttp']}, Go {machine['go']}",
    ]
    if any("\\*" in line for line in table.main_table(runs)):
        lines.append(
            f"- \\* others took more than {FOREIGN_CORES} processors, at the last repeat too"
        )
    tables = (table.main_table(runs), table.tls_table(runs), table.growth_tables(runs))
    for each in tables:
        lines += ["", *each] if each else []
    worn = table.wear_lines([each for run in found["runs"][-1:] for each in run["wear"]])
    return [*lines, *(["", "What the processes held in the last run:", "", *worn] if worn else [])]


def _told(found: Mapping[str, Any]) -> str:
    return f"`{found['command']}` (runs: {len(found['runs'])}, rounds in each: {found['rounds']})"


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # and clean up
    try:
        sys.exit(main())
    except WrongCredentials as error:
        sys.exit(f"stopped: {error}")
