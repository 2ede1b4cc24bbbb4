"""Plays ``bridge demo``: the main job on stand-ins, in a temporary home, without an account.

Ends with 0 only if every act has proved what it shows.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import aiohttp

from bridge.clock import Clock, SystemClock
from bridge.demo.acts import ACTS, SHORT_LIFE, Cast
from bridge.demo.program import Program, free_port
from bridge.demo.screen import Screen
from bridge.demo.stage import Fault, Stage
from bridge.errors import BridgeError
from bridge.network import Client, Outbound


def main(argv: Sequence[str]) -> int:
    """Play all acts and return the exit code: 0 if all of it really worked, else 1.

    ``--sabotage`` lets a stand-in misbehave, to show that the play would notice.
    """
    parser = argparse.ArgumentParser(prog="bridge demo", description=main.__doc__)
    parser.add_argument("--sabotage", type=Fault, choices=list(Fault), help=argparse.SUPPRESS)
    fault: Fault | None = parser.parse_args(argv).sabotage
    environment = dict(os.environ)
    screen = Screen(sys.stdout, environment)
    return asyncio.run(_play(screen, environment, fault, SystemClock()))


async def _play(
    screen: Screen, environment: Mapping[str, str], fault: Fault | None, clock: Clock
) -> int:
    with tempfile.TemporaryDirectory(prefix="bridge-demo-") as folder:
        async with Stage(clock, lifetime=SHORT_LIFE, fault=fault) as stage:
            program = Program(Path(folder), free_port(), stage.url, environment, clock)
            client = Client(Outbound({}))
            try:
                return await _acts(Cast(stage, program, client, screen, clock))
            finally:
                await client.close()
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
            return _failed(cast, f'act {number} ("{act.title}"): {error or type(error).__name__}')
    screen.gap()
    screen.title(f"All of it worked, in {cast.clock.monotonic() - began:.1f} s.")
    return 0


def _failed(cast: Cast, reason: str) -> int:
    for secret in cast.stage.secrets:
        reason = reason.replace(secret, "***")
    cast.screen.fails(reason)
    for line in cast.program.log_tail(cast.stage.secrets):
        cast.screen.quotes(line)
    return 1
