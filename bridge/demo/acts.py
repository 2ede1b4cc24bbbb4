"""The acts of ``bridge demo``: each lets something happen, shows it, and proves that it did.

An act that cannot prove it raises ``Flop`` with the reason. Nothing is proved by timing: where
order matters, one side waits until the other has seen what went before.
"""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bridge.clock import Clock
from bridge.demo.agent import QUESTION, Agent, Answer
from bridge.demo.program import Program, expect
from bridge.demo.screen import Screen
from bridge.demo.stage import APPROVED_AT_POLL, USER_CODE, Mood, Stage, Turn

#: Seconds that an access token lives at first: one dies while the person watches.
SHORT_LIFE: Final = 3.0
#: Seconds that it lives once dying has been shown.
LONG_LIFE: Final = 900.0
#: Seconds between two events of the streamed answer, so that a person can follow.
PACE_SECONDS: Final = 0.08
#: How often, and how many times, is looked for what happens beside.
POLL_SECONDS: Final = 0.05
POLLS: Final = 100


@dataclass(frozen=True, slots=True)
class Cast:
    """Who takes part: the stand-ins, the program, the agent that uses it, the person's screen."""

    stage: Stage
    program: Program
    agent: Agent
    screen: Screen
    clock: Clock


@dataclass(frozen=True, slots=True)
class Act:
    """A headline and what happens under it."""

    title: str
    play: Callable[[Cast], Awaitable[None]] = field(repr=False)


async def log_in(cast: Cast) -> None:
    """Log in by the device flow; the stand-in approves, as a person in a browser would."""
    run = await cast.program.run("login", "--no-browser", hear=cast.screen.quotes)
    expect(run.code == 0, f"bridge login ended with {run.code}: {run.err.strip()}")
    expect(USER_CODE in run.out and cast.stage.url in run.out, "page or code was not shown")
    expect(cast.stage.polls == APPROVED_AT_POLL, f"approved after {cast.stage.polls} polls")
    token, mode = _stored(cast)
    expect(token == cast.stage.refresh_token, "the login is not in the file")
    expect(mode == 0o600, f"the file has mode {mode:04o}")
    cast.screen.proves(f"approved at poll {APPROVED_AT_POLL}; the login is stored, mode 0600")


async def start(cast: Cast) -> None:
    """Start the daemon; it serves as soon as the command has returned."""
    began = cast.clock.monotonic()
    run = await cast.program.run(hear=cast.screen.quotes)
    expect(run.code == 0, f"bridge ended with {run.code}: {run.err.strip()}")
    took = cast.clock.monotonic() - began
    check = await cast.program.run("--check", "kimi")
    expect(check.code == 0, f"bridge --check kimi ended with {check.code}: {check.err.strip()}")
    cast.screen.proves(f"serving after {took:.1f} s; bridge --check kimi ends with 0")


async def stream(cast: Cast) -> None:
    """Ask through bridge; each event is sent only after the one before it has arrived."""
    permits = asyncio.Semaphore(1)
    began = cast.clock.monotonic()

    async def arrived(event: bytes) -> None:
        cast.screen.says(f"+{cast.clock.monotonic() - began:.3f} s  {_described(event)}")
        await cast.clock.sleep(PACE_SECONDS)
        permits.release()

    cast.stage.turns.append(Turn(permits=permits))
    answer = await _ask(cast, arrived)
    expect(answer.status == 200 and not answer.broken, f"HTTP {answer.status} {answer.broken}")
    exchange = cast.stage.exchanges[-1]
    expect(answer.digest == exchange.digest, "what arrived is not what was sent")
    expect(exchange.body == QUESTION, "the API got another question than was asked")
    expect(exchange.credentials == 1, "the client's own key went to the API")
    cast.screen.proves("no event was held back: each waited for the one before to arrive")
    cast.screen.proves(f"every byte as the API sent it (sha256 {answer.digest[:16]}...)")


async def expire(cast: Cast) -> None:
    """Let the access token die; the next request works with another one."""
    stage = cast.stage
    token = stage.exchanges[-1].token
    left = max(0.0, stage.remaining(token))
    cast.screen.says(f"the access token lives {SHORT_LIFE:.0f} s here; {left:.1f} s are left: wait")
    await cast.clock.sleep(left + POLL_SECONDS)
    expect(await _direct(cast, token) == 401, "the API still takes a token that is dead")
    stage.lifetime = LONG_LIFE
    answer = await _ask(cast)
    expect(answer.status == 200, f"after the expiry the client got HTTP {answer.status}")
    expect(stage.exchanges[-1].token != token, "the dead token was used again")
    cast.screen.proves("the API refuses the old token; the next request came with a new one: 200")
    expect(stage.refreshes, "the refresh token did not rotate")
    expect(not stage.spent_presented, "a spent refresh token was presented")
    # A refresh may run beside the request, and its last step is the file.
    stored = await _until(cast, lambda: _stored(cast) == (stage.refresh_token, 0o600))
    expect(stored, "the file does not hold the last refresh token, with mode 0600")
    cast.screen.proves(f"refresh token rotated ({stage.refreshes} in all, none spent twice), 0600")


async def refuse(cast: Cast) -> None:
    """Let the API refuse a token that should live: the request is replayed once."""
    before = len(cast.stage.exchanges)
    cast.stage.turns.append(Turn(Mood.REFUSE))
    answer = await _ask(cast)
    seen = cast.stage.exchanges[before:]
    statuses = [exchange.status for exchange in seen]
    cast.screen.says(f"the API answered {statuses}, the client saw {answer.status}")
    expect(answer.status == 200, f"the client saw the refusal (HTTP {answer.status})")
    expect(statuses == [401, 200], f"the API answered {statuses}")
    expect(seen[0].token != seen[1].token, "the refused token was sent again")
    expect(seen[0].body == seen[1].body, "the replay asked another question")
    cast.screen.proves("replayed once with a new token; the client never knew")


async def break_off(cast: Cast) -> None:
    """Let the API break in mid-answer: the client must not take it for the end."""
    cast.stage.turns.append(Turn(Mood.BREAK))
    answer = await _ask(cast)
    expect(answer.status == 200, f"the answer did not even begin (HTTP {answer.status})")
    expect(answer.broken, "the broken answer looked like a whole one")
    cast.screen.proves(f"the client sees that the answer is not whole: {answer.broken}")
    expect((await _ask(cast)).status == 200, "the daemon does not answer any more")
    cast.screen.proves("and the next request is answered")


async def hand_out(cast: Cast) -> None:
    """Print the token for programs that take one."""
    run = await cast.program.run("token")
    expect(run.code == 0, f"bridge token ended with {run.code}: {run.err.strip()}")
    expect(run.out.count("\n") == 1, "bridge token printed more than a token")
    expect(await _direct(cast, run.out.strip()) == 200, "the API does not take that token")
    cast.screen.proves("one line, and the API takes it (not shown here)")


async def keep_secrets(cast: Cast) -> None:
    """Look for every token, code and key in all that was said and logged."""
    health = await cast.program.run("--check", "--json")
    log = cast.program.log()
    said = [text for run in cast.program.runs for text in (run.err, *_shown(run.words, run.out))]
    expect(health.code == 0 and health.out, "the daemon does not tell its health")
    expect(log, "the daemon kept no log")
    sought = secrets(cast)
    for secret in sought:
        expect(secret not in log, "a secret is in the log")
        expect(secret not in "".join(said), "a command has shown a secret")
    cast.screen.proves(f"none of {len(sought)} secrets is in the log or in any output")


async def stop(cast: Cast) -> None:
    """Stop the daemon; the login stays."""
    run = await cast.program.run("--stop", hear=cast.screen.quotes)
    expect(run.code == 0, f"bridge --stop ended with {run.code}: {run.err.strip()}")
    check = await cast.program.run("--check")
    expect(check.code == 3, f"bridge --check ended with {check.code} and not with 3")
    expect(not _exists(cast.program.paths.pid_file), "the PID file was left behind")
    expect(_exists(_credential(cast)), "the login is gone")
    cast.screen.proves("bridge --check ends with 3 (not running); the login is still there")


ACTS: Final = (
    Act("Log in: bridge login", log_in),
    Act("Start the daemon: bridge", start),
    Act("A streamed answer", stream),
    Act("The access token expires", expire),
    Act("The API refuses a token in mid-life", refuse),
    Act("The API breaks off in mid-answer", break_off),
    Act("A token for other programs: bridge token", hand_out),
    Act("Secrets", keep_secrets),
    Act("Stop: bridge --stop", stop),
)


def secrets(cast: Cast) -> list[str]:
    """Return all that nobody may see: tokens, codes, and the caller key once there is one."""
    return [*cast.stage.secrets, *([_key(cast)] if _exists(cast.program.paths.key) else [])]


async def _ask(cast: Cast, arrived: Callable[[bytes], Awaitable[None]] | None = None) -> Answer:
    """Ask through bridge, with the caller key as the shell functions pass it."""
    address = f"{cast.program.url}/kimi"
    return await cast.agent.ask(address, _key(cast), arrived or _unheard)


async def _direct(cast: Cast, token: str) -> int:
    """Ask the API itself, without bridge, and return what it thinks of *token*."""
    return (await cast.agent.ask(f"{cast.stage.url}/coding", token, _unheard)).status


async def _unheard(event: bytes) -> None:
    del event


def _key(cast: Cast) -> str:
    return Path(cast.program.paths.key).read_text(encoding="ascii").strip()


def _credential(cast: Cast) -> Path:
    return Path(cast.program.paths.kimi_share) / "credentials" / "kimi-code.json"


def _stored(cast: Cast) -> tuple[str, int]:
    """Return the refresh token in the credential file, and the file's mode."""
    file = _credential(cast)
    document = json.loads(file.read_text(encoding="utf-8"))
    return document["refresh_token"], stat.S_IMODE(file.stat().st_mode)


async def _until(cast: Cast, happened: Callable[[], bool]) -> bool:
    """Wait until something has *happened*, for a bounded time, and say whether it has."""
    for _ in range(POLLS):
        if happened():
            return True
        await cast.clock.sleep(POLL_SECONDS)
    return False


def _exists(path: str | Path) -> bool:
    return Path(path).exists()


def _described(event: bytes) -> str:
    """Return what an event says, short."""
    lines = event.decode("utf-8", "replace").splitlines()
    name = lines[0].removeprefix("event: ")
    document = json.loads(lines[1].removeprefix("data: "))
    text = document.get("delta", {}).get("text")
    return name if text is None else f"{name} {json.dumps(text)}"


def _shown(words: tuple[str, ...], out: str) -> tuple[str, ...]:
    """Return the output of a command, but for the one whose output is a token on purpose."""
    return () if words == ("token",) else (out,)
