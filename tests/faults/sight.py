"""What a client sees of an answer: its head, its content, and how it ended."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httptools

from tests.world import message

#: The paths of both dialects, by the names that the suite gives them.
PATHS: Final = {
    "anthropic": "/kimi/v1/messages",
    "openai": "/kimi/v1/chat/completions",
    "count": "/kimi/v1/messages/count_tokens",
    "models": "/kimi/v1/models",
}
_PATIENCE: Final = 45.0


@dataclass(slots=True)
class Sight:
    """One answer. *end* is "whole", "reset", or "closed" where a FIN came too early."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes = b""
    end: str = ""

    @property
    def document(self) -> dict[str, Any]:
        """The content as a JSON object."""
        found: dict[str, Any] = json.loads(self.content)
        return found

    @property
    def brief(self) -> str:
        """What is said in a failed assertion."""
        return f"{self.status} {self.end} {self.headers} {self.content[:300]!r}"


class _Reading:
    def __init__(self) -> None:
        self.sight = Sight()
        self.parser = httptools.HttpResponseParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.sight.headers[name.decode().lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.sight.status = self.parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self.sight.content += body

    def on_message_complete(self) -> None:
        self.sight.end = "whole"


def look(
    port: int,
    surface: str = "anthropic",
    *,
    version: str = "1.1",
    body: Mapping[str, Any] | None = None,
    padding: int = 0,
) -> Sight:
    """Ask the daemon at *port* once, and return what came."""
    content = json.dumps(body or message("Hello", stream=True)).encode() + b" " * padding
    method = "GET" if surface == "models" else "POST"
    lines = [f"{method} {PATHS[surface]} HTTP/{version}", f"Host: 127.0.0.1:{port}"]
    lines += ["Content-Type: application/json", "Authorization: Bearer dummy"]
    lines += [f"Content-Length: {len(content)}"] if method == "POST" else []
    head = "\r\n".join([*lines, "", ""]).encode()
    with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE) as connection:
        connection.sendall(head + (content if method == "POST" else b""))
        return _read(connection)


def _read(connection: socket.socket) -> Sight:
    reading = _Reading()
    sight = reading.sight
    while not sight.end:
        try:
            data = connection.recv(1 << 20)
        except ConnectionResetError:
            sight.end = "reset"
            break
        if data:
            reading.parser.feed_data(data)
        elif not {"content-length", "transfer-encoding"} & set(sight.headers) and sight.status:
            sight.end = "whole"  # HTTP/1.0: the end of the connection is the end of the answer
        else:
            sight.end = "closed"
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    return sight
