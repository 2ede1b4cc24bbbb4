"""Plays the authorization server and the API for ``bridge demo``, on one loopback port.

Both do what the real ones are known to do, and no more: a device flow that somebody approves at
the third poll, refresh tokens that rotate, access tokens that die early, an answer streamed event
by event. The room knows nothing of bridge; it remembers what it saw, so that the play can prove
what happened. A *fault* makes it misbehave, to prove that the play would notice.
"""

from __future__ import annotations

import asyncio
import enum
import hashlib
import json
import secrets
from collections import deque
from dataclasses import dataclass, field
from typing import Final, Self

from aiohttp import web

from bridge.clock import Clock

#: Seconds between two polls; the real server asks for five.
POLL_SECONDS: Final = 0.3
#: The person at the browser approves before this poll.
APPROVED_AT_POLL: Final = 3
USER_CODE: Final = "DEMO-2026"

_WORDS: Final = ("Every", " word", " of", " this", " came", " when", " it", " was", " said", ".")


class Fault(enum.StrEnum):
    """What goes wrong on purpose."""

    LOGIN = "login"
    REFRESH = "refresh"
    END = "end"


class Mood(enum.Enum):
    """What the API does with one request."""

    ANSWER = enum.auto()
    REFUSE = enum.auto()
    BREAK = enum.auto()


@dataclass(frozen=True, slots=True)
class Turn:
    """The API's next behaviour: each event waits for one of *permits*, where there are any."""

    mood: Mood = Mood.ANSWER
    permits: asyncio.Semaphore | None = None


@dataclass(slots=True)
class Exchange:
    """One request as the API saw it: the token it came with, and what went back."""

    token: str = field(repr=False)
    credentials: int
    body: bytes = field(repr=False)
    status: int = 401
    sent: bytearray = field(default_factory=bytearray)

    @property
    def digest(self) -> str:
        """The SHA-256 of every byte that was sent as the answer."""
        return hashlib.sha256(self.sent).hexdigest()


class Stage:
    """The stand-ins, serving within ``async with``.

    *lifetime* is that of the access tokens issued from now on, in seconds. *turns* holds how the
    API treats its next requests; when it is empty, they are answered. *secrets* are all tokens
    and codes that were ever given out.
    """

    def __init__(self, clock: Clock, *, lifetime: float, fault: Fault | None = None) -> None:
        self.lifetime = lifetime
        self.turns: deque[Turn] = deque()
        self.exchanges: list[Exchange] = []
        self.secrets: list[str] = []
        self.polls = 0
        self.refreshes = 0
        self.spent_presented = 0
        self.refresh_token = ""
        self.url = ""
        self._clock = clock
        self._fault = fault
        self._device_code = ""
        self._expiry: dict[str, float] = {}
        routes = web.Application(client_max_size=1 << 26)
        routes.router.add_post("/api/oauth/device_authorization", self._device_authorization)
        routes.router.add_post("/api/oauth/token", self._token)
        routes.router.add_post("/coding/v1/messages", self._messages)
        self._runner = web.AppRunner(routes, access_log=None, shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *reason: object) -> None:
        await self._runner.cleanup()

    def remaining(self, token: str) -> float:
        """Return the seconds that the access token *token* is still good for, at most 0 if none."""
        return self._expiry.get(token, 0.0) - self._clock.now()

    async def _device_authorization(self, request: web.Request) -> web.Response:
        del request
        self._device_code = self._secret()
        page = f"{self.url}/device"
        return web.json_response(
            {
                "device_code": self._device_code,
                "user_code": USER_CODE,
                "verification_uri": page,
                "verification_uri_complete": f"{page}?user_code={USER_CODE}",
                "expires_in": 60,
                "interval": POLL_SECONDS,
            }
        )

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if form.get("grant_type") == "refresh_token":
            return self._refresh(str(form.get("refresh_token")))
        self.polls += 1
        if form.get("device_code") != self._device_code:
            return _refusal("invalid_grant")
        if self._fault is Fault.LOGIN:
            return _refusal("access_denied")
        if self.polls < APPROVED_AT_POLL:
            return _refusal("authorization_pending")
        return self._issue()

    def _refresh(self, presented: str) -> web.Response:
        if presented != self.refresh_token:
            self.spent_presented += 1
            return _refusal("invalid_grant")
        if self._fault is Fault.REFRESH:
            return _refusal("invalid_grant")
        self.refreshes += 1
        return self._issue()

    def _issue(self) -> web.Response:
        access, self.refresh_token = self._secret(), self._secret()
        self._expiry[access] = self._clock.now() + self.lifetime
        return web.json_response(
            {
                "access_token": access,
                "refresh_token": self.refresh_token,
                "token_type": "Bearer",
                "scope": "kimi-code",
                "expires_in": self.lifetime,
            }
        )

    def _secret(self) -> str:
        secret = secrets.token_urlsafe(32)
        self.secrets.append(secret)
        return secret

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        credentials = sum(name in request.headers for name in ("authorization", "x-api-key"))
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        exchange = Exchange(token, credentials, await request.read())
        self.exchanges.append(exchange)
        turn = self.turns.popleft() if self.turns else Turn()
        if turn.mood is Mood.REFUSE:
            self._expiry.pop(token, None)
        if scheme != "Bearer" or self.remaining(token) <= 0:
            return _unauthenticated()
        exchange.status = 200
        return await self._stream(request, exchange, turn)

    async def _stream(
        self, request: web.Request, exchange: Exchange, turn: Turn
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        events = _events()
        for event in events[:3] if turn.mood is Mood.BREAK else events:
            if turn.permits is not None:
                await turn.permits.acquire()
            exchange.sent += event
            await response.write(event)
        if turn.mood is Mood.BREAK and self._fault is not Fault.END and request.transport:
            request.transport.abort()
        return response


def _refusal(error: str) -> web.Response:
    """Return what the real server says to a refused or pending grant: 400, whatever it is."""
    return web.json_response({"error": error}, status=400)


def _unauthenticated() -> web.Response:
    message = "The API Key appears to be invalid or may have expired."
    error = {"type": "authentication_error", "message": message}
    return web.json_response({"type": "error", "error": error}, status=401)


def _events() -> list[bytes]:
    """Return the events of one answer in the dialect of the Anthropic Messages API."""
    block = {"type": "text", "text": ""}
    message = {"id": "msg_demo", "type": "message", "role": "assistant", "content": []}
    deltas = [{"type": "text_delta", "text": word} for word in _WORDS]
    documents: list[dict[str, object]] = [
        {"type": "message_start", "message": {**message, "model": "kimi-for-coding"}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        {"type": "message_stop"},
    ]
    return [f"event: {d['type']}\ndata: {json.dumps(d)}\n\n".encode() for d in documents]
