"""What a model says in the Anthropic Messages dialect, decided by the words of the prompt.

Pure: a request body in, a turn out, and a turn as one JSON message or as its events. The markers
let a test steer a real agent through its prompt alone:

- ``RUN-TOOL: <command>`` asks for the Bash tool, and the next turn repeats what the tool said;
- ``CUT`` breaks every answer off in the middle, ``CUT-ONCE`` only the first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

GREETING: Final = "Hello from the upstream."
TOOL_SAID: Final = "The tool said: "

_RUN_TOOL: Final = re.compile(r"RUN-TOOL:[ \t]*([^\r\n]+)")
_CUT: Final = re.compile(r"\bCUT(-ONCE)?\b")


@dataclass(frozen=True, slots=True)
class Turn:
    """What the model does next: say *text*, or use *tool* with *arguments*.

    *cut* says that the answer breaks off: ``"always"``, ``"once"`` or not at all.
    """

    text: str = GREETING
    tool: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    cut: str = ""


def turn(body: Mapping[str, Any]) -> Turn:
    """Return the turn that answers the Messages request *body*."""
    blocks = _last_blocks(body)
    results = [_text(block.get("content")) for block in blocks if block["type"] == "tool_result"]
    if results:
        return Turn(TOOL_SAID + "\n".join(results))
    prompt = "\n".join(str(block.get("text", "")) for block in blocks if block["type"] == "text")
    if cut := _CUT.search(prompt):
        return Turn(cut="once" if cut.group(1) else "always")
    command = _RUN_TOOL.search(prompt)
    if command and any(tool.get("name") == "Bash" for tool in body.get("tools", ())):
        wish = {"command": command.group(1).strip(), "description": "run what the prompt asks for"}
        return Turn("", "Bash", wish)
    return Turn()


def message(turn: Turn, model: str, number: int) -> dict[str, Any]:
    """Return *turn* as the one JSON object of an answer that is not streamed."""
    return {
        "id": f"msg_{number:06d}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [_block(turn, number)],
        "stop_reason": "tool_use" if turn.tool else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 11, "output_tokens": 7},
    }


def events(turn: Turn, model: str, number: int) -> Iterator[bytes]:
    """Yield *turn* as server-sent events, from ``message_start`` to ``message_stop``."""
    whole = message(turn, model, number)
    start = {**whole, "content": [], "stop_reason": None}
    start["usage"] = {"input_tokens": 11, "output_tokens": 1}
    yield event("message_start", message=start)
    (block,) = whole["content"]
    empty = {**block, "input": {}} if turn.tool else {**block, "text": ""}
    yield event("content_block_start", index=0, content_block=empty)
    yield event("ping")
    for part in _halves(json.dumps(turn.arguments) if turn.tool else turn.text):
        delta = (
            {"type": "input_json_delta", "partial_json": part}
            if turn.tool
            else {"type": "text_delta", "text": part}
        )
        yield event("content_block_delta", index=0, delta=delta)
    yield event("content_block_stop", index=0)
    end = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield event("message_delta", delta=end, usage={"output_tokens": 7})
    yield event("message_stop")


def event(name: str, **fields: Any) -> bytes:
    """Return one server-sent event."""
    return f"event: {name}\ndata: {json.dumps({'type': name, **fields})}\n\n".encode()


def _block(turn: Turn, number: int) -> dict[str, Any]:
    if not turn.tool:
        return {"type": "text", "text": turn.text}
    identity = f"toolu_{number:06d}"
    return {"type": "tool_use", "id": identity, "name": turn.tool, "input": dict(turn.arguments)}


def _last_blocks(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the content of the last message of the user's; agents put system messages behind."""
    for spoken in reversed(body.get("messages", [])):
        if spoken.get("role") == "user":
            content = spoken.get("content")
            return [{"type": "text", "text": content}] if isinstance(content, str) else content
    return []


def _text(content: object) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content)
    return str(content or "")


def _halves(text: str) -> tuple[str, str]:
    middle = len(text) // 2
    return text[:middle], text[middle:]
