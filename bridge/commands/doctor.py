"""The verb that finds what would go wrong, and says how to mend it."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, TextIO

from bridge import __version__
from bridge.clock import SystemClock
from bridge.commands.shell import executable
from bridge.doctor.examination import Examination, examine
from bridge.doctor.finding import Finding, Level, worst

Options = Mapping[str, object]

_COLOURS: Final = {Level.OK: "32", Level.WARN: "33", Level.FAIL: "31"}
_DASH: Final = "—"


def doctor(options: Options, *, as_json: bool) -> int:
    """Print a line for each finding, or all of them as a JSON document.

    The exit code is 0 where nothing is worse than a warning, else 1, and 78 where the configuration
    cannot be used.
    """
    # What goes wrong on the way is a finding; no library needs to tell it a second time.
    logging.getLogger().addHandler(logging.NullHandler())
    examination = examine(
        options,
        environment=dict(os.environ),
        here=_here(),
        named=executable(sys.argv[0]),
        clock=SystemClock(),
    )
    if as_json:
        print(json.dumps(document(examination), indent=2))
    else:
        for line in lines(examination.findings, sys.stdout, os.environ):
            print(line)
    return examination.exit_code


def _here() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:  # somebody has removed it
        return Path("/")


def document(examination: Examination) -> dict[str, object]:
    """Return *examination* as JSON has it; *mend* is empty where all is well."""
    findings = examination.findings
    return {
        "version": __version__,
        "status": str(worst(findings)),
        "counts": {str(level): sum(each.level is level for each in findings) for level in Level},
        "findings": [
            {
                "level": str(each.level),
                "subject": each.subject,
                "text": each.text,
                "mend": each.mend,
            }
            for each in findings
        ],
    }


def lines(
    findings: Iterable[Finding], out: TextIO, environment: Mapping[str, str]
) -> Iterator[str]:
    """Yield a line for each of *findings*, as *out* can show it.

    It is coloured on a terminal only; ``NO_COLOR`` and ``TERM=dumb`` in *environment* are obeyed.
    """
    coloured = (
        out.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"
    )
    for each in findings:
        level = f"{each.level:<4}"
        if coloured:
            level = f"\x1b[{_COLOURS[each.level]}m{level}\x1b[0m"
        mend = f"  {_DASH} {each.mend}" if each.mend else ""
        yield f"{level}  {_shown(f'{each.subject}: {each.text}{mend}', out)}"


def _shown(text: str, out: TextIO) -> str:
    """Return *text* without what a terminal might obey, or cannot show."""
    printable = "".join(each if each.isprintable() else "?" for each in text)
    encoding = out.encoding or "ascii"
    try:
        printable.encode(encoding)
    except UnicodeEncodeError:
        plain = printable.replace(_DASH, "--")
        return plain.encode(encoding, "replace").decode(encoding)
    return printable
