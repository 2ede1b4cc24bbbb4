"""What happens around the daemon of the soak while it works, drawn from a seed.

Nothing here may end a login: the authorization server is unwell, but no answer of it is lost after
a rotation, because what that costs is no defect (``credentials/test_crash.py`` has it).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bridge.clock import SystemClock
from tests.fakes.neighbour import Neighbour
from tests.soak.host import Keys
from tests.world import World

_CLOCK: Final = SystemClock()
#: Seconds between two refreshes that a 401 may force, and some more.
REVOCATION_SECONDS: Final = 75.0


class Weather:
    """What befalls *machine*, whose key files are of *keys*; *seen* counts what has happened."""

    def __init__(self, machine: World, keys: Mapping[str, Keys], chance: random.Random) -> None:
        self.seen: Counter[str] = Counter()
        self._machine = machine
        self._keys = keys
        self._chance = chance
        self._text = (machine.home / ".config/bridge/config.toml").read_text()
        self._revoked_at = _CLOCK.monotonic() - REVOCATION_SECONDS + 5

    async def happens(self) -> None:
        """Let one thing happen."""
        if _CLOCK.monotonic() - self._revoked_at > REVOCATION_SECONDS:
            await self._revocation()
        name, thing = self._chance.choice(
            [
                ("reload", self._reload),
                ("edit", self._edit),
                ("wrong edit", self._wrong_edit),
                ("neighbour", self._neighbour),
                ("key file", self._key_file),
                ("key file", self._key_file),
                ("server unwell", self._server_unwell),
                ("server resets", self._server_resets),
                ("server slow", self._server_slow),
                ("suspend", self._suspend),
            ]
        )
        await thing()
        self.seen[name] += 1

    def pause(self) -> float:
        """Return the seconds until the next thing happens."""
        return self._chance.uniform(0.2, 2.0)

    async def clears(self) -> None:
        """Let everything be well again."""
        self._machine.configure(self._text)
        await self._steer(lose=0, delay=0)

    async def _reload(self) -> None:
        self._signal(signal.SIGHUP)

    async def _edit(self) -> None:
        level = self._chance.choice(["info", "debug", "warning"])
        self._machine.configure(f'{self._text}\n[log]\nlevel = "{level}"\n')

    async def _wrong_edit(self) -> None:
        self._machine.configure(f"{self._text}\n[server]\nport = 'no'\n")
        await _CLOCK.sleep(0.2)
        self._machine.configure(self._text)

    async def _neighbour(self) -> None:
        def rotates() -> None:
            share, url = self._machine.share, self._machine.authorization.url
            with Neighbour(share, url, force=True) as official:
                official.wait()

        await asyncio.to_thread(rotates)

    async def _key_file(self) -> None:
        """Change a key, by a new file in the place of the old or by writing into it."""
        name = self._chance.choice(sorted(self._keys))
        key = (
            f"{self._keys[name].current.rpartition('-')[0]}-{self._chance.randrange(1 << 60):015x}"
        )
        self._keys[name].become(key)  # before anybody can read it
        file = self._machine.home / f".{name}.key"
        await asyncio.to_thread(_written, file, key, by_replacing=self._chance.random() < 0.5)

    async def _server_unwell(self) -> None:
        status = self._chance.choice([429, 500, 503])
        await self._asks("answer", status=status, body="<html>unwell")

    async def _server_resets(self) -> None:
        await self._steer(loses_before=1, lose=1)

    async def _server_slow(self) -> None:
        await self._steer(delay=0.5)
        await _CLOCK.sleep(1)
        await self._steer(delay=0)

    async def _suspend(self) -> None:
        self._signal(signal.SIGSTOP)
        try:
            await _CLOCK.sleep(1)
        finally:
            self._signal(signal.SIGCONT)

    async def _revocation(self) -> None:
        """Let the upstream refuse a token that looks fresh.

        Not so often that a refresh may not be forced, and with no answer about to be lost: in both
        cases the 401 is the client's for a minute, and rightly so.
        """
        self._revoked_at = _CLOCK.monotonic()
        self.seen["revocation"] += 1
        await self._steer(lose=0)
        with contextlib.suppress(LookupError, KeyError):
            await self._asks("revoke", token=self._machine.token()["access_token"])

    def _signal(self, number: int) -> None:
        if (pid := self._machine.pid) is not None:
            os.kill(pid, number)

    async def _steer(self, **attributes: object) -> None:
        await asyncio.to_thread(self._machine.authorization.set, **attributes)

    async def _asks(self, verb: str, **query: object) -> None:
        await asyncio.to_thread(self._machine.authorization.ask, verb, **query)


def _written(file: Path, key: str, *, by_replacing: bool) -> None:
    place = file.with_suffix(".draft") if by_replacing else file
    place.write_text(f"{key}\n")
    place.chmod(0o600)
    if by_replacing:
        place.replace(file)
