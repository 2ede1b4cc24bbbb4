"""The verb that shows on one screen how the daemon and its credentials are doing."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping

from bridge.clock import SystemClock
from bridge.commands.check import Question
from bridge.errors import UsageError
from bridge.status.gathering import Document, gathered
from bridge.status.report import rows
from bridge.status.screen import lines, may_colour

Options = Mapping[str, object]

_CLOCK = SystemClock()


def status(options: Options, *, as_json: bool, watch: bool) -> int:
    """Show how things stand, with *watch* until told to stop; the exit code is ``--check``'s."""
    if watch:
        return _watch(options, as_json=as_json)
    document = _look(options)
    if as_json:
        print(json.dumps(document, indent=2))
    else:
        for line in _lines(document, shutil.get_terminal_size().columns):
            print(line)
    return int(document["exit_code"])


def _watch(options: Options, *, as_json: bool) -> int:
    if as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("--watch takes a terminal: leave it out, or use --json in a loop")
    from bridge.status.watch import watched

    def look(columns: int) -> tuple[int, list[str]]:
        document = _look(options)
        return int(document["exit_code"]), _lines(document, columns)

    return watched(look)


def _look(options: Options) -> Document:
    port = options.get("port")
    return gathered(options, port if isinstance(port, int) else Question().port, _CLOCK)


def _lines(document: Document, columns: int) -> list[str]:
    colour = may_colour(os.environ, terminal=sys.stdout.isatty())
    return list(lines(rows(document, _CLOCK.now()), columns, colour=colour))
