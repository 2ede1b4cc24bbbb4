"""Takes the time from the start of a program until its first answer has passed through it."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import statistics
import subprocess
from collections.abc import Callable
from typing import Final

from benchmarks.generator import Generator, Result
from benchmarks.machine import CLOCK, Watch, resident_mb, worked
from benchmarks.subjects import POLL_SECONDS, START_SECONDS, STOP_SECONDS, Subject

#: Starts of each subject in one round, of which the median counts.
STARTS: Final = 5
_BODY: Final = b'{"model":"kimi-k2.5","max_tokens":16,"messages":[{"role":"user","content":"?"}]}'


def answered(subject: Subject) -> bool:
    """Say whether a request through *subject* is answered with 200, now."""
    connection = http.client.HTTPConnection("127.0.0.1", subject.port, timeout=START_SECONDS)
    headers = {"Content-Type": "application/json"}
    with contextlib.closing(connection):
        try:
            connection.request("POST", subject.path, _BODY, headers)
            return connection.getresponse().status == 200
        except OSError:
            return False


def in_foreground(rig: Generator, subject: Subject) -> Result:
    """Start *subject*, wait for its first answer, stop it."""
    watch, upstream = Watch(), rig.worked()
    began = CLOCK.monotonic()
    subject.spawn()
    try:
        _until_answered(subject, began)
        seconds = CLOCK.monotonic() - began
    finally:
        subject.stop()
    return {
        "start_seconds": seconds,
        "foreign_cores": watch.foreign_cores(besides=rig.worked() - upstream),
    }


def in_background(rig: Generator, subject: Subject) -> Result:
    """Start *subject*'s daemon as a person does, wait for its first answer, stop it.

    The command returns when the daemon answers; both moments are taken, and its memory.
    """
    watch, upstream = Watch(), rig.worked()
    command = subject.words[0]
    with subject.log.open("ab") as log:
        began = CLOCK.monotonic()
        subject.popen([command], log).wait(START_SECONDS)
        returned = CLOCK.monotonic() - began
        try:
            _until_answered(subject, began)
            seconds = CLOCK.monotonic() - began
            pid = int((subject.folder / ".local/run/bridge.pid").read_text().split()[0])
            found = {"resident_mb": resident_mb(pid)}
            besides = worked(pid) + rig.worked() - upstream
            foreign = watch.foreign_cores(besides=besides)
        finally:
            _end(subject, command)
    return {
        **found,
        "start_seconds": seconds,
        "returned_seconds": returned,
        "foreign_cores": foreign,
    }


def median(start: Callable[[], Result], quiet: Callable[[], None], starts: int = STARTS) -> Result:
    """Return the median of everything that several starts have found."""
    found = []
    for _ in range(starts):
        quiet()
        found.append(start())
    return {key: statistics.median(result[key] for result in found) for key in found[0]}


def _until_answered(subject: Subject, began: float) -> None:
    while not answered(subject):
        subject.alive()
        if CLOCK.monotonic() - began > START_SECONDS:
            raise RuntimeError(f"{subject.name} has not answered in {START_SECONDS:.0f} s")
        CLOCK.pause(POLL_SECONDS)


def _end(subject: Subject, command: str) -> None:
    """Stop the daemon, with force if it does not go."""
    pid_file = subject.folder / ".local/run/bridge.pid"
    with subject.log.open("ab") as log:
        stopping = subject.popen([command, "--stop"], log)
        try:
            stopping.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(OSError, ValueError):
                os.kill(int(pid_file.read_text().split()[0]), signal.SIGKILL)
            stopping.wait()
