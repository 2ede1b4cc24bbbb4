"""Holds what every request needs on its way through the house, and what has gone through."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bridge.clock import Clock
from bridge.network import Client
from bridge.proxy.body import Budget
from bridge.proxy.ledger import Ledger
from bridge.proxy.pages import Pages


@dataclass(slots=True)
class Totals:
    """What has gone through since the start.

    *live* is how many exchanges are under way, *last_request* when the last one began (wall clock,
    0 for never), *sent* the bytes of content sent to clients.
    """

    requests: int = 0
    sent: int = 0
    live: int = 0
    last_request: float = 0.0


@dataclass(frozen=True, slots=True)
class Means:
    """What every visit needs: the way out, the clock, the budget, who invites to log in.

    *tell* takes the line for the log of a request that was answered.
    """

    client: Client
    clock: Clock
    budget: Budget
    pages: Pages
    invite: Callable[[str], Awaitable[str]]
    totals: Totals
    ledger: Ledger
    tell: Callable[[str], None]
