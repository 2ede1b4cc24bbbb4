"""Sends together, when a turn of the event loop is over, what was written in it.

Under load most of the cost of a small request is waking whoever receives it. Sent one by one, with
our own work in between, each piece wakes somebody; sent in a row they find them awake.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

#: From here on it is the bytes that cost, and a transport that is full must say so at once.
HELD_BYTES: Final = 64 * 1024


class Outbox:
    """What is to be sent, in order; for one event loop.

    The order on a transport holds as long as all that is for it goes through here, its end too.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[asyncio.Transport, Sequence[bytes]]] = []
        self._size = 0

    def send(self, transport: asyncio.Transport, *pieces: bytes) -> None:
        """Send *pieces* soon; dropped if *transport* is closing by then."""
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
        for transport, pieces in waiting:
            if transport.is_closing():
                continue
            if len(pieces) == 1:
                transport.write(pieces[0])
            elif pieces:
                transport.writelines(pieces)
            else:
                transport.close()
