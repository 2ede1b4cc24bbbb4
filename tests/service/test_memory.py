"""Allocator and collector of a long life."""

from __future__ import annotations

import subprocess
import sys


def in_a_process(program: str) -> str:
    """Return what *program* prints, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_blocks_of_a_request_are_kept() -> None:
    """A body's block is not given back to the kernel and faulted in again for each request."""
    program = """
import platform, resource
from bridge.service.memory import settle_allocator
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        block = b"".join([bytes(1_000_000), bytes(10)])
        del block
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
untouched = faults()
told = settle_allocator()
faults()
print(told, platform.libc_ver()[0] != "glibc" or faults() < untouched / 10)
"""
    told, fewer = in_a_process(program).split()
    assert told in {"True", "False"}
    assert fewer == "True"


def test_what_was_made_at_the_start_is_permanent() -> None:
    """Collections look at new objects only."""
    program = (
        "import gc; from bridge.service.memory import settle_collector; settle_collector(); "
        "print(gc.get_freeze_count() > 1000)"
    )
    assert in_a_process(program) == "True"
