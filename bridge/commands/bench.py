"""The verb that says what bridge costs on this machine."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import signal
from collections.abc import Mapping
from typing import Final

from bridge import __version__
from bridge.bench import sheet
from bridge.bench.trial import Bench
from bridge.clock import SystemClock
from bridge.errors import UsageError

#: With fewer, starting and stopping would be all; with more, nobody waits for the end.
LEAST_SECONDS: Final = 3.0
MOST_SECONDS: Final = 600.0


def bench(options: Mapping[str, object], *, as_json: bool, seconds: float) -> int:
    """Measure for *seconds* in all and print what was found, as text or JSON.

    Of *options*, port and log level hold for the daemon that is measured; it has a home of its
    own, so a configuration or a PID file of the person's are wrong usage.
    """
    if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        raise UsageError(f"--seconds: say {LEAST_SECONDS:.0f} to {MOST_SECONDS:.0f}")
    for name in ("config", "pid_file"):
        if options.get(name):
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"bench has a temporary home of its own: leave out {option}")
    level, port = options.get("log_level"), options.get("port")
    words = ["--log-level", str(level)] if level else []
    if not as_json:
        print(f"{sheet.TITLE}; about {seconds:.0f} s ...", flush=True)
    measuring = Bench(dict(os.environ), SystemClock(), seconds, int(str(port or 0)), words)
    try:
        report = asyncio.run(measuring.run())
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM
    if as_json:
        system = {"bridge": __version__, "python": platform.python_version()}
        print(json.dumps({**system, **report.document()}, indent=2))
    else:
        print("", *sheet.lines(report), sep="\n")
    return 0
