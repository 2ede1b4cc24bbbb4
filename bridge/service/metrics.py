"""Words the tally for Prometheus; imported at the first scrape, as most houses are never scraped.

The library brings parts of the standard library that the daemon has no use for, so nobody else
imports this room. Nothing is registered anywhere: each scrape collects from one still picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from bridge.proxy.tally import BOUNDS, Tally

#: What an ``Accept`` header is made of; of another the library might say a part in its own header.
_ACCEPT: Final = re.compile(r"[\w/*+.;:=,\" -]*", re.ASCII)
_BOUNDS: Final = (*(str(float(bound)) for bound in BOUNDS), "+Inf")


class Picture(NamedTuple):
    """How the house stood at one moment; nobody changes it any more.

    *providers* are as in the health document.
    """

    version: str
    tally: Tally
    providers: Mapping[str, Mapping[str, object]]


def worded(picture: Picture, accept: str) -> tuple[str, bytes]:
    """Return content type and text of *picture*: OpenMetrics where *accept* asks for it."""
    registry = CollectorRegistry()
    registry.register(_Told(picture))
    ProcessCollector(registry=registry)
    try:
        encode, kind = choose_encoder(accept if _ACCEPT.fullmatch(accept) else "")
    except (TypeError, ValueError):  # a version that is no number
        encode, kind = choose_encoder("")
    return kind, encode(registry)


class _Told(Collector):
    """Collects from one picture."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture

    def describe(self) -> Iterator[Metric]:
        """Name nothing beforehand: nothing else is in the registry that could be called alike."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield every metric of ours."""
        version, tally, _ = self._picture
        yield InfoMetricFamily("bridge", "This daemon.", value={"version": version})
        yield GaugeMetricFamily("bridge_live_requests", "Requests under way.", value=tally.live)
        yield from self._traffic(tally)
        yield from self._credentials()

    def _traffic(self, tally: Tally) -> Iterator[Metric]:
        ended = CounterMetricFamily(
            "bridge_requests",
            "Requests that have ended, by how they did and with which status.",
            labels=("provider", "outcome", "status"),
        )
        sent = CounterMetricFamily(
            "bridge_sent_bytes", "Bytes of content sent to clients.", labels=("provider",)
        )
        added = HistogramMetricFamily(
            "bridge_added_seconds",
            "Time that bridge took for itself, of answered requests.",
            labels=("provider",),
        )
        for name, account in tally.providers.items():
            for (outcome, status), number in account.ended.items():
                ended.add_metric((name, str(outcome), str(status or "-")), number)
            sent.add_metric((name,), account.sent)
            classes = zip(_BOUNDS, accumulate(account.added.counts), strict=True)
            added.add_metric((name,), list(classes), account.added.total)
        yield from (ended, sent, added)

    def _credentials(self) -> Iterator[Metric]:
        for name, text, key in (
            ("bridge_provider_ready", "Whether its credential is usable.", "ready"),
            ("bridge_token_expires_seconds", "Time left on its token.", "expires_in_seconds"),
            ("bridge_token_refreshed_timestamp_seconds", "Its last refresh.", "refreshed_at"),
            ("bridge_login_ends_timestamp_seconds", "The login's likely end.", "login_ends_at"),
        ):
            family = GaugeMetricFamily(name, text, labels=("provider",))
            for provider, told in self._picture.providers.items():
                if isinstance(value := told.get(key), int | float):
                    family.add_metric((provider,), float(value))
            yield family
