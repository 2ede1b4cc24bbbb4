"""Plays ``bridge demo``: the main job on stand-ins, in a temporary home, without an account.

Ends with 0 only if every act has proved what it shows.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import aiohttp

from bridge.clock import Clock, SystemClock
from bridge.demo.acts import ACTS, SHORT_LIFE, Cast, secrets
from bridge.demo.agent import Agent, session
from bridge.demo.program import Program, free_port
from bridge.demo.screen import Screen
from bridge.demo.stage import Fault, Stage
from bridge.errors import BridgeError


def main(argv: Sequence[str]) -> int:
    """Play all acts and return the exit code: 0 if all of it really worked, else 1.

    ``--sabotage`` lets a stand-in misbehave, to show that the play would notice.
    """
    parser = argparse.ArgumentParser(prog="bridge demo", description=main.__doc__)
    parser.add_argument("--sabotage", type=Fault, choices=list(Fault), help=argparse.SUPPRESS)
    fault: Fault | None = parser.parse_args(argv).sabotage
    environment = dict(os.environ)
    screen = Screen(sys.stdout, environment)
    try:
        return asyncio.run(_play(screen, environment, fault, SystemClock()))
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM


async def _play(
    screen: Screen, environment: Mapping[str, str], fault: Fault | None, clock: Clock
) -> int:
    _clean_up_when_ended()
    with tempfile.TemporaryDirectory(prefix="bridge-demo-") as folder:
        async with Stage(clock, lifetime=SHORT_LIFE, fault=fault) as stage:
            program = Program(Path(folder), free_port(), stage.url, environment, clock)
            try:
                async with session() as http:
                    return await _acts(Cast(stage, program, Agent(http, clock), screen, clock))
            finally:
                await program.end()


async def _acts(cast: Cast) -> int:
    screen, began = cast.screen, cast.clock.monotonic()
    screen.title("bridge demo: from login to stop, on this machine alone, without an account")
    screen.says(f"{cast.stage.url} plays the authorization server and the API;")
    screen.says("the home folder is a temporary one and goes away afterwards.")
    for number, act in enumerate(ACTS, 1):
        screen.gap()
        screen.title(f"{number}. {act.title}")
        try:
            await act.play(cast)
        except (BridgeError, aiohttp.ClientError, OSError, ValueError, LookupError) as error:
            reason = str(error) or type(error).__name__
            return _failed(cast, f"act {number} ({act.title}): {reason}")
    screen.gap()
    screen.title(f"All of it worked, in {cast.clock.monotonic() - began:.1f} s.")
    return 0


def _clean_up_when_ended() -> None:
    """Let a signal cancel the play, so that no daemon and no folder is left behind."""
    if task := asyncio.current_task():
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)


def _failed(cast: Cast, reason: str) -> int:
    hidden = secrets(cast)
    for secret in hidden:
        reason = reason.replace(secret, "***")
    cast.screen.fails(reason)
    for line in cast.program.log_tail(hidden):
        cast.screen.quotes(line)
    return 1
