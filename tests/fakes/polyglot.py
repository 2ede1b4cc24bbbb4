"""A provider that speaks Messages, Chat and Responses, and lets in whoever shows the right key.

As a process, for real agents: ``python -m tests.fakes.polyglot --port 0 --accepts FILE``, driven by
:class:`PolyglotProcess`.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.fakes import conversation, openai
from tests.fakes.child import LoopbackProcess, serve
from tests.fakes.conversation import Turn
from tests.fakes.exchange import Exchange
from tests.fakes.upstream import Upstream, listed


class Polyglot(Upstream):
    """An upstream whose model also speaks OpenAI's dialects, and knows every agent's shell."""

    async def _plays(self, exchange: Exchange) -> None:
        request, number = exchange.request, len(self.requests)
        body = request.document
        model = str(body.get("model", ""))
        if request.path.endswith("/chat/completions"):
            turn = openai.chat_turn(body)
            stream = openai.chat_events(turn, model, number)
            whole = openai.chat_answer(turn, model, number)
        elif request.path.endswith("/responses"):
            turn = openai.responses_turn(body)
            stream = openai.responses_events(turn, model, number)
            whole = openai.responses_answer(turn, model, number)
        elif request.path.endswith("/messages"):
            turn = messages_turn(body)
            stream = conversation.events(turn, model, number)
            whole = conversation.message(turn, model, number)
        else:
            await super()._plays(exchange)
            return
        if not body.get("stream"):
            await exchange.answers_json(200, whole)
            return
        await exchange.head(200, [("content-type", "text/event-stream")])
        for part in stream:
            await exchange.says(part)
        await exchange.ends()


def messages_turn(body: Mapping[str, Any]) -> Turn:
    """Return the turn that answers the Messages request *body*, whatever its shell is called."""
    renamed = [{**tool, "name": "Bash"} for tool in body.get("tools", ()) if _is_shell(tool)]
    turn = conversation.turn({**body, "tools": renamed})
    if not turn.tool:
        return turn
    name = next(str(tool["name"]) for tool in body["tools"] if _is_shell(tool))
    return Turn(turn.text, name, turn.arguments)


def _is_shell(tool: Mapping[str, Any]) -> bool:
    return tool.get("name") in openai.SHELLS


class PolyglotProcess(LoopbackProcess):
    """The provider in a child process; *accepts* is a file of good keys, one a line."""

    module = "tests.fakes.polyglot"

    def __init__(self, accepts: Path) -> None:
        super().__init__("--accepts", str(accepts))

    def requests(self) -> list[dict[str, Any]]:
        """Return what came, credentials hashed, in order of arrival."""
        answer: list[dict[str, Any]] = self.ask("requests")
        return answer


def main() -> None:
    """Serve as a process."""
    parser = argparse.ArgumentParser(description="a stand-in for any provider, on loopback")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--accepts", type=Path, metavar="FILE", help="good keys, one a line")
    parser.add_argument("--until-eof", action="store_true")
    options = parser.parse_args()
    server = Polyglot(judge=listed(options.accepts), port=options.port)
    asyncio.run(serve(server, until_eof=options.until_eof))


if __name__ == "__main__":
    main()
