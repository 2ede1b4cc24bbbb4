"""The coding API: a loopback server that says what a test wants said, when the test wants it.

In a test: ``async with Upstream() as upstream``. Left alone it answers like a small model (see
``conversation``); with *hold* set the test gives each answer by hand. As a process, for real
agents: ``python -m tests.fakes.upstream --port 0``, driven by :class:`UpstreamProcess`.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import json
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from tests.fakes import conversation
from tests.fakes.child import LoopbackProcess, fetch, serve
from tests.fakes.conversation import Turn
from tests.fakes.exchange import Exchange, Request, recorded
from tests.fakes.loopback import LoopbackServer

#: Kimi's own words for a bad or expired access token.
UNAUTHENTICATED: Final = (
    "The API Key appears to be invalid or may have expired. "
    "Please verify your credentials and try again."
)

#: Says whether an access token is good.
Judge = Callable[[str], "bool | Awaitable[bool]"]


class Upstream(LoopbackServer):
    """The coding API with a memory of every request (``requests``, ``bearers``).

    Whom it lets in: everybody, or the bearers in *accepts*, or those that *judge* finds good;
    *refuse_all* refuses each of them, and *refuse_next* so many requests to come. Who is let in is
    answered by the test while *hold* is set (:meth:`arrives`), else by the next step of *script*,
    else by the words of the prompt. *gzip* compresses streams for clients that accept it.
    """

    def __init__(
        self, *, accepts: Iterable[str] | None = None, judge: Judge | None = None, port: int = 0
    ) -> None:
        super().__init__(port)
        self.accepts: set[str] | None = None if accepts is None else set(accepts)
        self.judge = judge
        self.refuse_all = False
        self.refuse_next = 0
        self.hold = False
        self.gzip = False
        self.script: deque[Mapping[str, Any]] = deque()
        self._held: asyncio.Queue[Exchange] = asyncio.Queue()
        self._cut: set[bytes] = set()

    @property
    def bearers(self) -> list[str]:
        """The bearer of each request, in order; empty where there was none."""
        return [request.bearer for request in self.requests]

    async def arrives(self) -> Exchange:
        """Return the next request that is the test's to answer; *hold* must be set."""
        return await self._held.get()

    async def answer(self, exchange: Exchange) -> None:
        """Refuse, hand over, or play the model."""
        if not await self._admits(exchange.request):
            await exchange.answers_json(401, _refusal(exchange.request))
        elif self.hold:
            self._held.put_nowait(exchange)
        else:
            await self._plays(exchange)

    async def administer(self, request: Request) -> object:
        """Tell what came (``requests``) and change what is refused (``expect-401?times=n``)."""
        verb, query = request.path.removeprefix("/admin/"), request.query
        if verb == "requests":
            return [recorded(each) for each in self.requests]
        if verb == "expect-401":
            self.refuse_next = int(query.get("times", "1"))
        elif verb == "refuse-all":
            self.refuse_all = query.get("on", "1") == "1"
        else:
            raise KeyError(verb)
        return {}

    async def _admits(self, request: Request) -> bool:
        if request.method == "HEAD":
            return True
        if self.refuse_next > 0:
            self.refuse_next -= 1
            return False
        if self.refuse_all or (self.accepts is not None and request.bearer not in self.accepts):
            return False
        verdict = self.judge(request.bearer) if self.judge else True
        return await verdict if inspect.isawaitable(verdict) else verdict

    async def _plays(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.method == "HEAD":
            await exchange.answers(200)
        elif request.path.endswith("/count_tokens"):
            await exchange.answers_json(200, {"input_tokens": 7})
        elif request.path.endswith("/models"):
            models = [{"id": "kimi-for-coding", "display_name": "Kimi", "context_length": 262_144}]
            await exchange.answers_json(200, {"data": models, "has_more": False})
        elif self.script:
            await self._performs(exchange, self.script.popleft())
        else:
            await self._says(exchange, conversation.turn(request.document))

    async def _performs(self, exchange: Exchange, step: Mapping[str, Any]) -> None:
        """Play one step of the script: an answer of any status, or a turn of the model."""
        if "status" in step:
            headers = step.get("headers", {})
            await exchange.answers_json(step["status"], step.get("body", {}), headers)
        else:
            await self._says(exchange, Turn(**step))

    async def _says(self, exchange: Exchange, turn: Turn) -> None:
        request, number = exchange.request, len(self.requests)
        model = str(request.document.get("model", "kimi-for-coding"))
        cut = turn.cut == "always" or (turn.cut == "once" and self._first_time(request.body))
        if not request.document.get("stream"):
            if cut:
                exchange.breaks()
            else:
                await exchange.answers_json(200, conversation.message(turn, model, number))
            return
        packed = self.gzip and "gzip" in request.header("accept-encoding")
        encoding = [("content-encoding", "gzip")] if packed else []
        await exchange.head(200, [("content-type", "text/event-stream"), *encoding])
        parts = list(conversation.events(turn, model, number))
        for part in gzipped(parts) if packed else parts[:4] if cut else parts:
            await exchange.says(part)
        if cut:
            exchange.breaks()
        else:
            await exchange.ends()

    def _first_time(self, body: bytes) -> bool:
        last = json.dumps(json.loads(body).get("messages", [])[-1:]).encode()
        seen = last in self._cut
        self._cut.add(last)
        return not seen


def gzipped(parts: Iterable[bytes]) -> Iterable[bytes]:
    """Yield *parts* as one gzip stream that is flushed after each of them."""
    packer = zlib.compressobj(wbits=31)
    for part in parts:
        yield packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH)
    yield packer.flush()


def _refusal(request: Request) -> dict[str, Any]:
    if "/messages" in request.path:
        error = {"type": "authentication_error", "message": UNAUTHENTICATED}
        return {"type": "error", "error": error}
    return {"error": {"message": UNAUTHENTICATED, "type": "invalid_authentication_error"}}


class UpstreamProcess(LoopbackProcess):
    """The coding API in a child process; *introspect* is the URL of an authorization server."""

    module = "tests.fakes.upstream"

    def __init__(self, *, introspect: str = "", script: Path | None = None) -> None:
        arguments = ["--introspect", introspect] if introspect else []
        super().__init__(*arguments, *(["--script", str(script)] if script else []))

    def requests(self) -> list[dict[str, Any]]:
        """Return what came, credentials hashed (see :func:`fingerprint`), in order of arrival."""
        answer: list[dict[str, Any]] = self.ask("requests")
        return answer

    def expect_401(self, times: int = 1) -> None:
        """Refuse so many requests to come, however good their token is."""
        self.ask("expect-401", times=times)

    def refuse_all(self, on: bool = True) -> None:
        """Refuse every token from now on, or no longer."""
        self.ask("refuse-all", on=int(on))


def introspection(url: str) -> Judge:
    """Return a judge that asks the authorization server at *url* about each token."""

    async def judge(bearer: str) -> bool:
        status, _ = await asyncio.to_thread(fetch, f"{url}/admin/valid?token={bearer}")
        return status == 200

    return judge


def listed(file: Path) -> Judge:
    """Return a judge that finds good what stands in *file* at the moment, one token a line."""
    return lambda bearer: bearer in file.read_text().split()


def main() -> None:
    """Serve as a process."""
    parser = argparse.ArgumentParser(description="a stand-in for the coding API on loopback")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--introspect", metavar="URL", help="ask this server about each token")
    parser.add_argument("--accepts", type=Path, metavar="FILE", help="good tokens, one a line")
    parser.add_argument("--script", type=Path, metavar="FILE", help="JSON list of answers to give")
    parser.add_argument("--until-eof", action="store_true")
    options = parser.parse_args()
    asyncio.run(_run(options))


async def _run(options: argparse.Namespace) -> None:
    judge: Judge | None = introspection(options.introspect) if options.introspect else None
    if options.accepts:
        judge = listed(options.accepts)
    upstream = Upstream(judge=judge, port=options.port)
    if options.script:
        upstream.script.extend(json.loads(options.script.read_text()))
    await serve(upstream, until_eof=options.until_eof)


if __name__ == "__main__":
    main()
