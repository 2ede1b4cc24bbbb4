"""Judges which program a person gets who types ``bridge`` or ``kimi-bridge``.

Pure. iproute2 has a ``bridge`` of its own on most Linux machines, and an old installation may come
first in ``PATH``.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bridge.doctor.finding import Finding, fail, ok, warn

SUBJECT: Final = "program"


class Kind(enum.Enum):
    """What a program found in ``PATH`` is: this one, another installation of it, or a stranger."""

    OURS = enum.auto()
    SIBLING = enum.auto()
    STRANGER = enum.auto()


@dataclass(frozen=True, slots=True)
class Found:
    """What ``PATH`` finds first under one name."""

    path: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Programs:
    """What is installed: *named* is the path that generated functions use, and whether it *runs*.

    *bridge* and *kimi_bridge* are what ``PATH`` finds first under these names.
    """

    named: str
    runs: bool
    bridge: Found | None
    kimi_bridge: Found | None


def judge(programs: Programs) -> Iterator[Finding]:
    """Yield what is to be said of *programs*."""
    folder = programs.named.rpartition("/")[0]
    if programs.runs:
        yield ok(SUBJECT, f"generated functions run {programs.named}")
    else:
        yield fail(
            SUBJECT,
            f"generated functions would run {programs.named}, which cannot be executed",
            "install bridge anew: pipx reinstall bridge",
        )
    ready = programs.kimi_bridge is not None and programs.kimi_bridge.kind is Kind.OURS
    yield from _named("kimi-bridge", programs.kimi_bridge, folder, otherwise=programs.named)
    if programs.bridge is not None:
        otherwise = "kimi-bridge" if ready else programs.named
        yield from _named("bridge", programs.bridge, folder, otherwise=otherwise)


def _named(name: str, found: Found | None, folder: str, *, otherwise: str) -> Iterator[Finding]:
    first = f"put {folder} first in PATH, or say {otherwise} instead"
    if found is None:
        path = f'export PATH="{folder}:$PATH"'
        yield warn(
            SUBJECT, f"{name} is not in PATH", f"add it in the shell's start-up file: {path}"
        )
    elif found.kind is Kind.OURS:
        yield ok(SUBJECT, f"{name} in PATH is this program ({found.path})")
    elif found.kind is Kind.SIBLING:
        text = f"{name} in PATH is another installation of bridge ({found.path})"
        yield warn(SUBJECT, text, f"remove one of the two; else {first}")
    else:
        whose = "iproute2's" if found.path.endswith("sbin/bridge") else "not ours"
        text = f"another {name} comes first in PATH: {found.path} ({whose})"
        yield warn(SUBJECT, text, first)
