"""Answers the few requests that are for bridge itself and never go to a provider."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs

from bridge.errors import Refused
from bridge.proxy.head import Head, RawPair
from bridge.proxy.rewrite import Route

#: Content type and text, for an ``Accept`` header.
Metrics = Callable[[str], Awaitable[tuple[str, bytes]]]

_READY: Final = {True: b"yes", False: b"no", None: b"unknown"}


@dataclass(frozen=True, slots=True)
class Page:
    """A whole answer of our own, always with status 200.

    One that takes a while is empty until *later* has been waited for, which gives the page to show.
    """

    headers: tuple[RawPair, ...] = ()
    content: bytes = b""
    later: Callable[[], Awaitable[Page]] | None = None


class Pages:
    """The pages of one daemon.

    *health* gives the health document, *ready* says whether a provider's credential is usable
    (``None``: no such provider), *instance* is how ``--check`` knows us from a stranger. *metrics*
    takes an ``Accept`` header and gives content type and text for Prometheus.
    """

    def __init__(
        self,
        instance: str,
        health: Callable[[], Mapping[str, object]],
        ready: Callable[[str], bool | None],
        metrics: Metrics | None = None,
    ) -> None:
        self._instance = instance.encode()
        self._health = health
        self._ready = ready
        self._metrics = metrics

    def find(self, head: Head, route: Route) -> Page | None:
        """Return the page that *head* asks for, ``None`` when it asks for something else.

        Raises ``Refused`` for a page that is not there.
        """
        if head.has(b"upgrade") and "websocket" in head.value("upgrade").lower():
            return None
        path, _, query = head.target.partition("?")
        reads = head.method in {"GET", "HEAD"}
        if path in {"/health", "/metrics"} and not reads:
            raise Refused(f"{path} is only read: use GET", status=405)
        if path == "/health":
            return self._health_page(query)
        if path == "/metrics":
            return self._metrics_page(",".join(head.values("accept")))
        if reads and (route.path == "/" or route.path.endswith("/api/hello")):
            return Page(((b"content-type", b"text/plain; charset=utf-8"),), b"bridge\n")
        return None

    def _health_page(self, query: str) -> Page:
        headers = [
            (b"content-type", b"application/json"),
            (b"cache-control", b"no-store"),
            (b"x-bridge-instance", self._instance),
        ]
        if provider := parse_qs(query).get("provider"):
            headers.append((b"x-bridge-ready", _READY[self._ready(provider[0])]))
        return Page(tuple(headers), json.dumps(self._health()).encode() + b"\n")

    def _metrics_page(self, accept: str) -> Page:
        if (metrics := self._metrics) is None:
            raise Refused("there is no /metrics here: use /health", status=404)

        async def scraped() -> Page:
            kind, content = await metrics(accept)
            headers = (b"content-type", kind.encode()), (b"cache-control", b"no-store")
            return Page(headers, content)

        return Page(later=scraped)
