"""Runs a coroutine at once, and makes a task of it only if it has to wait.

Most requests find all they need at hand; a task for each would cost more than what it does. Python
3.12 has tasks of this kind (``eager_start``), 3.11 has not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from types import TracebackType
from typing import Any


def start(work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
    """Run *work* until it ends or has to wait; return the task that goes on with it, if any.

    Until then there is no current task, so *work* must not ask for one before it waits. What it
    raises before that is raised here.
    """
    try:
        awaited = work.send(None)
    except StopIteration:
        return None
    if awaited is not None:
        # A future marks itself as being handed to a task; until that task runs, others may want it.
        awaited._asyncio_future_blocking = False  # noqa: SLF001 - the protocol between the two
    return asyncio.get_running_loop().create_task(_Begun(work, awaited))


class _Begun(Coroutine[Any, Any, None]):
    """The rest of a coroutine that waits for *awaited* already, for a task to go on with."""

    def __init__(
        self, work: Coroutine[Any, Any, None], awaited: asyncio.Future[Any] | None
    ) -> None:
        self._work = work
        self._awaited = awaited
        self._is_handed_over = False

    def send(self, value: object) -> object:
        """Hand over what is waited for first; then go on."""
        if self._is_handed_over:
            return self._work.send(value)
        self._is_handed_over = True
        awaited, self._awaited = self._awaited, None
        if awaited is not None:
            awaited._asyncio_future_blocking = True  # noqa: SLF001 - the protocol between the two
        return awaited

    def throw(  # type: ignore[override]  # the one form that asyncio uses
        self,
        kind: BaseException,
        value: object = None,  # noqa: ARG002 - the older form, as the base class has it
        traceback: TracebackType | None = None,  # noqa: ARG002 - as above
    ) -> object:
        """Cancel it, even before it has gone on for the first time."""
        self._is_handed_over = True
        return self._work.throw(kind)

    def close(self) -> None:
        """Let it go."""
        self._work.close()

    def __await__(self) -> Generator[Any, Any, None]:
        raise NotImplementedError("it is for a task")
