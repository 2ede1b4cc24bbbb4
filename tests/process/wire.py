"""Both ends of the daemon by hand: an API that answers byte by byte, and a client that reads so.

For process tests that must stand in the middle of an answer; everything here blocks, and nothing
for longer than *PATIENCE*.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
from collections.abc import Iterator
from typing import Any, Self

from tests.fakes.conversation import event
from tests.world import message

PATIENCE = 30.0
#: What ends an answer in chunks.
LAST_CHUNK = b"0\r\n\r\n"


class Wire:
    """One connection, either end of it."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.settimeout(PATIENCE)
        self.received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; harmless twice."""
        self._socket.close()

    def sends(self, data: bytes) -> None:
        """Send *data*."""
        self._socket.sendall(data)

    def hears(self, pattern: bytes) -> bytes:
        """Return all that came so far once *pattern* is in it; raises ``EOFError`` if it ends."""
        while pattern not in self.received:
            if not (data := self._socket.recv(65536)):
                raise EOFError(f"{pattern!r} not in {self.received!r}")
            self.received += data
        return self.received

    def rest(self) -> bytes:
        """Return all that ever came, once the other side has closed in good order.

        Raises ``ConnectionResetError`` where it has reset the connection.
        """
        while data := self._socket.recv(65536):
            self.received += data
        return self.received

    def resets(self) -> None:
        """Break the connection off."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def ends(self) -> None:
        """Say that nothing more will be sent."""
        self._socket.shutdown(socket.SHUT_WR)


class Asked(Wire):
    """A request that has come in whole, and its answer to be given by hand."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection)
        head, _, body = self.hears(b"\r\n\r\n").partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        while length and len(body) < int(length.group(1)):
            body += self._socket.recv(65536)
        self.head, self.body = head, body

    def begins(self, kind: str = "text/event-stream") -> None:
        """Send the head of an answer in chunks, after which the connection is closed."""
        head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n"
        self.sends(f"{head}connection: close\r\n\r\n".encode())

    def says(self, data: bytes) -> None:
        """Send *data* as one chunk."""
        self.sends(b"%x\r\n%b\r\n" % (len(data), data))

    def streams(self, name: str) -> None:
        """Send one server-sent event of that *name*."""
        self.says(event(name))

    def fills(self) -> None:
        """Send chunks until nobody takes any more: until every buffer on the way is full."""
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        self._socket.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            while True:
                self._socket.sendall(chunk)

    def concludes(self) -> None:
        """End the answer in good order."""
        self.sends(LAST_CHUNK)

    def answers(self, status: int, body: bytes, kind: str = "application/json") -> None:
        """Give a whole answer and close."""
        head = f"HTTP/1.1 {status} Told\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}"
        with contextlib.suppress(ConnectionError):  # whoever asked may not want all of it
            self.sends(f"{head}\r\nconnection: close\r\n\r\n".encode() + body)
        self.close()


class Counter:
    """A server on loopback whose every answer the test gives itself.

    *url* is its base URL. What a test leaves open is closed with it.
    """

    def __init__(self) -> None:
        self._asked: list[Asked] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()
        for asked in self._asked:
            asked.close()

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()

    def arrives(self) -> Asked:
        """Return the next request once it is here."""
        self._asked.append(Asked(self._listener.accept()[0]))
        return self._asked[-1]

    @property
    def waiting(self) -> bool:
        """Whether somebody has connected whom nobody has heard yet."""
        self._listener.settimeout(0)
        try:
            self._listener.accept()[0].close()
        except BlockingIOError:
            return False
        finally:
            self._listener.settimeout(PATIENCE)
        return True


def dial(port: int, host: str = "127.0.0.1") -> Wire:
    """Connect to the daemon."""
    return Wire(socket.create_connection((host, port), timeout=PATIENCE))


def request(
    port: int,
    body: dict[str, Any] | None = None,
    path: str = "/kimi/v1/messages",
    more: str = "",
) -> bytes:
    """Return a Messages request as bytes; *more* is further header lines, each with its CRLF."""
    content = json.dumps(body or message("Hello", stream=True)).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer dummy\r\n{more}Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


@contextlib.contextmanager
def asking(port: int, more: str = "") -> Iterator[Wire]:
    """Send one request for a stream; the answer is read by hand."""
    with dial(port) as wire:
        wire.sends(request(port, more=more))
        yield wire
