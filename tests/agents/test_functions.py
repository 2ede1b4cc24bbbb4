"""The generated functions in real shells, with the real Claude Code behind them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents.agency import OWN, REQUIRED, Agency, agency, needs
from tests.fakes.exchange import fingerprint

pytestmark = needs("claude")

#: Every provider that has a function for Claude Code, and the model that it is to be asked for.
MODELS = {
    "minimax": "MiniMax-M2.5",
    "deepseek": "deepseek-reasoner",
    "glm": "glm-4.7",
    "openrouter": "anthropic/claude-sonnet-4",
    "my-gateway": "my-model",
}
#: What a person may have set for another account, and what no session may take up.
RIVALS = {"ANTHROPIC_API_KEY": "sk-of-another-account", "CLAUDE_CODE_USE_VERTEX": "1"}


@pytest.fixture(name="house")
def _house(tmp_path: Path) -> Iterator[Agency]:
    with agency(tmp_path) as house:
        yield house


def there(shell: str) -> None:
    """Skip where *shell* is not installed, unless that is a failure."""
    if shutil.which(shell) is None and not REQUIRED:
        pytest.skip(f"{shell} is not installed")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_first_command_of_the_day(house: Agency, shell: str) -> None:
    """One line in the start-up file, then claude-kimi: the daemon starts and Claude answers."""
    there(shell)
    script = (
        "claude-kimi -p 'Hello there' --output-format text && claude-kimi -p Hello\n"
        'echo "key=$ANTHROPIC_AUTH_TOKEN url=$ANTHROPIC_BASE_URL"\n'
    )
    done = house.shell(shell, script, **RIVALS)
    assert done.stdout.count("Hello from the upstream.") == 2, done.stderr
    assert done.stdout.endswith("key= url=\n")
    assert house.machine.bridge("--check", "kimi").returncode == 0
    ours = fingerprint(house.machine.token()["access_token"])
    requests = house.machine.upstream.requests()
    assert len(requests) >= 2
    for request in requests:
        assert request["bearer"] == ours
        assert request["model"] == "kimi-k2.5"
        assert "x-api-key" not in {name.lower() for name, _ in request["headers"]}
        assert request["target"].startswith("/coding/v1/messages")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_provider(house: Agency, shell: str) -> None:
    """Each function does a tool turn at its own provider, with its own key and model."""
    there(shell)
    lines = [
        f"claude-{name} -p 'RUN-TOOL: echo made-for-{name}' --allowedTools Bash" for name in MODELS
    ]
    done = house.shell(shell, "\n".join(lines), **RIVALS)
    for name, model in MODELS.items():
        assert f"The tool said: made-for-{name}" in done.stdout, done.stderr
        assert {request["model"] for request in house.asked(name)} == {model}
        assert len(house.asked(name)) >= 2


def test_choices_at_launch(house: Agency) -> None:
    """A model, and a tier, that the person chooses for one call are what is asked for."""
    script = (
        "ANTHROPIC_MODEL=chosen claude-openrouter -p Hello\n"
        "claude-glm --model haiku -p Hello\nclaude-glm --model fable -p Hello\n"
    )
    house.shell("bash", script)
    assert [each["model"] for each in house.asked("openrouter")] == ["chosen"]
    assert [each["model"] for each in house.asked("glm")] == ["glm-4.5-air", "glm-4.7"]


def test_context_window(house: Agency) -> None:
    """Claude Code takes the window of the row for the model's, and has nothing to guess."""
    done = house.shell("bash", "claude-deepseek -p Hello --output-format json")
    usage = json.loads(done.stdout)["modelUsage"]
    assert usage["deepseek-reasoner"]["contextWindow"] == 131_072
    assert "assumes a context window" not in done.stderr


def test_agent_inside_of_an_agent(house: Agency) -> None:
    """Claude Code runs a function of ours with its own shell, and the inner one has its models."""
    settings = house.machine.home / ".bashrc"
    settings.write_text(house.shell("bash", "declare -f").stdout)
    words = "RUN-TOOL: claude-minimax -p Hello"
    done = house.shell("bash", f"claude-glm -p '{words}' --allowedTools Bash", SHELL="/bin/bash")
    assert done.stdout.startswith("The tool said: "), done.stderr
    assert "Hello from the upstream." in done.stdout
    assert {each["model"] for each in house.asked("minimax")} == {"MiniMax-M2.5"}


def test_own_account(house: Agency) -> None:
    """claude-anthropic goes through the bridge with the person's own credential, and no other."""
    done = house.shell("bash", "claude-anthropic -p Hello", ANTHROPIC_AUTH_TOKEN=OWN)
    assert done.stdout == "Hello from the upstream.\n", done.stderr
    assert house.asked("anthropic")


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_callers_show_a_key(tmp_path: Path, shell: str) -> None:
    """Where callers must show the key they do, beside an own credential too, and it stays here."""
    there(shell)
    with agency(tmp_path, '[server]\nclients = "key"') as house:
        script = f"claude-minimax -p Hello\nANTHROPIC_AUTH_TOKEN={OWN} claude-anthropic -p Hello"
        done = house.shell(shell, script)
        assert done.stdout == "Hello from the upstream.\n" * 2, done.stderr
        assert house.asked("minimax")
        assert house.asked("anthropic")
