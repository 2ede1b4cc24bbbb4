"""Conducts a bench: logs in, starts the daemon, asks on both ways in turn, stops the daemon.

All of it on loopback, in a temporary home, without an account, as ``bridge demo`` does.
"""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from bridge.bench.caller import Caller, Place
from bridge.bench.figures import MEASURES, Pair, Report
from bridge.bench.standin import StandIn
from bridge.clock import Clock
from bridge.demo.program import Flop, Program, expect, free_port

#: Seconds that an access token lives: no refresh comes in between.
LIFETIME: Final = 24 * 3600.0
#: Seconds kept for stopping the daemon.
SPARE_SECONDS: Final = 1.0
#: Rounds that are not counted, because everything is done for the first time; and those that are
#: made even where starting took all of the time.
UNCOUNTED_ROUNDS: Final = 3
LEAST_ROUNDS: Final = 5
#: Short answers for each stream: they are the quickest to get.
SMALL: Final = 4


@dataclass(frozen=True, slots=True)
class Bench:
    """What a bench needs: the *environment* to start in, a *clock*, how long it may take.

    *port* is the daemon's (0: any), *words* what its start is told besides.
    """

    environment: Mapping[str, str]
    clock: Clock
    seconds: float
    port: int = 0
    words: Sequence[str] = ()

    async def run(self) -> Report:
        """Return what was found. Raises ``Flop`` if anything did not work as it should."""
        _clean_up_when_ended()
        began = self.clock.monotonic()
        with tempfile.TemporaryDirectory(prefix="bridge-bench-") as folder:
            async with StandIn(self.clock, lifetime=LIFETIME) as stage:
                port = self.port or free_port()
                program = Program(Path(folder), port, stage.url, self.environment, self.clock)
                try:
                    return await self._report(stage, program, began)
                except (aiohttp.ClientError, TimeoutError) as error:
                    raise Flop(f"a request failed: {str(error) or type(error).__name__}") from None
                finally:
                    await program.end()

    async def _report(self, stage: StandIn, program: Program, began: float) -> Report:
        login = await program.run("login", "--no-browser")
        expect(login.code == 0, f"bridge login ended with {login.code}: {login.err.strip()}")
        async with AsyncExitStack() as stack:
            warm, cold = [
                await stack.enter_async_context(Caller(stage, self.clock, cold=cold))
                for cold in (False, True)
            ]
            cold_start = self.clock.monotonic()
            start = await program.run(*self.words)
            expect(start.code == 0, f"bridge ended with {start.code}: {start.err.strip()}")
            returned = self.clock.monotonic() - cold_start
            through = Place(f"{program.url}/kimi", _key(program))
            await cold.small(through)
            answered = self.clock.monotonic() - cold_start
            direct = Place(f"{stage.url}/coding", stage.exchanges[-1].token)
            rounds = Rounds(stage, warm, cold, {"direct": direct, "bridge": through})
            until = began + self.seconds - SPARE_SECONDS
            count = await rounds.go_on(self.clock, until)
        seconds = self.clock.monotonic() - began
        return Report(rounds.pairs, returned, answered, count, seconds)


class Rounds:
    """Asks on both ways, again and again, and keeps the times in *pairs*."""

    def __init__(
        self, stage: StandIn, warm: Caller, cold: Caller, places: Mapping[str, Place]
    ) -> None:
        self.pairs = {name: Pair() for name in MEASURES}
        self._stage = stage
        self._warm = warm
        self._cold = cold
        self._places = list(places.items())

    async def go_on(self, clock: Clock, until: float) -> int:
        """Go on until the monotonic *clock* shows *until*, and return how many rounds counted."""
        for _ in range(UNCOUNTED_ROUNDS):
            await self._round()
        self.pairs = {name: Pair() for name in MEASURES}
        count = 0
        while count < LEAST_ROUNDS or clock.monotonic() < until:
            await self._round()
            count += 1
            self._places.reverse()  # neither is always the one that goes first
        return count

    async def _round(self) -> None:
        for _ in range(SMALL):
            for side, place in self._places:
                self._keep("warm_small", side, await self._warm.small(place))
        for side, place in self._places:
            first, events = await self._warm.stream(place)
            self._keep("warm_first", side, first)
            self._keep("warm_event", side, *events)
        for side, place in self._places:
            self._keep("cold_small", side, await self._cold.small(place))
        for side, place in self._places:
            self._keep("cold_first", side, (await self._cold.stream(place))[0])
        wrong = [each for each in self._stage.exchanges if each.credentials != 1]
        expect(not wrong, "the API got another credential than its own")
        self._stage.exchanges.clear()

    def _keep(self, measure: str, side: str, *seconds: float) -> None:
        pair = self.pairs[measure]
        (pair.bridge if side == "bridge" else pair.direct).extend(seconds)


def _key(program: Program) -> str:
    return Path(program.paths.key).read_text(encoding="ascii").strip()


def _clean_up_when_ended() -> None:
    """Let a signal cancel the bench, so that no daemon and no folder is left behind."""
    if task := asyncio.current_task():
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
