"""One HTTP/1.1 request and its answer, with every byte and every close in the answerer's hand.

A framework would finish an answer politely when a test wants it broken; here nothing is sent,
flushed or closed but by name. Requests are read simply, as only well-behaved clients call.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

Framing = Literal["chunked", "length", "close"]
Headers = Mapping[str, str] | Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it was received: raw target, header pairs in order, whole body.

    *connection* numbers the TCP connection, so that a test can see which requests shared one.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)
    connection: int

    @property
    def path(self) -> str:
        """The target without its query, still encoded as the client had it."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        """The decoded query; of a repeated name the last value."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def form(self) -> dict[str, str]:
        """The body decoded as ``application/x-www-form-urlencoded``."""
        return dict(parse_qsl(self.body.decode("latin-1"), keep_blank_values=True))

    @property
    def document(self) -> dict[str, Any]:
        """The body as a JSON object; empty where it is anything else."""
        try:
            document = json.loads(self.body)
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}

    def header(self, name: str) -> str:
        """Return the first value of *name*, whatever its case, or an empty string."""
        return next((v for k, v in self.headers if k.lower() == name.lower()), "")

    @property
    def bearer(self) -> str:
        """The credential of ``Authorization: Bearer``, or an empty string."""
        scheme, _, credential = self.header("authorization").partition(" ")
        return credential if scheme.lower() == "bearer" else ""


class Exchange:
    """One request and the answer to it, which is given step by step.

    Every step that sends returns once the kernel has taken the bytes, and raises
    ``ConnectionError`` when the client has gone.
    """

    def __init__(self, request: Request, writer: asyncio.StreamWriter, gone: asyncio.Event) -> None:
        self.request = request
        self.finished = asyncio.Event()
        self.reusable = False
        self.begun = False
        self._writer = writer
        self._gone = gone
        self._framing: Framing = "length"

    async def head(
        self,
        status: int = 200,
        headers: Headers = (),
        framing: Framing = "chunked",
        length: int | None = None,
    ) -> None:
        """Send the head; *framing* decides how the client will know the end.

        With ``"length"`` the body has *length* bytes, or as a ``content-length`` in *headers* says.
        """
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
        if framing == "chunked":
            pairs.append(("transfer-encoding", "chunked"))
        elif framing == "close":
            pairs.append(("connection", "close"))
        elif length is not None:
            pairs.append(("content-length", str(length)))
        self._framing = framing
        self.begun = True
        lines = [f"HTTP/1.1 {status} {_reason(status)}", *(f"{k}: {v}" for k, v in pairs)]
        await self.raw("\r\n".join([*lines, "", ""]).encode("latin-1"))

    async def says(self, data: bytes) -> None:
        """Send *data* as the next part of the body, as one chunk where the framing has chunks."""
        if not data:
            return
        await self.raw(b"%x\r\n%b\r\n" % (len(data), data) if self._framing == "chunked" else data)

    async def ends(self) -> None:
        """Finish the answer properly, and the connection too if its end is the answer's end."""
        if self._framing == "chunked":
            await self.raw(b"0\r\n\r\n")
        if self._framing == "close":
            self._writer.close()
        self.reusable = self._framing != "close"
        self.finished.set()

    async def answers(self, status: int, headers: Headers = (), body: bytes = b"") -> None:
        """Give a whole answer at once; a ``HEAD`` request gets no body."""
        await self.head(status, headers, "length", len(body))
        if self.request.method != "HEAD":
            await self.says(body)
        await self.ends()

    async def answers_json(self, status: int, document: object, headers: Headers = ()) -> None:
        """Give a whole JSON answer at once."""
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
        body = json.dumps(document).encode()
        await self.answers(status, [("content-type", "application/json"), *pairs], body)

    async def raw(self, data: bytes) -> None:
        """Send *data* as it is, outside any framing."""
        self._writer.write(data)
        await self._writer.drain()

    def breaks(self) -> None:
        """Abort the connection at once with a reset; what is not yet sent is lost."""
        self.finished.set()
        if self._writer.transport.is_closing():
            return
        sock: socket.socket = self._writer.get_extra_info("socket")
        # Without this, a close with nothing unread would be an orderly FIN.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def closes(self) -> None:
        """Close the connection in good order (FIN) where the answer stands, finished or not."""
        self._writer.close()
        self.finished.set()

    async def abandoned(self) -> None:
        """Return once the client has closed its side, whether or not the answer is finished."""
        await self._gone.wait()


def fingerprint(secret: str) -> str:
    """Return what may be shown of a secret: a short hash, or nothing for nothing."""
    return hashlib.sha256(secret.encode()).hexdigest()[:16] if secret else ""


def recorded(request: Request) -> dict[str, Any]:
    """Return *request* as JSON with its credentials hashed and its body only measured."""
    private = {"authorization", "x-api-key", "proxy-authorization", "x-bridge-key"}
    return {
        "method": request.method,
        "target": request.target,
        "headers": [(k, fingerprint(v) if k.lower() in private else v) for k, v in request.headers],
        "bearer": fingerprint(request.bearer),
        "model": request.document.get("model"),
        "stream": bool(request.document.get("stream")),
        "body_bytes": len(request.body),
        "connection": request.connection,
    }


async def read(reader: asyncio.StreamReader, connection: int) -> Request:
    """Return the next request on the connection with that number.

    Raises ``asyncio.IncompleteReadError`` when the client closes instead of asking.
    """
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    pairs = tuple((k, v.strip()) for k, _, v in (line.partition(":") for line in lines))
    lowered = {k.lower(): v for k, v in pairs}
    if lowered.get("transfer-encoding", "").lower() == "chunked":
        body = await _chunks(reader)
    else:
        body = await reader.readexactly(int(lowered.get("content-length", "0")))
    return Request(method, target, pairs, body, connection)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return bytes(body)


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unassigned"
