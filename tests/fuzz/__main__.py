"""Fuzzes the targets for a time: ``python -m tests.fuzz --seconds 60 [TARGET…]``.

Guided by coverage where ``atheris`` is installed (it is no dependency: its wheels are for Linux and
few Pythons), by chance alone elsewhere. Each target runs in a process of its own. Ends 0 if no
promise was broken; the bytes that broke one are printed.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from bridge.clock import SystemClock

NAMES = (
    *("requests", "answers", "configuration", "credential", "grants", "keys", "records"),
    *("journals", "targets", "bodies", "log_lines", "pauses", "complaints"),
)


def by_coverage(name: str, seconds: float) -> None:
    """Let atheris look for bytes that break *name*; it ends the process."""
    atheris = importlib.import_module("atheris")

    with atheris.instrument_imports(include=["bridge", "h11", "tests.fuzz"]):
        from tests.fuzz.targets import SEEDS  # noqa: PLC0415 - instrumented on its way in

    target, seeds = next((t, s) for t, s in SEEDS.items() if t.__name__ == name)
    with tempfile.TemporaryDirectory(prefix="bridge-corpus-") as corpus:
        for number, seed in enumerate(seeds):
            (Path(corpus) / str(number)).write_bytes(seed)
        limits = [f"-max_total_time={seconds:.0f}", "-max_len=4096", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], corpus, *limits, f"-artifact_prefix={name}-"], target)
        atheris.Fuzz()


def by_chance(name: str, seconds: float, seed: int) -> int:
    """Try what seeds may become, and say how many tries there were."""
    from tests.fuzz.mutation import changed  # noqa: PLC0415 - only where it is needed
    from tests.fuzz.targets import SEEDS  # noqa: PLC0415 - as above

    target, seeds = next((t, s) for t, s in SEEDS.items() if t.__name__ == name)
    chance, clock, tries = random.Random(seed), SystemClock(), 0
    until, pool = clock.monotonic() + seconds, list(seeds)
    while clock.monotonic() < until:
        data = changed(chance.choice(pool), chance)
        try:
            target(data)
        except BaseException:
            print(f"{name}: {data!r}", file=sys.stderr)
            raise
        tries += 1
        if tries % 1000 == 0:  # now and then go on from there
            pool = [*seeds, *pool[len(seeds) :][-20:], data[:4096]]
    print(f"{name}: {tries} inputs held (by chance, seed {seed})")
    return 0


def main() -> int:
    """Fuzz what the command line names, one after the other."""
    parser = argparse.ArgumentParser(description="look for bytes that break a promise")
    parser.add_argument("--seconds", type=float, default=60, help="for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--by-chance", action="store_true", help="without atheris")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*", metavar="TARGET", choices=[*NAMES, []])
    options = parser.parse_args()
    guided = importlib.util.find_spec("atheris") is not None and not options.by_chance
    if options.here and guided:
        by_coverage(options.targets[0], options.seconds)
    if options.here:
        return by_chance(options.targets[0], options.seconds, options.seed)
    worst = 0
    for name in options.targets or NAMES:
        words = ["--here", "--seconds", str(options.seconds), "--seed", str(options.seed)]
        words += ["--by-chance"] if options.by_chance else []
        done = subprocess.run([sys.executable, "-m", "tests.fuzz", *words, name], check=False)
        print(f"{name}: {'held' if done.returncode == 0 else 'BROKEN'}", flush=True)
        worst = max(worst, abs(done.returncode))
    return 1 if worst else 0


if __name__ == "__main__":
    sys.exit(main())
