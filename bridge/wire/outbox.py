"""Sends together, when a turn of the event loop is over, what was written in it, where that pays.

Under load most of the cost of a small request is waking whoever receives it. Sent one by one, with
our own work in between, each piece wakes somebody; sent in a row they find them awake. With little
to do there is nothing to gather, and holding a piece back costs it a turn. So a turn is tried now
and then, and what it gathered says how the next are to be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

#: From here on it is the bytes that cost, and a transport that is full must say so at once.
HELD_BYTES: Final = 64 * 1024
#: So many pieces of one turn are worth its wait.
WORTH: Final = 2
#: After a turn that was not, so many pieces go out as they come before another one is tried.
HURRIED: Final = 48


class Outbox:
    """What is to be sent, in order; for one event loop.

    The order on a transport holds as long as all that is for it goes through here, its end too.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[asyncio.Transport, Sequence[bytes]]] = []
        self._size = 0
        self._hurried = 0

    def send(self, transport: asyncio.Transport, *pieces: bytes) -> None:
        """Send *pieces*, now or at the end of this turn; dropped if *transport* is closing then."""
        if self._hurried:
            self._hurried -= 1
            _hand_over(transport, pieces)
            return
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.flush)
        self._waiting.append((transport, pieces))
        self._size += sum(map(len, pieces))
        if self._size > HELD_BYTES:
            self.flush()

    def close(self, transport: asyncio.Transport) -> None:
        """Close *transport* once everything before is sent."""
        self.send(transport)

    def flush(self) -> None:
        """Send what waits."""
        waiting, self._waiting = self._waiting, []
        self._size = 0
        if 0 < len(waiting) < WORTH:
            self._hurried = HURRIED
        for transport, pieces in waiting:
            _hand_over(transport, pieces)


def _hand_over(transport: asyncio.Transport, pieces: Sequence[bytes]) -> None:
    if transport.is_closing():
        return
    if len(pieces) == 1:
        transport.write(pieces[0])
    elif pieces:
        transport.writelines(pieces)
    else:
        transport.close()
