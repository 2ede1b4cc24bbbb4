"""Holds what is in force for one request: routes, credentials, guard and limits, as one value.

A reload makes a new value and swaps it whole; a request takes it once, so that nothing changes
under it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bridge.credentials.source import Source
from bridge.proxy.guard import Policy
from bridge.proxy.rewrite import Routes

MEBIBYTE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """How much and how long one request may take.

    *max_body* bounds one request body and *body_budget* all that are held at once, in bytes.
    *idle_seconds* bounds each silence of the upstream, *body_seconds* the arrival of a body.
    """

    max_body: int = 64 * MEBIBYTE
    body_budget: int = 256 * MEBIBYTE
    idle_seconds: float = 1800.0
    body_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Passage:
    """What is in force: *sources* has the source of each provider by its name."""

    routes: Routes
    sources: Mapping[str, Source]
    policy: Policy
    limits: Limits
