"""What a model says in OpenAI's two dialects, Chat and Responses, decided by the words of a prompt.

Pure: a request body in, a turn out, and a turn as one JSON document or as its events. The marker
``RUN-TOOL: <command>`` asks for the agent's shell, and the next turn repeats what the tool said.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from tests.fakes.conversation import TOOL_SAID, Turn

#: What agents call their shell, and the argument that is the command.
SHELLS: Final = {"Bash": "command", "bash": "command", "exec_command": "cmd"}

_RUN_TOOL: Final = re.compile(r"RUN-TOOL:[ \t]*([^\r\n]+)")
_USAGE: Final = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
_SPENT: Final = {
    "input_tokens": 11,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 18,
}


def decided(prompt: str, results: list[str], tools: Iterable[str]) -> Turn:
    """Return the turn after *results* of tools, else after *prompt*, for an agent with *tools*."""
    if results:
        return Turn(TOOL_SAID + "\n".join(results))
    command = _RUN_TOOL.search(prompt)
    shell = next((name for name in tools if name in SHELLS), None)
    if command is None or shell is None:
        return Turn()
    wish = {SHELLS[shell]: command.group(1).strip()}
    return Turn("", shell, {**wish, **({"description": "as asked"} if shell == "bash" else {})})


def chat_turn(body: Mapping[str, Any]) -> Turn:
    """Return the turn that answers the Chat request *body*."""
    messages = body.get("messages", [])
    asked = max((i for i, each in enumerate(messages) if each["role"] == "user"), default=0)
    results = [_text(each["content"]) for each in messages[asked:] if each["role"] == "tool"]
    tools = [tool["function"]["name"] for tool in body.get("tools", ())]
    return decided(_text(messages[asked]["content"]) if messages else "", results, tools)


def chat_answer(turn: Turn, model: str, number: int) -> dict[str, Any]:
    """Return *turn* as the one JSON object of a Chat answer that is not streamed."""
    message: dict[str, Any] = {"role": "assistant", "content": turn.text or None}
    if turn.tool:
        message["tool_calls"] = [_call(turn, number)]
    choice = {"index": 0, "message": message, "finish_reason": _reason(turn)}
    return {**_chat(model, number, ""), "choices": [choice], "usage": _USAGE}


def chat_events(turn: Turn, model: str, number: int) -> Iterator[bytes]:
    """Yield *turn* as the events of a Chat stream, the usage last but one."""
    head = _chat(model, number, ".chunk")

    def chunk(delta: Mapping[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return _data({**head, "choices": [choice]})

    yield chunk({"role": "assistant", "content": ""})
    if turn.tool:
        yield chunk({"tool_calls": [{"index": 0, **_call(turn, number)}]})
    else:
        for part in _halves(turn.text):
            yield chunk({"content": part})
    yield chunk({}, _reason(turn))
    yield _data({**head, "choices": [], "usage": _USAGE})
    yield b"data: [DONE]\n\n"


def responses_turn(body: Mapping[str, Any]) -> Turn:
    """Return the turn that answers the Responses request *body*."""
    items = body.get("input", [])
    if isinstance(items, str):
        return decided(items, [], ())
    asked = max((i for i, each in enumerate(items) if each.get("role") == "user"), default=0)
    results = [
        _text(each["output"])
        for each in items[asked:]
        if each.get("type") == "function_call_output"
    ]
    prompt = _text(items[asked].get("content")) if items else ""
    return decided(prompt, results, [tool.get("name", "") for tool in body.get("tools", ())])


def responses_answer(turn: Turn, model: str, number: int) -> dict[str, Any]:
    """Return *turn* as the one JSON object of a Responses answer that is not streamed."""
    return {
        "id": f"resp_{number:06d}",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "completed",
        "model": model,
        "output": [_item(turn, number)],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": _SPENT,
    }


def responses_events(turn: Turn, model: str, number: int) -> Iterator[bytes]:
    """Yield *turn* as the events of a Responses stream."""
    whole = responses_answer(turn, model, number)
    item = whole["output"][0]
    places = {"item_id": item["id"], "output_index": 0}
    empty: dict[str, Any] = {"content": []} if item["type"] == "message" else {"arguments": ""}
    open_item = {**item, "status": "in_progress", **empty}
    opened = {**whole, "status": "in_progress", "output": [], "usage": None}
    steps: list[tuple[str, dict[str, Any]]] = [
        ("response.created", {"response": opened}),
        ("response.output_item.added", {"output_index": 0, "item": open_item}),
    ]
    if turn.tool:
        name = "response.function_call_arguments.delta"
        steps += [(name, {**places, "delta": part}) for part in _halves(item["arguments"])]
    else:
        within, part_of = {**places, "content_index": 0}, item["content"][0]
        steps.append(("response.content_part.added", {**within, "part": {**part_of, "text": ""}}))
        name = "response.output_text.delta"
        within["logprobs"] = []
        steps += [(name, {**within, "delta": part}) for part in _halves(turn.text)]
        steps.append(("response.content_part.done", {**within, "part": part_of}))
    steps.append(("response.output_item.done", {"output_index": 0, "item": item}))
    steps.append(("response.completed", {"response": whole}))
    for count, (name, fields) in enumerate(steps):
        document = json.dumps({"type": name, "sequence_number": count, **fields})
        yield f"event: {name}\ndata: {document}\n\n".encode()


def _chat(model: str, number: int, kind: str) -> dict[str, Any]:
    identity = {"id": f"chatcmpl-{number:06d}", "object": f"chat.completion{kind}"}
    return {**identity, "created": 1_700_000_000, "model": model}


def _call(turn: Turn, number: int) -> dict[str, Any]:
    function = {"name": turn.tool, "arguments": json.dumps(turn.arguments)}
    return {"id": f"call_{number:06d}", "type": "function", "function": function}


def _item(turn: Turn, number: int) -> dict[str, Any]:
    if turn.tool:
        return {
            "id": f"fc_{number:06d}",
            "type": "function_call",
            "status": "completed",
            "call_id": f"call_{number:06d}",
            "name": turn.tool,
            "arguments": json.dumps(turn.arguments),
        }
    return {
        "id": f"msg_{number:06d}",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [{"type": "output_text", "text": turn.text, "annotations": []}],
    }


def _reason(turn: Turn) -> str:
    return "tool_calls" if turn.tool else "stop"


def _text(content: object) -> str:
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content)
    return str(content or "")


def _data(document: object) -> bytes:
    return f"data: {json.dumps(document)}\n\n".encode()


def _halves(text: str) -> tuple[str, str]:
    middle = len(text) // 2
    return text[:middle], text[middle:]
