"""Runs the soak: ``python -m tests.soak --minutes 30 [--seed N]``; ends 0 if nothing went wrong."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.fakes import loop
from tests.soak.life import life

#: Seconds between two calms.
CALM_EVERY = 20.0


async def _soak(seconds: float, seed: int) -> int:
    with tempfile.TemporaryDirectory(prefix="bridge-soak-") as folder:
        async with life(Path(folder), seed) as soak:
            report = await soak.lasts(seconds, CALM_EVERY)
    for line in report.lines():
        print(line)
    return 1 if report.wrong else 0


def main() -> int:
    """Run it as the command line says."""
    parser = argparse.ArgumentParser(description="mixed load and bad weather, every answer checked")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, help="of an earlier run, to see its weather again")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(1 << 30)
    print(f"seed {seed}", flush=True)
    done: list[int] = []

    async def run() -> None:
        done.append(await _soak(options.minutes * 60, seed))

    loop.run(run())
    return done[0]


if __name__ == "__main__":
    sys.exit(main())
