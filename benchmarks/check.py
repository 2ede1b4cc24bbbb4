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
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.world import World, installed


def cost(words: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Return wall and CPU seconds of one run of *words*."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run(words, env=environment, check=True, stdin=subprocess.DEVNULL)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    with tempfile.TemporaryDirectory() as folder, World(Path(folder)) as machine:
        machine.log_in()
        machine.start()
        environment = {**machine.environment, "PATH": os.environ["PATH"]}
        subjects = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "bridge --check": [installed(), "--check"],
            "bridge --check kimi": [installed(), "--check", "kimi"],
        }
        costs: dict[str, list[tuple[float, float]]] = {name: [] for name in subjects}
        for _ in range(rounds):
            for name, words in subjects.items():
                costs[name].append(cost(words, environment))
    walls = {name: statistics.median(wall for wall, _ in rows) for name, rows in costs.items()}
    cpus = {name: statistics.median(cpu for _, cpu in rows) for name, rows in costs.items()}
    base = "python -c pass"
    print(f"median of {rounds} interleaved rounds, Python {sys.version.split()[0]}")
    for name in subjects:
        print(
            f"{name:22} wall {walls[name] * 1000:6.1f} ms x{walls[name] / walls[base]:.2f}   "
            f"cpu {cpus[name] * 1000:6.1f} ms x{cpus[name] / cpus[base]:.2f}"
        )


if __name__ == "__main__":
    main()
