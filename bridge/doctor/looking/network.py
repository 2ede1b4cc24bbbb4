"""Asks servers whether they are there, all at once and for a few seconds, without any credential.

What is sent is a HEAD request with our name and nothing else; what comes back counts by its head.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import SplitResult, urlsplit

from bridge import __version__
from bridge.clock import Clock, within
from bridge.doctor.judging.reach import Goal, Outcome, Reached
from bridge.network import Client
from bridge.providers import Provider
from bridge.way import Outbound
from bridge.wire.connector import place
from bridge.wire.failure import ConnectTimeout, ProxyRefused, Silent, WireError
from bridge.wire.whole import Question, ask

#: Seconds for all servers together.
PATIENCE: Final = 4.5

#: A HEAD has no content; what comes all the same is not kept.
LIMIT: Final = 1024

Resolve = Callable[[str, int], object]


def goals(rows: Iterable[Provider], in_use: Collection[str], logins: Collection[str]) -> list[Goal]:
    """Return the servers to ask, each once: those of the rows *in_use*, and of the *logins* first.

    Both are names of *rows*; *logins* are those whose authorization server counts.
    """
    rows = list(rows)
    urls = [(row.name, row.oauth.host) for row in rows if row.oauth and row.name in logins]
    urls += [(row.name, url) for row in rows if row.name in in_use for url in row.surfaces.values()]
    asked: dict[tuple[str, int], Goal] = {}
    for name, url in urls:
        parts = urlsplit(url)
        there = host, _ = place(parts)
        shown = host if parts.port is None else f"{host}:{parts.port}"
        local = host in {"127.0.0.1", "localhost", "::1"}
        asked.setdefault(there, Goal(name, shown, url, local))
    return list(asked.values())


async def reach(
    goals: Sequence[Goal],
    outbound: Outbound,
    clock: Clock,
    resolve: Resolve,
    patience: float = PATIENCE,
) -> list[Reached]:
    """Ask all of *goals* by the ways of *outbound*; who has not answered by then has not.

    *resolve* is ``socket.getaddrinfo`` or what stands in for it. Raises ``ConfigError`` where
    *outbound* cannot be used.
    """
    client = Client(outbound, clock)
    try:
        tasks = [
            asyncio.create_task(_asked(goal, client, outbound, clock, resolve)) for goal in goals
        ]
        await within(clock, patience, asyncio.gather(*tasks, return_exceptions=True))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        await client.close()
    return [
        Reached(goal, Outcome.NO_ANSWER) if task.cancelled() else task.result()
        for goal, task in zip(goals, tasks, strict=True)
    ]


async def _asked(
    goal: Goal, client: Client, outbound: Outbound, clock: Clock, resolve: Resolve
) -> Reached:
    url = urlsplit(goal.url)
    proxy = outbound.route(url)
    if not await _resolves(proxy or url, resolve):
        return Reached(goal, Outcome.PROXY if proxy else Outcome.NO_NAME, _unknown(proxy))
    headers = [("User-Agent", f"bridge/{__version__}"), ("Accept", "*/*")]
    sent = clock.now()
    try:
        answer = await ask(
            await client.open(url, PATIENCE),
            Question("HEAD", url, headers),
            clock,
            silence_seconds=PATIENCE,
            until=clock.monotonic() + PATIENCE,
            limit=LIMIT,
        )
    except (WireError, OSError) as error:
        return Reached(goal, *_outcome(error))
    ahead = _ahead(answer.header("Date"), (sent + clock.now()) / 2)
    return Reached(goal, Outcome.ANSWERED, ahead=ahead)


def _unknown(proxy: SplitResult | None) -> str:
    return "its name is not known" if proxy else ""


async def _resolves(url: SplitResult, resolve: Resolve) -> bool:
    """Say whether the name in *url* is known.

    The system's resolver can hang for half a minute and cannot be stopped: it does so in a thread
    that keeps nobody waiting, and only a name that is known is asked for again.
    """
    loop = asyncio.get_running_loop()
    known: asyncio.Future[bool] = loop.create_future()

    def tell(answer: bool) -> None:  # noqa: FBT001 - what call_soon_threadsafe hands on
        if not known.done():
            known.set_result(answer)

    def look() -> None:
        try:
            resolve(*place(url))
        except (OSError, UnicodeError):
            answer = False
        else:
            answer = True
        with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits any more
            loop.call_soon_threadsafe(tell, answer)

    threading.Thread(target=look, daemon=True).start()
    return await known


def _outcome(error: WireError | OSError) -> tuple[Outcome, str]:
    """Return how far a request came that failed with *error*, in words of the system or our own.

    Never a text that was received.
    """
    if isinstance(error, ProxyRefused):
        return Outcome.PROXY, str(error).replace("HTTP ", "it answers ")
    if isinstance(error, ssl.SSLCertVerificationError):
        return Outcome.CERTIFICATE, error.verify_message
    outcome = next((each for kinds, each in _OUTCOMES if isinstance(error, kinds)), Outcome.BROKEN)
    if outcome is Outcome.NO_CONNECTION and isinstance(error, OSError):
        return outcome, os.strerror(error.errno) if error.errno else type(error).__name__
    return outcome, ""


#: The kinds of failure, the more special ones before those that they are kinds of.
_OUTCOMES: Final = (
    ((ConnectTimeout, Silent, TimeoutError), Outcome.NO_ANSWER),
    ((socket.gaierror,), Outcome.NO_NAME),
    ((ssl.SSLError,), Outcome.BROKEN),
    ((OSError,), Outcome.NO_CONNECTION),
)


def _ahead(header: str, now: float) -> float | None:
    """Return by how many seconds the clock that wrote *header* is ahead of *now*."""
    try:
        date = parsedate_to_datetime(header)
    except (TypeError, ValueError):
        return None
    # The header has whole seconds: on average, half of one has gone by.
    return date.timestamp() + 0.5 - now
