"""A front door on a loopback port, and a caller who sees every byte that comes out of it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from bridge.clock import Clock, SystemClock
from bridge.credentials.source import Condition, Held
from bridge.errors import BridgeError
from bridge.network import Client, Outbound
from bridge.oauth.token import Token
from bridge.providers import Auth, Dialect, Models, Provider
from bridge.proxy.guard import Policy
from bridge.proxy.head import Pair
from bridge.proxy.rewrite import Routes
from bridge.proxy.server import FrontDoor, Limits, Passage

INSTANCE = "feedc0ffee"
INVITATION = "open https://example.org/device and enter ABCD-1234, or run: bridge login"
CALLER_KEY = "caller-key-of-this-house"
MESSAGES = "/kimi/v1/messages?beta=true"


def token(access: str) -> Token:
    """Return a token of which only the access token matters."""
    return Token(access=access, refresh="refresh", expires_at=0.0, expires_in=900.0)


def provider(url: str, **changes: object) -> Provider:
    """Return a row like Kimi's whose surfaces are below *url*."""
    row = Provider(
        name="kimi",
        title="Kimi",
        auth=Auth.OAUTH,
        surfaces=MappingProxyType(
            {Dialect.ANTHROPIC: f"{url}/coding", Dialect.OPENAI: f"{url}/coding/v1"}
        ),
        models=Models(primary="kimi-k2.5", fast="kimi-k2.5"),
    )
    return replace(row, **changes)  # type: ignore[arg-type]


class Purse:
    """A token source with a memory: hands out its tokens in order, the next after each refusal.

    *problem* is raised by ``current``, *trouble* by ``rejected``; *refused* keeps what upstreams
    refused.
    """

    def __init__(self, *accesses: str) -> None:
        self.tokens = [token(access) for access in accesses or ("fresh",)]
        self.asked = 0
        self.refused: list[str] = []
        self.problem: BridgeError | None = None
        self.trouble: BridgeError | None = None

    def at_once(self) -> Token | None:
        """Return the token in force, where nothing is wrong."""
        if self.problem is not None:
            return None
        self.asked += 1
        return self.tokens[0]

    async def current(self) -> Token:
        """Return the token in force."""
        self.asked += 1
        if self.problem is not None:
            raise self.problem
        return self.tokens[0]

    def condition(self) -> Condition:
        """Be ready."""
        return Condition(ready=True, remaining=None, refreshed_at=None, problem=None)

    async def rejected(self, held: Held) -> Token:
        """Return the next token, or the last one again."""
        self.refused.append(held.access)
        if self.trouble is not None:
            raise self.trouble
        if len(self.tokens) > 1 and self.tokens[0].access == held.access:
            del self.tokens[0]
        return self.tokens[0]


@dataclass
class Doorway:
    """A front door that listens; *passage* may be exchanged as a reload does it."""

    door: FrontDoor
    passage: Passage
    purse: Purse
    port: int = 0
    invited: list[str] = field(default_factory=list)
    peers: list[tuple[tuple[str, int], tuple[str, int]]] = field(default_factory=list)
    server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """The base URL of the door."""
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def caller(self, receive_buffer: int | None = None) -> AsyncIterator[Caller]:
        """Connect; *receive_buffer* makes the kernel hold less for one who does not read."""
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=1 << 20)
        try:
            yield Caller(reader, writer, f"127.0.0.1:{self.port}")
        finally:
            writer.transport.abort()

    def closes(self) -> None:
        """Close the listener, as the daemon does before it drains."""
        assert self.server is not None
        self.server.close()


@dataclass
class Answer:
    """The head of an answer as it came, and its content once read."""

    status: int
    reason: str
    headers: list[Pair]
    content: bytes = b""

    def header(self, name: str) -> str:
        """Return the first value of *name*, or an empty string."""
        return next((v for k, v in self.headers if k.lower() == name.lower()), "")

    @property
    def names(self) -> list[str]:
        """The names of the headers in lower case, in order."""
        return [name.lower() for name, _ in self.headers]


class Caller:
    """An HTTP/1 client that adds nothing to what it is told to send, and hides nothing."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.host = host

    async def sends(self, data: bytes) -> None:
        """Send *data* as it is."""
        self.writer.write(data)
        await self.writer.drain()

    async def asks(
        self,
        method: str,
        target: str,
        headers: Iterable[Pair] = (),
        body: bytes | None = None,
        version: str = "1.1",
    ) -> None:
        """Send a request with ``Host`` and, for a *body*, ``Content-Length``."""
        pairs = [("Host", self.host), *headers]
        if body is not None:
            pairs.append(("Content-Length", str(len(body))))
        lines = [f"{method} {target} HTTP/{version}", *(f"{k}: {v}" for k, v in pairs), "", ""]
        await self.sends("\r\n".join(lines).encode("utf-8", "surrogateescape") + (body or b""))

    async def head(self) -> Answer:
        """Return the head of the next answer."""
        text = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = text[:-4].split("\r\n")
        _, status, reason = first.split(" ", 2)
        pairs = [(k, v.strip()) for k, _, v in (line.partition(":") for line in lines)]
        return Answer(int(status), reason, pairs)

    async def chunk(self) -> bytes:
        """Return the next chunk of chunked content; the last one is empty."""
        size = int(await self.reader.readline(), 16)
        data = await self.reader.readexactly(size + 2)
        return data[:-2]

    async def answer(self, *, empty: bool = False) -> Answer:
        """Return the next answer whole, by its own framing; *empty*: it has no content."""
        answer = await self.head()
        if empty:
            return answer
        if answer.header("transfer-encoding") == "chunked":
            while data := await self.chunk():
                answer.content += data
        elif length := answer.header("content-length"):
            answer.content = await self.reader.readexactly(int(length))
        else:
            answer.content = await self.rest()
        return answer

    async def rest(self) -> bytes:
        """Return all until the connection ends. Raises ``ConnectionResetError`` if reset."""
        return await self.reader.read()


def policy(port: int = 0) -> Policy:
    """Return a policy that lets this very user in."""
    return Policy(port=port, uid=os.getuid(), clients="same-user", key=CALLER_KEY)


@asynccontextmanager
async def doorway(
    url: str,
    *,
    purse: Purse | None = None,
    row: Provider | None = None,
    limits: Limits | None = None,
    clock: Clock | None = None,
    client: Client | None = None,
    peer_uid: Callable[[], int | None] = os.getuid,
    health: Callable[[], Mapping[str, object]] = lambda: {"status": "ok"},
) -> AsyncIterator[Doorway]:
    """Open a front door before the upstream at *url*, on a port of its own."""
    purse = purse or Purse()
    row = row or provider(url)
    client = client or Client(Outbound({}))
    sources = {} if row.auth is Auth.PASSTHROUGH else {row.name: purse}
    passage = Passage(Routes.of([row], default=row.name), sources, policy(), limits or Limits())

    async def invite(name: str) -> str:
        way.invited.append(name)
        return INVITATION

    def whose(ours: tuple[str, int], theirs: tuple[str, int]) -> int | None:
        way.peers.append((ours, theirs))
        return peer_uid()

    door = FrontDoor(
        passage=lambda: way.passage,
        client=client,
        clock=clock or SystemClock(),
        instance=INSTANCE,
        health=health,
        ready={"kimi": True, "idle": False}.get,
        invite=invite,
        peer_uid=whose,
    )
    way = Doorway(door, passage, purse)
    way.server = await asyncio.get_running_loop().create_server(door, "127.0.0.1", 0)
    way.port = way.server.sockets[0].getsockname()[1]
    way.passage = replace(passage, policy=policy(way.port))
    try:
        yield way
    finally:
        way.server.close()
        door.drop()
        await door.drain(0)
        await client.close()
