"""Measures ``bridge --check`` against ``python -c pass``: wall and CPU time, as ratios in one run.

    python benchmarks/check.py [ROUNDS]

Rounds are interleaved, so that a busy moment of the machine hits both. Needs an installed bridge
beside this interpreter; starts a daemon of its own in a temporary home and stops it.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.world import World, installed

#: What is run, by the name of its results.
COMMANDS: Final = {
    "pass": [sys.executable, "-c", "pass"],
    "check": [installed(), "--check"],
    "check kimi": [installed(), "--check", "kimi"],
}
TITLES: Final = {
    "pass": "python -c pass",
    "check": "bridge --check",
    "check kimi": "bridge --check kimi",
}


def cost(words: list[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Return wall and CPU seconds of one run of *words*."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run(words, env=environment, check=True, stdin=subprocess.DEVNULL)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measured(rounds: int) -> dict[str, dict[str, float]]:
    """Return the median ``wall_ms`` and ``cpu_ms`` of each of ``COMMANDS``."""
    costs: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder, World(Path(folder)) as machine:
        machine.log_in()
        machine.start()
        environment = {**machine.environment, "PATH": os.environ["PATH"]}
        for _ in range(rounds):
            for name, words in COMMANDS.items():
                costs[name].append(cost(words, environment))
    return {
        name: {
            "wall_ms": statistics.median(wall for wall, _ in rows) * 1000,
            "cpu_ms": statistics.median(cpu for _, cpu in rows) * 1000,
        }
        for name, rows in costs.items()
    }


def main() -> None:
    """Print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    found = measured(rounds)
    base = found["pass"]
    print(f"median of {rounds} interleaved rounds, Python {sys.version.split()[0]}")
    for name, row in found.items():
        print(
            f"{TITLES[name]:22} "
            f"wall {row['wall_ms']:6.1f} ms x{row['wall_ms'] / base['wall_ms']:.2f}   "
            f"cpu {row['cpu_ms']:6.1f} ms x{row['cpu_ms'] / base['cpu_ms']:.2f}"
        )


if __name__ == "__main__":
    main()
