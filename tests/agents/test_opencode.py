"""The real OpenCode, through the real daemon, in both languages that it has for us."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.clients import opencode
from tests.agents.agency import Agency, agency, needs

pytestmark = needs("opencode")

#: OpenCode puts a prompt of several words into quotes, of which the comment takes the last.
PROMPT = "RUN-TOOL: echo made-by-$((40+2)) #"
#: Keeps it from asking the world about itself.
QUIET = dict.fromkeys(
    [
        f"OPENCODE_DISABLE_{what}"
        for what in ("MODELS_FETCH", "AUTOUPDATE", "LSP_DOWNLOAD", "DEFAULT_PLUGINS")
    ],
    "1",
)
#: A provider, and the path and model that OpenCode is to ask it with.
PROVIDERS = {
    "minimax": ("/minimax/anthropic/v1/messages", "MiniMax-M2.5"),
    "deepseek": ("/deepseek/anthropic/v1/messages", "deepseek-reasoner"),
    "cerebras": ("/cerebras/v1/chat/completions", "zai-glm-4.7"),
}


@pytest.fixture(name="house")
def _house(tmp_path: Path) -> Iterator[Agency]:
    with agency(tmp_path) as house:
        yield house


def said(output: str) -> str:
    """Return what OpenCode was told by the model, of what it prints as JSON."""
    events: list[dict[str, Any]] = [json.loads(line) for line in output.splitlines()]
    return "".join(each["part"]["text"] for each in events if each["type"] == "text")


@pytest.mark.parametrize(("name", "place", "model"), [(k, *v) for k, v in PROVIDERS.items()])
def test_run(house: Agency, name: str, place: str, model: str) -> None:
    """``bridge run`` lets OpenCode do a tool turn at the provider, and writes no file for it."""
    words = ("opencode", "run", "--format", "json", PROMPT)
    done = house.bridge("run", name, "--", *words, **QUIET, ANTHROPIC_API_KEY="sk-another")
    assert "made-by-42" in said(done.stdout), done.stdout + done.stderr
    requests = house.asked(name)
    assert {each["target"] for each in requests} == {place}
    assert model in {each["model"] for each in requests}
    assert not list((house.machine.home / "work").iterdir())


def test_function(house: Agency) -> None:
    """The generated function does the same, and the person's own model wins."""
    script = "opencode-glm run --format json --model bridge-glm/glm-4.5-air Hello"
    done = house.shell("bash", script, **QUIET)
    assert "Hello from the upstream." in said(done.stdout), done.stdout + done.stderr
    assert {each["model"] for each in house.asked("glm")} == {"glm-4.5-air"}


def test_callers_show_a_key(tmp_path: Path) -> None:
    """Where callers must show the key, a file of ours alone is enough for that."""
    with agency(tmp_path, '[server]\nclients = "key"') as house:
        machine = house.machine
        machine.start()
        key_file = str(machine.home / ".local/state/bridge/key")
        made = opencode.configuration(machine.url, house.rows["cerebras"], key_file)
        (machine.home / "work").mkdir()
        (machine.home / "work/opencode.json").write_text(json.dumps(made))
        done = house.run(
            ["opencode", "run", "--format", "json", PROMPT], **QUIET, NO_PROXY="127.0.0.1"
        )
        assert "made-by-42" in said(done.stdout), done.stdout + done.stderr
        assert house.asked("cerebras")
