"""The provider of many languages keeps to the SDKs' own reading of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import AuthenticationError, OpenAI

from tests.fakes.polyglot import PolyglotProcess

BASH: Any = {"name": "bash", "parameters": {"type": "object", "properties": {}}}


@pytest.fixture(name="provider")
def _provider(tmp_path: Path) -> Iterator[PolyglotProcess]:
    keys = tmp_path / "keys"
    keys.write_text("good\n")
    with PolyglotProcess(keys) as provider:
        yield provider


def client(provider: PolyglotProcess, key: str = "good") -> OpenAI:
    """The official client, told where the provider is."""
    return OpenAI(base_url=f"{provider.url}/v1", api_key=key, max_retries=0)


def test_tool_turn_in_chat(provider: PolyglotProcess) -> None:
    """The model asks for the shell, and then repeats what it said."""
    with client(provider) as openai:
        asked: Any = {"role": "user", "content": "RUN-TOOL: echo 1"}
        first = openai.chat.completions.create(
            model="m",
            messages=[asked],
            tools=[{"type": "function", "function": BASH}],
        )
        [call] = first.choices[0].message.tool_calls or []
        assert call.type == "function"
        assert (call.function.name, "echo 1" in call.function.arguments) == ("bash", True)
        said: Any = {"role": "tool", "tool_call_id": call.id, "content": "1"}
        with openai.chat.completions.stream(
            model="m",
            messages=[asked, said],
        ) as stream:
            assert stream.get_final_completion().choices[0].message.content == "The tool said: 1"


def test_tool_turn_in_responses(provider: PolyglotProcess) -> None:
    """The same in the other dialect, streamed and whole."""
    tools: Any = [{"type": "function", **BASH}]
    with client(provider) as openai:
        asked: Any = {
            "role": "user",
            "content": [{"type": "input_text", "text": "RUN-TOOL: echo 1"}],
        }
        with openai.responses.stream(
            model="m",
            input=[asked],
            tools=tools,
        ) as stream:
            [call] = stream.get_final_response().output
        assert call.type == "function_call"
        assert "echo 1" in call.arguments
        said: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "1"}
        again: Any = {**asked, "type": "message"}
        last = openai.responses.create(model="m", input=[again, said])
        assert last.output_text == "The tool said: 1"


def test_wrong_key(provider: PolyglotProcess) -> None:
    """Who shows another key is refused."""
    with client(provider, "bad") as openai, pytest.raises(AuthenticationError):
        openai.models.list()
