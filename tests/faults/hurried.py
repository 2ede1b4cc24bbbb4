"""The daemon, with a monotonic clock that runs faster, and a window through which to count.

    python -m tests.faults.hurried PACE WINDOW [words of bridge...]

Whatever the daemon waits for takes one *PACE*-th of its time; the wall clock stays true, so that
tokens live as long as ever. At the socket *WINDOW* whoever connects is told, as JSON, what tasks
there are and how many of the objects that serve a request are alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import socket
import sys
import threading
from collections import Counter
from pathlib import Path

from bridge import clock

_True = clock.SystemClock
_COUNTED = ("bridge.proxy.", "bridge.wire.")


def hurried(pace: float) -> type[clock.SystemClock]:
    """Return a clock on which *pace* seconds pass in one."""

    class Hurried(_True):
        """The clock of the machine, in a hurry but for the wall."""

        __slots__ = ()

        def monotonic(self) -> float:
            """Return seconds that pass faster."""
            return super().monotonic() * pace

        async def sleep(self, seconds: float) -> None:
            """Wait for less."""
            await super().sleep(seconds / pace)

    return Hurried


def counted() -> dict[str, dict[str, int]]:
    """Return the tasks by what they run, and the objects of a request's way by their class."""
    gc.collect()
    things = gc.get_objects()
    tasks = [each for each in things if type(each) is asyncio.Task and not each.done()]
    kinds = [type(each) for each in things]
    rooms = [kind for kind in kinds if kind.__module__.startswith(_COUNTED)]
    return {
        "tasks": Counter(name for name in map(_named, tasks) if not name.endswith("._look")),
        "objects": Counter(f"{kind.__module__}.{kind.__qualname__}" for kind in rooms),
    }


def _named(task: asyncio.Task[object]) -> str:
    return getattr(task.get_coro(), "__qualname__", "?")


def opens_window(path: Path) -> None:
    """Answer everybody who connects to the socket at *path*, in a thread of its own."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()

    def answers() -> None:
        while True:
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(json.dumps(counted()).encode())

    threading.Thread(target=answers, daemon=True).start()


def main() -> int:
    """Be the daemon."""
    pace, window, *words = sys.argv[1:]
    clock.SystemClock = hurried(float(pace))  # type: ignore[misc]  # before anybody asks for it
    from bridge.cli import main as bridge  # noqa: PLC0415 - as said

    opens_window(Path(window))
    return bridge(words)


if __name__ == "__main__":
    sys.exit(main())
