"""What a second parser, h11, reads in the bytes of a client: for comparison with bridge's own."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import h11

_LIMIT: Final = 1 << 20
#: A request line in which blanks stand together. llhttp reads it as h11 would read it with one
#: each, and passes over any number of empty lines before it, where h11 takes one; bridge writes the
#: line anew. Nothing else that h11 refuses is read.
_BLANKS: Final = re.compile(rb"\A([!-~]+) +([!-~\x80-\xff]+) +(HTTP/1\.[01]\r\n)")


class Message(NamedTuple):
    """A request as it was read: its *headers* as they stood, its *body* without framing."""

    method: str
    target: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def normal(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """Return a header as both parsers have it: h11 writes the name of a coding in lower case."""
    return name, value.lower() if name.lower() == b"transfer-encoding" else value


def by_h11(data: bytes) -> list[Message]:
    """Return the whole requests that h11 finds in *data*, up to where it gives up."""
    found: list[Message] = []
    while data:
        # A connection for each, for h11 keeps none of HTTP/1.0 and wants answers in between.
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_LIMIT)
        connection.receive_data(_BLANKS.sub(rb"\1 \2 \3", data.lstrip(b"\r\n"), count=1))
        try:
            message = _next(connection)
        except h11.ProtocolError:
            break
        if message is None:
            break
        found.append(message)
        data = connection.trailing_data[0]
    return found


def _next(connection: h11.Connection) -> Message | None:
    """Return the request that *connection* has read, ``None`` where there is no whole one."""
    begun: h11.Request | None = None
    body = b""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            begun = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage) and begun is not None:
            return _message(begun, body)
        else:
            return None


def _message(request: h11.Request, body: bytes) -> Message:
    pairs = request.headers.raw_items()
    headers = tuple(normal(bytes(name), bytes(value)) for name, value in pairs)
    return Message(request.method.decode(), request.target.decode("latin-1"), headers, body)
