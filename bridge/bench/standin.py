"""Plays Kimi for the bench: the demo's stand-ins, which here give short answers as well."""

from __future__ import annotations

import json
from typing import Final

from aiohttp import web

from bridge.demo.stage import Exchange, Stage

#: What a request is answered with that asks for no stream.
SHORT_ANSWER: Final = json.dumps(
    {
        "id": "msg_bench",
        "type": "message",
        "role": "assistant",
        "model": "kimi-for-coding",
        "content": [{"type": "text", "text": "A short answer."}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 12, "output_tokens": 4},
    }
).encode()


class StandIn(Stage):
    """The authorization server and the API on one loopback port, serving within ``async with``."""

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if json.loads(body).get("stream"):
            return await super()._messages(request)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        credentials = sum(name in request.headers for name in ("authorization", "x-api-key"))
        exchange = Exchange(token, credentials, body)
        self.exchanges.append(exchange)
        if scheme != "Bearer" or self.remaining(token) <= 0:
            return web.Response(status=401)
        exchange.status = 200
        exchange.sent += SHORT_ANSWER
        return web.Response(body=SHORT_ANSWER, content_type="application/json")
