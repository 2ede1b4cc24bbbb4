"""A stand-in for the daemon, as others see it: a PID file, a port, an answer to ``/health``.

It can also be everything else that may be found on the port: a stranger without the PID file, one
of another user, one that is silent or talks nonsense. It leaves when its standard input ends.
"""

from __future__ import annotations

import argparse
import os
import select
import socket
import sys
import time
from collections.abc import Callable
from typing import Self

from bridge.service.pidfile import PidFile
from tests.fakes.child import Child

INSTANCE = "0123456789abcdef" * 2
_sleep = time.sleep  # noqa: TID251  # a process of its own has its own time


def health(request: bytes, ready: str = "yes", instance: str = INSTANCE) -> bytes:
    """The daemon's answer; the document repeats the request."""
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        b"X-Bridge-Instance: %s\r\nX-Bridge-Ready: %s\r\nContent-Length: %d\r\n\r\n%s"
        % (instance.encode(), ready.encode(), len(request), request)
    )


ANSWERS: dict[str, Callable[[bytes], bytes]] = {
    "yes": health,
    "no": lambda request: health(request, "no"),
    "unknown": lambda request: health(request, "unknown"),
    "impostor": lambda request: health(request, instance="f" * 32),
    "nobody": lambda request: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "error": lambda request: health(request).replace(b"200 OK", b"500 Oh"),
    "cut": lambda request: health(request)[:-1],
    "digits": lambda request: health(request).replace(b"Length: ", b"Length: " + b"9" * 5000),
    "garbage": lambda request: b"\x00\xffSSH-2.0-OpenSSH_9.6\r\n\r\n",
    "nothing": lambda request: b"",
    "flood": lambda request: b"HTTP/1.1 200 OK\r\n" + b"x" * 200_000,
}


def main(arguments: list[str]) -> None:
    """Be what the command line says until the end of standard input."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pid-file", default="")
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--uid", type=int, default=0)
    parser.add_argument("--answer", choices=[*ANSWERS, "drip", "silence"], default="yes")
    options = parser.parse_args(arguments)
    family = socket.AF_INET6 if ":" in options.address else socket.AF_INET
    if options.uid:
        os.setuid(options.uid)
    with socket.create_server((options.address, 0), family=family) as listening:
        port = listening.getsockname()[1]
        pid_file = _claim(options.pid_file, port) if options.pid_file else None
        print(port, flush=True)
        _serve(listening, options.answer)
        if pid_file is not None:
            pid_file.release()


def _claim(path: str, port: int) -> PidFile:
    return PidFile.claim(path, port=port, instance=INSTANCE, version="0", pause=_sleep)


def _serve(listening: socket.socket, answer: str) -> None:
    kept: list[socket.socket] = []
    while sys.stdin not in select.select([listening, sys.stdin], [], [])[0]:
        connection, _ = listening.accept()
        if answer == "silence":
            kept.append(connection)
            continue
        with connection:
            request = connection.recv(65536)
            try:
                if answer == "drip":
                    _drip(connection)
                else:
                    connection.sendall(ANSWERS[answer](request))
            except OSError:
                pass  # whoever asked has heard enough


def _drip(connection: socket.socket) -> None:
    for byte in health(b"") * 20:
        _sleep(0.02)
        connection.sendall(bytes([byte]))


class StandIn(Child):
    """A stand-in in a child process; *arguments* are its command line, *port* where it listens."""

    module = "tests.fakes.standin"

    def start(self) -> Self:
        """Start it and wait until it listens and, if it has a PID file, holds it."""
        super().start()
        self.port = int(next(self.lines()))
        return self

    def leave(self) -> int:
        """Let it go as a daemon goes, its PID file removed; return its exit code."""
        stream = self._started.stdin
        assert stream is not None
        stream.close()
        return self.ends()

    def crash(self) -> None:
        """Kill it as the kernel does when memory is short."""
        self._started.kill()
        self.ends()


if __name__ == "__main__":
    main(sys.argv[1:])
