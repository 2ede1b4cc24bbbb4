"""Takes over the listening sockets that a service manager holds open: sd_listen_fds(3).

With them a request that comes before the daemon waits at a door that is open already. They must be
what the daemon would have opened itself, or it does not start: on loopback, on one port.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import MutableMapping
from typing import Final

from bridge.errors import ConfigError
from bridge.service.listen import LOOPBACK

VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
#: The number of the first descriptor that is passed.
FIRST: Final = 3
MEND: Final = "mend ListenStream= in the socket unit (bridge service install --socket writes one)"


def taken(environment: MutableMapping[str, str], first: int = FIRST) -> list[socket.socket]:
    """Return the sockets that *environment* passes to this process, IPv4 first; often none.

    They never block and no child inherits them, nor the variables, which are removed. Raises
    ``ConfigError`` if one is not a listening TCP socket on loopback or they differ in port.
    """
    process, count, _ = (environment.pop(name, "") for name in VARIABLES)
    if process != str(os.getpid()):
        return []  # they were meant for somebody else
    if not count.isdecimal():
        raise ConfigError(f"LISTEN_FDS={count!r} is no number: start bridge from its socket unit")
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(_taken(first + n)) for n in range(int(count))]
        ports = sorted({listening.getsockname()[1] for listening in sockets})
        if len(ports) > 1:
            named = " and ".join(map(str, ports))
            raise ConfigError(f"the service manager passes sockets on ports {named}: {MEND}")
        opened.pop_all()
    return sorted(sockets, key=lambda listening: listening.family != socket.AF_INET)


def _taken(descriptor: int) -> socket.socket:
    try:
        os.set_inheritable(descriptor, False)  # noqa: FBT003
        passed = socket.socket(fileno=descriptor)
    except OSError:
        raise _refusal(descriptor, "is no socket") from None
    if reason := _unfit(passed):
        passed.close()
        raise _refusal(descriptor, reason)
    passed.settimeout(0)
    return passed


def _unfit(passed: socket.socket) -> str:
    """Return what keeps *passed* from being a front door, or nothing."""
    if passed.family not in {socket.AF_INET, socket.AF_INET6} or passed.type != socket.SOCK_STREAM:
        return "is no TCP socket"
    if not passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "does not listen (with Accept=yes it is a connection)"
    address = passed.getsockname()[0]
    # More of loopback than these two is in no Host header that the guard lets in.
    return "" if address in LOOPBACK else f"listens on {address}, not on {' or '.join(LOOPBACK)}"


def _refusal(descriptor: int, reason: str) -> ConfigError:
    return ConfigError(f"descriptor {descriptor} from the service manager {reason}: {MEND}")
