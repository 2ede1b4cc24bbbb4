"""Asks servers whether they are there, all at once and for a few seconds, without any credential.

What is sent is a HEAD request with our name and nothing else; what comes back counts by its head.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp
from yarl import URL

from bridge import __version__
from bridge.clock import Clock, within
from bridge.doctor.judging.reach import Goal, Outcome, Reached
from bridge.network import Client
from bridge.providers import Provider
from bridge.way import Outbound

#: Seconds for all servers together.
PATIENCE: Final = 4.5

Resolve = Callable[[str, int], object]


def goals(rows: Iterable[Provider], in_use: Collection[str], logins: Collection[str]) -> list[Goal]:
    """Return the servers to ask, each once: those of the rows *in_use*, and of the *logins* first.

    Both are names of *rows*; *logins* are those whose authorization server counts.
    """
    rows = list(rows)
    urls = [(row.name, row.oauth.host) for row in rows if row.oauth and row.name in logins]
    urls += [(row.name, url) for row in rows if row.name in in_use for url in row.surfaces.values()]
    asked: dict[tuple[str | None, int | None], Goal] = {}
    for name, url in urls:
        place = URL(url)
        shown = f"{place.host}" + ("" if place.is_default_port() else f":{place.port}")
        local = place.host in {"127.0.0.1", "localhost", "::1"}
        asked.setdefault((place.host, place.port), Goal(name, shown, url, local))
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
    url = URL(goal.url)
    proxy = outbound.proxy_for(url)
    if not await _resolves(URL(proxy) if proxy else url, resolve):
        return Reached(goal, Outcome.PROXY if proxy else Outcome.NO_NAME, _unknown(proxy))
    headers = [("User-Agent", f"bridge/{__version__}"), ("Accept", "*/*")]
    sent = clock.now()
    try:
        response = await client.request(
            "HEAD", goal.url, headers=headers, body=b"", idle_seconds=PATIENCE
        )
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        return Reached(goal, *_outcome(error))
    async with response:
        ahead = _ahead(response.headers, (sent + clock.now()) / 2)
        return Reached(goal, Outcome.ANSWERED, ahead=ahead)


def _unknown(proxy: str | None) -> str:
    return "its name is not known" if proxy else ""


async def _resolves(url: URL, resolve: Resolve) -> bool:
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
            resolve(url.host or "", url.port or 0)
        except (OSError, UnicodeError):
            answer = False
        else:
            answer = True
        with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits any more
            loop.call_soon_threadsafe(tell, answer)

    threading.Thread(target=look, daemon=True).start()
    return await known


def _outcome(error: Exception) -> tuple[Outcome, str]:
    """Return how far a request came that failed with *error*, in words of the system or our own.

    Never the text of an HTTP error: that quotes what was received.
    """
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return Outcome.PROXY, f"it answers {error.status}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return Outcome.CERTIFICATE, getattr(error.certificate_error, "verify_message", "")
    outcome = next((each for kinds, each in _OUTCOMES if isinstance(error, kinds)), Outcome.BROKEN)
    cause = getattr(error, "os_error", error)
    if outcome in {Outcome.PROXY, Outcome.NO_CONNECTION} and isinstance(cause, OSError):
        return outcome, os.strerror(cause.errno) if cause.errno else type(cause).__name__
    return outcome, ""


#: The kinds of failure, the more special ones before those that they are kinds of.
_OUTCOMES: Final = (
    ((aiohttp.ClientProxyConnectionError,), Outcome.PROXY),
    ((aiohttp.ClientConnectorDNSError,), Outcome.NO_NAME),
    ((aiohttp.ClientSSLError, ssl.SSLError), Outcome.BROKEN),
    ((TimeoutError,), Outcome.NO_ANSWER),
    ((OSError,), Outcome.NO_CONNECTION),
)


def _ahead(headers: Mapping[str, str], now: float) -> float | None:
    """Return by how many seconds the clock in *headers* is ahead of *now*."""
    try:
        date = parsedate_to_datetime(headers.get("Date", ""))
    except (TypeError, ValueError):
        return None
    # The header has whole seconds: on average, half of one has gone by.
    return date.timestamp() + 0.5 - now
