"""What /proc tells."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import machine

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")

STAT = """\
cpu  100 20 30 4000 500 6 7 8 9 10
cpu0 50 10 15 2000 250 3 3 4 4 5
intr 1
"""


def test_busy() -> None:
    """Busy is neither idle nor waiting for a disk; what a host has stolen is gone all the same."""
    tick = 1 / os.sysconf("SC_CLK_TCK")
    assert machine.busy(STAT) == pytest.approx((100 + 20 + 30 + 6 + 7 + 8) * tick)


def test_worked() -> None:
    """A process that works has worked more; one that is not there has not worked at all."""
    before = machine.worked(os.getpid())
    while machine.worked(os.getpid()) <= before:  # the kernel writes it down now and then
        sum(range(200_000))
    assert before > 0
    assert machine.worked(2**22 + 1) == 0


def test_family() -> None:
    """Children and their children are found, and nobody else."""
    program = "import subprocess; subprocess.run(['cat'])"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, text=True
    ) as parent:
        while len(found := machine.family(parent.pid)) < 2:
            assert parent.poll() is None
        assert parent.stdin is not None
        parent.stdin.close()
    assert found[0] == parent.pid
    assert os.getpid() not in found
    assert len(found) == 2


def test_what_a_process_holds() -> None:
    """This very process holds some megabytes, and one descriptor more when it opens one."""
    assert machine.resident_mb(os.getpid()) > 5
    before = machine.descriptors(os.getpid())
    with Path(os.devnull).open():
        assert machine.descriptors(os.getpid()) == before + 1


def test_own_work_is_not_foreign() -> None:
    """What a child has worked is ours; what is said to be ours besides counts so, too."""
    watch = machine.Watch()
    subprocess.run([sys.executable, "-c", "sum(range(20_000_000))"], check=True)
    foreign = watch.foreign_cores()
    assert foreign < (os.cpu_count() or 1)
    assert watch.foreign_cores(besides=1.0) < foreign


def test_described() -> None:
    """What the numbers depend on is named; what is not there is said to be unknown."""
    described = machine.described("/nonexistent/nginx")
    assert described["nginx"] == "unknown"
    assert described["python"] == sys.version.split()[0]
    assert described["bridge"] != "none"
    assert all(described.values())
