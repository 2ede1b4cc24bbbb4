"""A daemon that is attacked: three providers, each before a witness who keeps every byte.

``kimi`` has a login, ``minimax`` a key in a file, ``anthropic`` gets the caller's own credential.
Whatever is tried, :meth:`Siege.holds` must be true of it afterwards.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests import verdicts
from tests.proxy.rawclient import Answer, passes, rawclient
from tests.proxy.witness import Sent, Witness
from tests.world import World, world

#: Notes that a case of this suite held, and what was seen.
noted: Final = functools.partial(verdicts.record, "abuse")

#: What a caller shows, which must never arrive at a provider that has a credential of ours.
SHOWN: Final = "sk-callers-own-5d1f"
KEY: Final = "sk-minimax-9a7c41d0e2"
#: What the target at each provider begins with.
BASES: Final = {"kimi": "/coding/", "minimax": "/mm/", "anthropic": "/an/"}


@dataclass
class Siege:
    """The *machine* with its daemon, the *witnesses* by provider, and our *secrets*."""

    machine: World
    witnesses: dict[str, Witness]
    secrets: dict[str, str] = field(default_factory=dict)

    @property
    def host(self) -> bytes:
        """What ``Host`` has to say."""
        return b"127.0.0.1:%d" % self.machine.port

    @property
    def arrived(self) -> list[tuple[str, Sent]]:
        """Every request that has arrived, with the provider at which it did."""
        return [(name, sent) for name, each in self.witnesses.items() for sent in each.requests]

    async def answers(self, data: bytes, *, wait: bool = True) -> list[Answer]:
        """Send *data* on a connection of its own and return the final answers to it.

        Without *wait* the client says that nothing follows, and reads until the end.
        """
        async with rawclient(self.machine.port) as client:
            await client.sends(data)
            if wait:
                await client.settles()
            else:
                await passes(20)
            return [answer for answer in client.answers if answer.status >= 200]

    async def serves(self) -> None:
        """Ask for something harmless: the daemon is alive and nobody else's request is answered."""
        head = b"POST /kimi/v1/messages HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n" % self.host
        before = len(self.witnesses["kimi"].requests)
        (answer,) = await self.answers(head + b"Content-Length: 2\r\n\r\n{}")
        assert (answer.status, answer.content) == (200, b"%d" % (before + 1))

    def holds(self) -> None:
        """Each request that arrived has its provider's prefix and credential, and no other."""
        for name, witness in self.witnesses.items():
            assert (witness.complaints, witness.leftovers) == ([], []), name
            for sent in witness.requests:
                self._judge(name, sent)

    def _judge(self, name: str, sent: Sent) -> None:
        told = (name, sent.target)
        path = sent.target.partition("?")[0]
        assert path.startswith(BASES[name]), told
        assert sent.values(b"host") == [self.witnesses[name].url.removeprefix("http://").encode()]
        own = self.secrets.get(name)
        shown = sent.values(b"authorization") + sent.values(b"x-api-key")
        if own is not None:
            assert shown == [f"Bearer {own}".encode()], told
            assert SHOWN.encode() not in sent.raw, told
        for other, secret in self.secrets.items():
            assert other == name or secret.encode() not in sent.raw, told

    def forgets(self) -> None:
        """Forget what has arrived so far."""
        for witness in self.witnesses.values():
            witness.requests.clear()


@asynccontextmanager
async def besieged(folder: Path, more: str = "") -> AsyncIterator[Siege]:
    """Start a daemon before its witnesses; *more* is further configuration."""
    async with AsyncExitStack() as stack:
        witnesses = {name: await stack.enter_async_context(Witness()) for name in BASES}
        machine = stack.enter_context(world(folder))
        siege = Siege(machine, witnesses)
        siege.secrets = {"kimi": machine.log_in()["access_token"], "minimax": KEY}
        machine.variables["KIMI_CODE_BASE_URL"] = f"{witnesses['kimi'].url}/coding/v1"
        key = machine.home / "minimax.key"
        key.write_text(KEY)
        key.chmod(0o600)
        machine.configure(
            f'{more}\n[providers.minimax]\nanthropic = "{witnesses["minimax"].url}/mm"\n'
            f'openai = "{witnesses["minimax"].url}/mm/v1"\nkey = {{ file = "{key}" }}\n'
            f'[providers.anthropic]\nanthropic = "{witnesses["anthropic"].url}/an"\n'
        )
        machine.start()
        yield siege
        siege.holds()
        machine.bridge("--stop")
        clean(machine.log)


def clean(log: str) -> None:
    """Assert that *log* has no traceback, no mistake of ours, and nothing a terminal obeys."""
    assert "Traceback" not in log
    assert "reason=bug" not in log
    odd = [line for line in log.splitlines() if not line.isprintable()]
    assert odd == []


def asks(
    host: bytes, target: bytes, *lines: bytes, method: bytes = b"POST", body: bytes = b"{}"
) -> bytes:
    """Return a request in good order but for what is passed in; the client wants no other."""
    head = [b"%b %b HTTP/1.1" % (method, target), b"Host: " + host, *lines]
    head += [b"Authorization: Bearer " + SHOWN.encode(), b"Connection: close"]
    head += [b"Content-Length: %d" % len(body)] if body else []
    return b"\r\n".join([*head, b"", b""]) + body


def statuses(answers: Iterable[Answer]) -> list[int]:
    """Return the status of each of *answers*."""
    return [answer.status for answer in answers]
