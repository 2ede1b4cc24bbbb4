"""Writes down what the suites under fire have found, for the table in docs/reliability.md."""

from __future__ import annotations

import json
import os
from pathlib import Path


def record(area: str, case: str, saw: str, seconds: float | None = None) -> None:
    """Note that *case* of *area* held, what was *saw*, and in how many *seconds* it had recovered.

    Does nothing unless ``BRIDGE_TEST_VERDICTS`` names a file. Each verdict is one line of JSON,
    written at once and whole, so that several processes may write.
    """
    if not (place := os.environ.get("BRIDGE_TEST_VERDICTS")):
        return
    line = json.dumps({"area": area, "case": case, "saw": saw, "seconds": seconds}) + "\n"
    with Path(place).open("a", encoding="utf-8") as file:
        file.write(line)
