"""Holds what every request needs on its way through the house."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bridge.clock import Clock
from bridge.network import Client
from bridge.proxy.body import Budget
from bridge.proxy.ledger import Ledger
from bridge.proxy.pages import Pages
from bridge.proxy.tally import Tally


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
    tally: Tally
    ledger: Ledger
    tell: Callable[[str], None]
