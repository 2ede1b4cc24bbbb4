"""Judges the configuration: what is wrong with it, and what in it may not be meant.

Pure. What is a mistake is the configuration's own business; here it only gets its place among the
findings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from bridge.doctor.finding import Finding, fail, ok, warn

SUBJECT: Final = "configuration"


def refused(complaint: str, file: str) -> Iterator[Finding]:
    """Yield a finding for each line of a *complaint*, which is about *file* or the environment."""
    for line in complaint.splitlines():
        # A place in the file may be followed by what to do; it is all one sentence to a person.
        mend = f"mend {file}" if line.startswith(file) else "set it right, or leave it out"
        yield fail(SUBJECT, line, f"{mend}, then: bridge config check")


def judge(
    file: str, *, exists: bool, warnings: Sequence[str], clients: str | None, can_tell: bool
) -> Iterator[Finding]:
    """Yield what is to be said of a configuration that can be used.

    *clients* is ``server.clients`` as it is set, and *can_tell* whether the kernel names the owner
    of a connection.
    """
    yield ok(
        SUBJECT, f"{file} is good" if exists else f"all is as built in ({file} does not exist)"
    )
    for warning in warnings:
        yield warn(SUBJECT, warning, "write it as it is meant, then: bridge config check")
    if clients == "same-user" and not can_tell:
        text = "server.clients is same-user, and this system does not tell whose a connection is"
        yield fail(SUBJECT, text, 'write clients = "key" in [server], or leave it out')
    elif clients == "any":
        text = "server.clients is any: every user and program of this machine may use your logins"
        yield warn(SUBJECT, text, 'write clients = "same-user", or "key", in [server]')
