"""The real Claude Code, through the real daemon, to a scripted upstream.

Nothing leaves the machine: non-essential traffic is off, and both servers are on loopback.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agents.agency import agent, needs
from tests.fakes.exchange import fingerprint
from tests.world import World, world

CLAUDE = agent("claude")

pytestmark = needs("claude")


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> Iterator[World]:
    """A machine with a login and a running daemon."""
    with world(tmp_path) as machine:
        machine.log_in()
        machine.start()
        yield machine


def says(machine: World, prompt: str, **environment: str) -> tuple[int, list[dict[str, Any]]]:
    """Let Claude Code answer *prompt*; return its exit code and what it printed, as JSON."""
    assert CLAUDE is not None
    work = machine.home / "work"
    work.mkdir(exist_ok=True)
    done = subprocess.run(
        [
            CLAUDE,
            "-p",
            prompt,
            "--output-format",
            "stream-json",
            "--verbose",
            "--allowedTools",
            "Bash",
        ],
        env={
            "HOME": str(machine.home),
            "PATH": os.environ["PATH"],
            "ANTHROPIC_BASE_URL": f"{machine.url}/kimi",
            "ANTHROPIC_AUTH_TOKEN": "planted-caller-token",
            "ANTHROPIC_MODEL": "kimi-k2.5",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_MAX_RETRIES": "2",
            **environment,
        },
        cwd=work,
        capture_output=True,
        text=True,
        timeout=150,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return done.returncode, events


def result(events: list[dict[str, Any]]) -> str:
    """Return the text with which the run ended."""
    return str(events[-1].get("result", ""))


def test_a_text_turn(machine: World) -> None:
    """A prompt is answered, with our token upstream and nothing of the caller's."""
    code, events = says(machine, "Hello")
    assert (code, result(events)) == (0, "Hello from the upstream.")
    requests = machine.upstream.requests()
    assert requests
    ours = fingerprint(machine.token()["access_token"])
    assert {request["bearer"] for request in requests} == {ours}
    heads = [dict(request["headers"]) for request in requests]
    assert all(head["User-Agent"].startswith("claude-cli/") for head in heads)


def test_a_tool_turn(machine: World) -> None:
    """A tool really runs, and what it said goes back and is answered."""
    code, events = says(machine, "RUN-TOOL: echo made-by-$((40+2))")
    assert code == 0
    assert "made-by-42" in result(events)


def test_a_token_refused_in_mid_session(machine: World) -> None:
    """A 401 between two turns is mended by one refresh, and Claude Code never sees it."""
    before = machine.authorization.state()["refreshes"]
    machine.upstream.expect_401(1)
    code, events = says(machine, "RUN-TOOL: echo still-here")
    assert code == 0
    assert "still-here" in result(events)
    assert machine.authorization.state()["refreshes"] == before + 1


def test_an_expired_login(machine: World) -> None:
    """With no login left, the person reads page and code in Claude Code, and at once."""
    machine.bridge("logout")
    code, events = says(machine, "Hello", CLAUDE_CODE_MAX_RETRIES="10")
    assert code == 1
    text = result(events)
    assert "Kimi login needed" in text
    assert "bridge login" in text
    pending = machine.authorization.state()["pending"]
    assert len(pending) == 1
    assert pending[0] in text


def test_the_code_in_the_error_works(machine: World) -> None:
    """Once the code from the error is approved, the next request works without a restart."""
    machine.authorization.set(interval=1)
    machine.bridge("logout")
    says(machine, "Hello")
    machine.authorization.ask("approve")
    while machine.bridge("--check", "kimi").returncode != 0:
        assert machine.pid is not None
    assert says(machine, "Hello")[0] == 0


def test_an_answer_that_is_cut(machine: World) -> None:
    """An upstream that breaks off once costs a repetition, and no half answer passes for whole."""
    code, events = says(machine, "CUT-ONCE please")
    assert (code, result(events)) == (0, "Hello from the upstream.")
    assert len(machine.upstream.requests()) >= 2


def test_every_answer_is_cut(machine: World) -> None:
    """An upstream that always breaks off is an error for the person, after few requests."""
    code, events = says(machine, "CUT please", CLAUDE_CODE_MAX_RETRIES="1")
    assert code == 1
    assert events[-1]["is_error"]
    assert len(machine.upstream.requests()) < 20
