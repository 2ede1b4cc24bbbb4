"""A daemon under mixed load for as long as is wished, with everything going wrong around it.

Load and weather are drawn from one seed. Now and then all clients pause; what the daemon holds in
such a calm is measured, and must be the same at the end as it was when it had warmed up.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import statistics
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bridge.clock import SystemClock
from tests.credentials.test_model import watched
from tests.fakes.mirror import Order
from tests.process.furnished import Furnished
from tests.process.gauge import Gauge
from tests.soak.errand import Errand, Verdict
from tests.soak.host import Host, Keys
from tests.soak.weather import Weather
from tests.world import World, world

PROVIDERS: Final = ("kimi", "minimax", "deepseek", "glm")
CLIENTS: Final = 8
#: Calls in one burst of an agent that counts tokens.
BURST: Final = 25
#: Seconds that an access token lives.
LIFETIME: Final = 40.0
MEBIBYTE: Final = 1024 * 1024
#: How much more the daemon may hold in the last third of the calms than in the one before, at the
#: median. Bodies of 4 MiB come and go, and an allocator keeps up to 16 MiB for the next ones.
GROWTH: Final = 6 * MEBIBYTE
QUICK_GROWTH: Final = 24 * MEBIBYTE
#: How long a 401 may be the client's: a refresh is forced once a minute, and may be retried.
SPELL_SECONDS: Final = 75.0
#: A key file that is written in place is empty for a moment. Who has seen its key before goes on
#: with it; right after a reload nobody has.
EMPTY_KEYS: Final = 3
#: From so many calms on a third of them is a sample.
MANY_CALMS: Final = 12
#: Threads of the pool for blocking work may be started at any time, up to their limit.
POOL_THREADS: Final = 8

_CLOCK: Final = SystemClock()


@dataclass(frozen=True)
class Calm:
    """What the daemon holds while nobody asks."""

    seconds: float
    resident: int
    descriptors: int
    threads: int


@dataclass
class Report:
    """What has happened, and in *wrong* what should not have."""

    seed: int
    seconds: float = 0.0
    verdicts: Counter[str] = field(default_factory=Counter)
    weather: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    calms: list[Calm] = field(default_factory=list)
    server: dict[str, int] = field(default_factory=dict)
    looks: int = 0
    spell: float = 0.0

    def lines(self) -> list[str]:
        """Return the report in lines for people."""
        verdicts = ", ".join(f"{name} {number}" for name, number in self.verdicts.most_common())
        weather = ", ".join(f"{name} {number}" for name, number in self.weather.most_common())
        sizes = [f"{calm.resident / MEBIBYTE:.1f}" for calm in _some(self.calms)]
        held = [f"{calm.descriptors}/{calm.threads}" for calm in _some(self.calms)]
        return [
            f"seed {self.seed}, {self.seconds:.0f} s, {sum(self.verdicts.values())} requests",
            f"answers: {verdicts}",
            f"weather: {weather}",
            f"server: {self.server}; the credential file was looked at {self.looks} times",
            f"longest time for which Kimi's login was of no use: {self.spell:.1f} s",
            f"MiB in the calms: {' '.join(sizes)}",
            f"descriptors/threads: {' '.join(held)}",
            *(f"WRONG: {wrong}" for wrong in self.wrong[:20]),
            "good" if not self.wrong else f"{len(self.wrong)} things went wrong",
        ]


class Life:
    """One soak: clients, hosts and weather around *machine*."""

    def __init__(self, machine: World, hosts: dict[str, Host], seed: int) -> None:
        self.report = Report(seed)
        self._machine = machine
        self._hosts = hosts
        self._seed = seed
        house = Furnished(machine, hosts)
        self._keys = {name: Keys(house.secrets[name]) for name in hosts if name != "kimi"}
        self._busy = 0
        self._open = asyncio.Event()
        self._idle = asyncio.Event()
        self._over = False
        self._useless_since: float | None = None
        for name, keys in self._keys.items():
            hosts[name].judge = keys.judge
        hosts["kimi"].judge = self._judge_token

    async def lasts(self, seconds: float, every: float) -> Report:
        """Go on for *seconds*, with a calm *every* so many."""
        begun, report = _CLOCK.monotonic(), self.report
        await asyncio.to_thread(self._machine.start)
        weather = Weather(self._machine, self._keys, random.Random(f"{self._seed} weather"))
        with watched(self._machine.credential) as watcher:
            self._open.set()
            async with asyncio.TaskGroup() as group:
                for number in range(CLIENTS):
                    group.create_task(self._client(number))
                while _CLOCK.monotonic() - begun < seconds:
                    await self._storm(weather, min(every, seconds / 3))
                    await self._calm(_CLOCK.monotonic() - begun)
                self._over = True
            report.wrong += [f"credential file: {fault}" for fault in watcher.faults]
            report.looks = watcher.looks
        await weather.clears()
        report.weather = weather.seen
        await self._ends()
        report.seconds = _CLOCK.monotonic() - begun
        report.wrong += self._grown()
        return report

    async def _judge_token(self, shown: str) -> bool | None:
        """Judge a token: those of the server begin with its mark."""
        if not shown.startswith("ACCESSsecret"):
            return None
        return await asyncio.to_thread(self._machine.authorization.valid, shown)

    async def _client(self, number: int) -> None:
        chance = random.Random(f"{self._seed} client {number}")
        while not self._over:
            await self._open.wait()
            self._busy += 1
            provider = chance.choice(PROVIDERS)
            try:
                if chance.random() < 0.02:
                    errands = [Errand.counting(chance, provider) for _ in range(BURST)]
                else:
                    errands = [Errand.drawn(chance, provider)]
                await asyncio.gather(*(self._runs(errand) for errand in errands))
            finally:
                self._busy -= 1
                if not self._busy:
                    self._idle.set()
            await _CLOCK.sleep(chance.random() * 0.05)

    async def _runs(self, errand: Errand) -> None:
        try:
            async with asyncio.timeout(60):
                verdict = await errand.runs(self._machine.port)
        except (OSError, ValueError) as error:  # of which TimeoutError is one
            self.report.wrong.append(f"{errand.provider} {errand.fault}: {error!r}")
            return
        self.report.verdicts[verdict.name] += 1
        if errand.provider == "kimi":
            self._notes(verdict)
        if verdict.wrong:
            what = f"{errand.provider} {errand.manner} {errand.fault} {errand.order}"
            self.report.wrong.append(f"{what}: {verdict.wrong}")

    def _notes(self, verdict: Verdict) -> None:
        """Keep account of the time from a refusal for want of a login to the next answer."""
        now = _CLOCK.monotonic()
        if verdict.name in {"told 401", "told 503"}:
            self._useless_since = self._useless_since or now
        elif verdict.name == "whole" and self._useless_since is not None:
            self.report.spell = max(self.report.spell, now - self._useless_since)
            self._useless_since = None

    async def _storm(self, weather: Weather, seconds: float) -> None:
        until = _CLOCK.monotonic() + seconds
        while (left := until - _CLOCK.monotonic()) > 0:
            await weather.happens()
            await _CLOCK.sleep(min(left, weather.pause()))

    async def _calm(self, seconds: float) -> None:
        """Let everybody finish, let go what is warm, and measure."""
        self._open.clear()
        while self._busy:
            self._idle.clear()
            await self._idle.wait()
        for host in self._hosts.values():
            host.drops_idle()
        gauge = Gauge(self._machine.pid or 0)
        health = await asyncio.to_thread(self._machine.health)
        if health["streams"]:
            self.report.wrong.append(f"{health['streams']} streams in a calm")
        least = await self._ebb(gauge)
        threads = _threads(self._machine.pid or 0)
        self.report.calms.append(Calm(seconds, gauge.resident, least, threads))
        self._open.set()

    async def _ebb(self, gauge: Gauge) -> int:
        """Return the least number of descriptors within a moment: connections close in time."""
        seen = [gauge.descriptors]
        for _ in range(20):
            await _CLOCK.sleep(0.05)
            seen.append(gauge.descriptors)
        return min(seen)

    async def _ends(self) -> None:
        """See that the login lives and that every provider still answers."""
        report = self.report
        state = await self._renewed()
        names = ("refreshes", "spent_presented", "refused", "revoked")
        report.server = {name: state[name] for name in names}
        report.wrong += [f"{n}: {state[n]}" for n in names[1:] if state[n]]
        for provider in PROVIDERS:
            errand = Errand(provider, Order(seed=1, size=5000), b"{}")
            verdict = await errand.runs(self._machine.port)
            until = _CLOCK.monotonic() + SPELL_SECONDS
            while verdict.name != "whole" and _CLOCK.monotonic() < until:
                await _CLOCK.sleep(1)
                verdict = await errand.runs(self._machine.port)
            if verdict.name != "whole" or verdict.wrong:
                report.wrong.append(f"at the end {provider}: {verdict}")
            host = self._hosts[provider]
            report.wrong += [f"{provider} was shown a stranger's credential"] * len(host.strangers)
            report.verdicts["stale credential refused"] += host.stale
        if report.verdicts["told of an empty key file"] > EMPTY_KEYS * len(self._keys):
            report.wrong.append("key files were said to be empty too often")
        if report.spell > SPELL_SECONDS:
            report.wrong.append(f"the login was of no use for {report.spell:.0f} s")
        if "Traceback" in self._machine.log or "reason=bug" in self._machine.log:
            report.wrong.append("the log has a bug in it")

    async def _renewed(self) -> dict[str, int]:
        """Return the server's counts; in good weather a refresh is made if none has been so far."""
        until = _CLOCK.monotonic() + SPELL_SECONDS
        while True:
            state = await asyncio.to_thread(self._machine.authorization.state)
            if state["refreshes"] or _CLOCK.monotonic() > until:
                return state
            await _CLOCK.sleep(0.5)

    def _grown(self) -> list[str]:
        """Return what has grown from one third of the calms to the next, the first left out."""
        calms = self.report.calms
        third = max(1, len(calms) // 3)
        middle, last = calms[third : 2 * third] or calms[:1], calms[-third:]
        allowed = GROWTH if len(calms) >= MANY_CALMS else QUICK_GROWTH
        limits = {"resident": allowed, "descriptors": 2, "threads": POOL_THREADS}
        wrong = []
        for name, limit in limits.items():
            before, after = (
                statistics.median(getattr(calm, name) for calm in part) for part in (middle, last)
            )
            if after - before > limit:
                wrong.append(f"{name} has grown from {before:.0f} to {after:.0f}")
        return wrong


@contextlib.asynccontextmanager
async def life(folder: Path, seed: int, lifetime: float = LIFETIME) -> AsyncIterator[Life]:
    """Set everything up in *folder*, for a :class:`Life` that begins with *seed*.

    *lifetime* is the seconds that an access token lives.
    """
    async with contextlib.AsyncExitStack() as stack:
        hosts = {name: await stack.enter_async_context(Host()) for name in PROVIDERS}
        machine = world(folder, stern=True, expires_in=lifetime)
        inside = await asyncio.to_thread(machine.__enter__)
        try:
            yield Life(inside, hosts, seed)
        finally:
            await asyncio.to_thread(machine.__exit__, None, None, None)


def _threads(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("Threads:")[2].split()[0])


def _some(calms: list[Calm]) -> list[Calm]:
    """Return at most twenty of *calms*, evenly spread."""
    step = max(1, len(calms) // 20)
    return calms[::step]
