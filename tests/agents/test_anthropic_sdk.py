"""The official Python SDK through the real daemon."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from anthropic import Anthropic, APIStatusError, AuthenticationError

from tests.agents.agency import OWN, agency
from tests.world import World, world

pytestmark = [pytest.mark.agents, pytest.mark.timeout(60)]


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> Iterator[World]:
    """A machine with a login and a running daemon."""
    with world(tmp_path) as machine:
        machine.log_in()
        machine.start()
        yield machine


def test_whole_and_streamed(machine: World) -> None:
    """Both kinds of answer arrive as the SDK expects them."""
    with Anthropic(base_url=f"{machine.url}/kimi", api_key="dummy", max_retries=0) as client:
        said = client.messages.create(
            model="kimi-k2.5", max_tokens=10, messages=[{"role": "user", "content": "Hello"}]
        )
        assert said.content[0].type == "text"
        assert said.content[0].text == "Hello from the upstream."
        with client.messages.stream(
            model="kimi-k2.5", max_tokens=10, messages=[{"role": "user", "content": "Hello"}]
        ) as stream:
            assert "".join(stream.text_stream) == "Hello from the upstream."


def test_counting_and_models(machine: World) -> None:
    """The smaller calls work as well."""
    with Anthropic(base_url=machine.url, auth_token="dummy", api_key=None) as client:
        counted = client.messages.count_tokens(
            model="kimi-k2.5", messages=[{"role": "user", "content": "Hello"}]
        )
        assert counted.input_tokens > 0
        assert client.models.list().data


def test_no_login(machine: World) -> None:
    """A missing login is the SDK's authentication error, with the way out in its words."""
    machine.bridge("logout")
    with (
        Anthropic(base_url=f"{machine.url}/kimi", api_key="dummy") as client,
        pytest.raises(AuthenticationError, match="Kimi login needed: open "),
    ):
        client.messages.create(
            model="kimi-k2.5", max_tokens=10, messages=[{"role": "user", "content": "Hello"}]
        )


def test_every_provider(tmp_path: Path) -> None:
    """Each provider that speaks Messages answers through its prefix, whatever it is asked with."""
    with agency(tmp_path) as house:
        house.machine.start()
        names = ("minimax", "deepseek", "glm", "openrouter", "my-gateway", "anthropic")
        for name in names:
            key = OWN if name == "anthropic" else "dummy"
            with Anthropic(
                base_url=f"{house.machine.url}/{name}", auth_token=key, api_key=None, max_retries=0
            ) as client:
                said = client.messages.create(
                    model="m", max_tokens=10, messages=[{"role": "user", "content": "Hello"}]
                )
            assert said.content[0].type == "text"
            assert said.content[0].text == "Hello from the upstream."
            assert len(house.asked(name)) == 1


def test_provider_without_messages(tmp_path: Path) -> None:
    """A provider that does not speak Messages is told to be one, in the SDK's own error."""
    with agency(tmp_path) as house:
        house.machine.start()
        with (
            Anthropic(base_url=f"{house.machine.url}/cerebras", api_key="dummy") as client,
            pytest.raises(APIStatusError, match="cerebras"),
        ):
            client.messages.create(
                model="m", max_tokens=10, messages=[{"role": "user", "content": "Hello"}]
            )
        assert house.asked("cerebras") == []
