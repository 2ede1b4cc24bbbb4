"""The event loop that tests run on: asyncio's own, or the one ``BRIDGE_TEST_LOOP`` names.

``BRIDGE_TEST_LOOP=uvloop`` runs them on the loop that the daemon prefers.
"""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

NAME: Final = os.environ.get("BRIDGE_TEST_LOOP", "asyncio")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run *coroutine* to its end on a loop of its own."""
    with asyncio.Runner(loop_factory=importlib.import_module(NAME).new_event_loop) as runner:
        return runner.run(coroutine)
