"""``claude-kimi`` in real shells, with the real Claude Code behind it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.exchange import fingerprint
from tests.world import World, claude_code, installed, world

CLAUDE = claude_code()
REQUIRED = bool(os.environ.get("BRIDGE_TEST_REQUIRE_AGENTS"))

pytestmark = [
    pytest.mark.agents,
    pytest.mark.timeout(120),
    pytest.mark.skipif(
        CLAUDE is None and not REQUIRED, reason="Claude Code is not installed: .ci/claude-code"
    ),
]


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> Iterator[World]:
    """A machine with a login and no daemon yet."""
    with world(tmp_path) as machine:
        machine.log_in()
        yield machine


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_first_command_of_the_day(machine: World, shell: str) -> None:
    """One line in the start-up file, then claude-kimi: the daemon starts and Claude answers."""
    assert CLAUDE is not None
    if shutil.which(shell) is None and not REQUIRED:
        pytest.skip(f"{shell} is not installed")
    script = (
        f'eval "$({installed()} shell-init {shell})"\n'
        "claude-kimi -p 'Hello there' --output-format text && claude-kimi -p Hello\n"
        'echo "key=${ANTHROPIC_AUTH_TOKEN:-none} url=${ANTHROPIC_BASE_URL:-none}"\n'
    )
    done = subprocess.run(
        [shell, "-c", script],
        env={
            **machine.environment,
            "PATH": f"{Path(CLAUDE).parent}:{os.environ['PATH']}",
            "ANTHROPIC_API_KEY": "sk-of-another-account",
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "HTTP_PROXY": "http://127.0.0.1:9",
        },
        cwd=machine.home,
        capture_output=True,
        text=True,
        timeout=100,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.stdout.count("Hello from the upstream.") == 2, done.stderr
    assert done.stdout.endswith("key=none url=none\n")
    assert machine.bridge("--check", "kimi").returncode == 0
    ours = fingerprint(machine.token()["access_token"])
    requests = machine.upstream.requests()
    assert len(requests) >= 2
    for request in requests:
        assert request["bearer"] == ours
        assert "x-api-key" not in {name.lower() for name, _ in request["headers"]}
        assert request["target"].startswith("/coding/v1/messages")
