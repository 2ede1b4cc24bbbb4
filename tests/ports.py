"""Ports for what tests start later: each is given out once, to whichever test process asks.

The system gives any port of its own range to whoever asks for any, also one that was free a moment
ago and is waited for by a daemon that is about to start. These lie below that range (Linux: 32768
and up, macOS and others: 49152), and are given out in turn.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import tempfile
from pathlib import Path
from typing import Final

FIRST: Final = 10000
LAST: Final = 17999
LOOPBACK: Final = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


def free_port() -> int:
    """Return a port on which nobody listens on loopback, and that no other test will be given."""
    turn = Path(tempfile.gettempdir()) / f"bridge-tests-ports.{os.getuid()}"
    with turn.open("a+", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        port = int(file.read() or FIRST)
        while _taken(port):
            port = _after(port)
        file.truncate(0)
        file.write(str(_after(port)))
    return port


def _after(port: int) -> int:
    return port + 1 if port < LAST else FIRST


def _taken(port: int) -> bool:
    for family, address in LOOPBACK:
        try:
            with socket.socket(family) as probe:
                probe.bind((address, port))
        except OSError as error:  # any other says that the machine has no such address
            if error.errno == errno.EADDRINUSE:
                return True
    return False
