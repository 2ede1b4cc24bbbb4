"""Another user of the machine, as a process: connects, asks, hands sockets over, reads files.

``python stranger.py VERB PORT REQUEST`` where the request is in hexadecimal. What it has seen it
prints. Only the standard library: it runs as somebody who may read little else.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

#: A user who is neither root nor nobody, and whom no machine knows.
SOMEBODY = 61_234


def as_user(
    uid: int, verb: str, *words: str, pass_fds: tuple[int, ...] = (), wait: bool = True
) -> subprocess.Popen[str]:
    """Start this file as *uid* with *verb* and *words*; with *wait* it has ended."""
    program = Path(__file__).read_text()
    user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    child = subprocess.Popen(
        [*user, sys.executable, "-c", program, verb, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=pass_fds,
        cwd="/",
        env={"PATH": os.environ["PATH"]},
    )
    if wait:
        child.wait(60)
    return child


def said(uid: int, verb: str, *words: str, pass_fds: tuple[int, ...] = ()) -> str:
    """Return what *uid* printed when it did *verb*."""
    with as_user(uid, verb, *words, pass_fds=pass_fds, wait=False) as child:
        text, _ = child.communicate(timeout=60)
        assert child.returncode == 0, (verb, text)
        return text


def _connected(port: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(port)), timeout=30)


def _heard(connection: socket.socket) -> str:
    data = b""
    while piece := connection.recv(65536):
        data += piece
    return data.decode("latin-1")


def asks(port: str, request: str) -> None:
    """Ask and print the whole answer."""
    with _connected(port) as connection:
        connection.sendall(bytes.fromhex(request))
        print(_heard(connection))


def sends_and_closes(port: str, request: str) -> None:
    """Ask and be gone, so that nobody owns the socket any more."""
    with _connected(port) as connection:
        connection.sendall(bytes.fromhex(request))


def sends_and_resets(port: str, request: str) -> None:
    """Ask and break off."""
    with _connected(port) as connection:
        connection.sendall(bytes.fromhex(request))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def half_closes(port: str, request: str) -> None:
    """Ask, say that nothing more will come, and be killed with the socket open."""
    connection = _connected(port)
    connection.sendall(bytes.fromhex(request))
    connection.shutdown(socket.SHUT_WR)
    os._exit(0)


def uses(descriptor: str, request: str) -> None:
    """Ask on a connection that somebody else has opened and passed over a Unix socket."""
    with socket.socket(fileno=int(descriptor)) as channel:
        _, (passed, *_), _, _ = socket.recv_fds(channel, 1, 1)
    with socket.socket(fileno=passed) as connection:
        connection.sendall(bytes.fromhex(request))
        print(_heard(connection))


def gives(port: str, descriptor: str) -> None:
    """Open a connection and pass it to somebody else over a Unix socket."""
    with (
        _connected(port) as connection,
        socket.socket(fileno=int(descriptor)) as channel,
    ):
        socket.send_fds(channel, [b"x"], [connection.fileno()])
        sys.stdin.read()


def crowds(port: str, number: str, request: str) -> None:
    """Open so many connections, send the beginning of a request on each, and stay."""
    open_ones = []
    for _ in range(int(number)):
        try:
            connection = _connected(port)
            connection.sendall(bytes.fromhex(request))
        except OSError:
            continue
        open_ones.append(connection)
    print("there", flush=True)
    sys.stdin.read()


def reads(*paths: str) -> None:
    """Print each of *paths* that opens, or that can be listed or written."""
    for path in paths:
        for flags in (os.O_RDONLY, os.O_WRONLY | os.O_NONBLOCK):
            try:
                os.close(os.open(path, flags))
            except OSError:
                continue
            print(path)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
