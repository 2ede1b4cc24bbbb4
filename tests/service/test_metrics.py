"""What a scraper reads is what the tally holds, by the library's own parser."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping

from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from bridge.proxy.tally import BOUNDS, Outcome, Tally
from bridge.service.metrics import Picture, worded
from tests.readme import README

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
#: What a running Prometheus 2 sends.
PROMETHEUS = f"{OPENMETRICS},text/plain;version=0.0.4;q=0.5,*/*;q=0.1"

Key = tuple[str, frozenset[tuple[str, str]]]

words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
requests = st.lists(
    st.tuples(
        words | st.sampled_from(["kimi", "-", 'a"b\\c\nd']),
        st.sampled_from(Outcome),
        st.sampled_from([0, 200, 401, 503]),
        st.integers(0, 1 << 40),
        st.none() | st.floats(0, 100),
    ),
    max_size=30,
)


def tallied(entries: Iterable[tuple[str, Outcome, int, int, float | None]], live: int) -> Tally:
    """Return a tally of *entries*."""
    tally = Tally(live=live)
    for entry in entries:
        tally.enter(*entry)
    return tally


def samples(content: bytes, kind: str) -> dict[Key, float]:
    """Return every sample of a page by name and labels, as its own parser reads it."""
    parse = (
        openmetrics.text_string_to_metric_families
        if kind.startswith("application/openmetrics-text")
        else text_string_to_metric_families
    )
    every = [sample for family in parse(content.decode()) for sample in family.samples]
    read = {(each.name, frozenset(each.labels.items())): each.value for each in every}
    assert len(read) == len(every)
    return read


def named(name: str, **labels: str) -> Key:
    """Return how :func:`samples` has it."""
    return name, frozenset(labels.items())


@settings(deadline=None)
@given(entries=requests, live=st.integers(0, 1000), accept=st.sampled_from(["", PROMETHEUS]))
def test_a_page_says_what_the_tally_holds(
    entries: list[tuple[str, Outcome, int, int, float | None]], live: int, accept: str
) -> None:
    """Every number comes back, whatever a provider is called and however it was asked for."""
    tally = tallied(entries, live)
    kind, content = worded(Picture("1.2.3", tally, {}), accept)
    read = samples(content, kind)
    assert kind.startswith("application/openmetrics-text") == bool(accept)
    assert read[named("bridge_info", version="1.2.3")] == 1
    assert read[named("bridge_live_requests")] == live
    ended = {key: value for key, value in read.items() if key[0] == "bridge_requests_total"}
    assert ended == {
        named("bridge_requests_total", provider=name, outcome=str(o), status=str(s or "-")): number
        for name, account in tally.providers.items()
        for (o, s), number in account.ended.items()
    }
    assert sum(ended.values()) == len(entries)
    for name, account in tally.providers.items():
        assert read[named("bridge_sent_bytes_total", provider=name)] == account.sent
        total = read[named("bridge_added_seconds_sum", provider=name)]
        assert math.isclose(total, account.added.total)
        counts = [
            read[named("bridge_added_seconds_bucket", provider=name, le=str(bound))]
            for bound in (*BOUNDS, "+Inf")
        ]
        steps = [after - before for before, after in zip([0, *counts], counts, strict=False)]
        assert steps == account.added.counts
        assert read[named("bridge_added_seconds_count", provider=name)] == counts[-1]


def test_what_is_told_of_credentials() -> None:
    """Readiness, the token's rest, its last refresh and the login's end, where they are known."""
    providers: Mapping[str, Mapping[str, object]] = {
        "kimi": {"ready": True, "expires_in_seconds": 640, "refreshed_at": 5, "login_ends_at": 9},
        "glm": {"ready": False, "problem": "glm has no key"},
    }
    kind, content = worded(Picture("1", Tally(), providers), "")
    read = samples(content, kind)
    assert read[named("bridge_provider_ready", provider="kimi")] == 1
    assert read[named("bridge_provider_ready", provider="glm")] == 0
    assert read[named("bridge_token_expires_seconds", provider="kimi")] == 640
    assert read[named("bridge_token_refreshed_timestamp_seconds", provider="kimi")] == 5
    assert read[named("bridge_login_ends_timestamp_seconds", provider="kimi")] == 9
    assert named("bridge_token_expires_seconds", provider="glm") not in read
    assert b"no key" not in content


def test_the_process_is_told_of() -> None:
    """Memory and descriptors come from the library, and nothing is left in a registry of all."""
    before = set(REGISTRY._collector_to_names)
    for _ in range(2):
        read = samples(worded(Picture("1", Tally(), {}), "")[1], "")
        assert read[named("process_resident_memory_bytes")] > 1 << 20
        assert read[named("process_open_fds")] > 2
    assert set(REGISTRY._collector_to_names) == before


@settings(deadline=None)
@example(accept="application/openmetrics-text; version=1.1.\u00e9")
@given(accept=st.text(st.characters(max_codepoint=255)) | st.from_regex(
    r"(application/openmetrics-text|text/plain)(; ?(version|escaping)=[\w.\r\n\"é-]*){0,3}"
))  # fmt: skip
def test_no_wish_breaks_the_answer(accept: str) -> None:
    """A scraper's header decides between two forms; nothing else of it gets into the answer."""
    kind, content = worded(Picture("1", Tally(live=3), {}), accept)
    assert kind.isascii()
    assert kind.isprintable()
    assert b"bridge_live_requests 3.0\n" in content


def test_the_readme_names_them() -> None:
    """Every metric of ours, by the name that is asked for."""
    tally = tallied([("kimi", Outcome.ANSWERED, 200, 1, 0.1)], 1)
    _, content = worded(Picture("1", tally, {}), "")
    names = re.findall("^# TYPE (bridge_[a-z_]+)", content.decode(), re.MULTILINE)
    assert len(names) == 9
    text = README.read_text()
    assert [name for name in names if f"`{name}`" not in text] == []


def test_who_is_not_scraped_pays_nothing() -> None:
    """The daemon does not load the library until then."""
    program = "import sys, bridge.service.run; print('prometheus_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"False\n"
