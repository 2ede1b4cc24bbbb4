"""The official Python SDK of OpenAI through the real daemon."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import AuthenticationError, OpenAI

from tests.agents.agency import Agency, agency

pytestmark = [pytest.mark.agents, pytest.mark.timeout(60)]

#: A program that knows nothing of the bridge.
PROGRAM = """
from openai import OpenAI
with OpenAI() as client:
    print(client.responses.create(model="m", input="Hello").output_text)
"""


@pytest.fixture(name="house")
def _house(tmp_path: Path) -> Iterator[Agency]:
    with agency(tmp_path) as house:
        house.machine.start()
        yield house


def client(house: Agency, provider: str) -> OpenAI:
    """The official client, pointed at *provider* with a dummy key."""
    return OpenAI(
        base_url=f"{house.machine.url}/{provider}/v1", api_key="dummy", max_retries=0, timeout=20
    )


@pytest.mark.parametrize("name", ["minimax", "deepseek", "glm", "openrouter", "cerebras"])
def test_chat(house: Agency, name: str) -> None:
    """Both kinds of answer arrive as the SDK expects them, from each provider that has Chat."""
    with client(house, name) as openai:
        said = openai.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Hello"}]
        )
        assert said.choices[0].message.content == "Hello from the upstream."
        with openai.chat.completions.stream(
            model="m", messages=[{"role": "user", "content": "Hello"}]
        ) as stream:
            final = stream.get_final_completion()
        assert final.choices[0].message.content == "Hello from the upstream."
        assert openai.models.list().data
    assert len(house.asked(name)) == 3


def test_responses(house: Agency) -> None:
    """Both kinds of answer arrive, from a provider that has Responses."""
    with client(house, "minimax") as openai:
        assert openai.responses.create(model="m", input="Hello").output_text
        with openai.responses.stream(model="m", input="Hello") as stream:
            assert stream.get_final_response().output_text == "Hello from the upstream."
    assert {each["target"] for each in house.asked("minimax")} == {"/minimax/v1/responses"}


def test_program_that_knows_nothing(house: Agency) -> None:
    """``bridge run`` is enough for a program that only has the SDK's own defaults."""
    done = house.bridge("run", "minimax", "--", sys.executable, "-c", PROGRAM, OPENAI_API_KEY="x")
    assert done.stdout == "Hello from the upstream.\n", done.stderr
    assert house.asked("minimax")


def test_key_that_is_refused(house: Agency) -> None:
    """A key that the provider refuses is the SDK's own error, in the provider's words."""
    (house.machine.home / ".minimax.key").write_text("sk-another-0123456789\n")
    with client(house, "minimax") as openai, pytest.raises(AuthenticationError, match="API Key"):
        openai.models.list()
