"""Says where the files are that a look from outside needs, without reading any."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from bridge.config import Paths, paths

Options = Mapping[str, object]


def located(options: Options) -> Paths:
    """Return where the files are; even root in somebody else's home may know."""
    environment = dict(os.environ)
    for option, variable in (("config", "BRIDGE_CONFIG"), ("pid_file", "BRIDGE_PID_FILE")):
        if options.get(option):
            environment[variable] = str(Path(str(options[option])).absolute())
    return paths(environment)
