"""Web pages in a real browser: they may try what they want, and reach and read nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.abuse.browser import CHROMIUM, PageServer, Recorder, browsing, shown
from tests.abuse.siege import clean, noted
from tests.world import World, world

pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(120),
    pytest.mark.skipif(
        not CHROMIUM and os.environ.get("BRIDGE_TEST_REQUIRE_BROWSER") != "1",
        reason="takes chromium",
    ),
]

#: Tries that a browser does not even send to another origin.
HELD_BACK = {"same-origin"}


@pytest.fixture(name="machine", scope="module")
def _machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A machine with a daemon that has a login."""
    with world(tmp_path_factory.mktemp("pages")) as machine:
        machine.log_in()
        machine.start()
        yield machine
        clean(machine.log)


@pytest.fixture(name="pages", scope="module")
def _pages() -> Iterator[PageServer]:
    """Where the pages come from."""
    server = PageServer()
    yield server
    server.close()


def reached(machine: World) -> int:
    """Return how many requests the upstream has seen."""
    return len(machine.upstream.requests())


def readable(report: dict[str, str]) -> dict[str, str]:
    """Return of which tries the page has read something."""
    return {name: told for name, told in report.items() if told.startswith("read: ")}


def test_the_page_tries(pages: PageServer, tmp_path: Path) -> None:
    """Each of its tries arrives at a server that lets pages in: what follows can fail."""
    recorder = Recorder()
    url = f"http://127.0.0.1:{pages.port}/?base=http://127.0.0.1:{recorder.port}"
    try:
        with browsing(tmp_path, url):
            report = pages.report()
    finally:
        recorder.close()
    assert set(report) - set(recorder.seen) == HELD_BACK, report
    assert len(recorder.seen) > 30
    assert {"cors", "cors-json", "cors-key", "credentials", "xhr", "worker"} <= set(
        readable(report)
    )


@pytest.mark.parametrize("site", ["127.0.0.1", "evil.example"])
def test_no_page_reaches_a_provider(
    machine: World, pages: PageServer, tmp_path: Path, site: str
) -> None:
    """From loopback or another site, by whatever a page has: nothing goes out, nothing is read."""
    before, health = reached(machine), machine.health()["streams"]
    with browsing(tmp_path, f"http://{site}:{pages.port}/?base={machine.url}"):
        report = pages.report()
    assert len(report) > 30
    assert readable(report) == {}
    assert reached(machine) == before
    assert machine.health()["streams"] == health
    noted(f"a page of {site} in Chromium", f"{len(report)} ways tried, none arrived or was read")


def test_a_name_that_was_bound_anew(machine: World, pages: PageServer, tmp_path: Path) -> None:
    """A page whose own name leads to the daemon's port is another Host, and is sent away."""
    before = reached(machine)
    base = f"http://evil.example:{machine.port}"
    with browsing(tmp_path, f"http://evil.example:{pages.port}/?base={base}"):
        assert readable(pages.report()) == {}
    text = shown(tmp_path, f"{base}/kimi/v1/models")
    assert "not this bridge" in text
    assert reached(machine) == before
    noted("a rebound name in Chromium", "421, nothing arrived")


def test_an_address_that_is_opened(machine: World, pages: PageServer, tmp_path: Path) -> None:
    """Typed, linked or led to: a browser is shown health, and of a provider nothing.

    A typed address says ``Sec-Fetch-Site: none``, and so does one that it redirects to. What a
    provider answers would be a page of our own origin, so that no page is made of it.
    """
    before = reached(machine)
    models = f"{machine.url}/kimi/v1/models"
    to = quote(models, safe="")
    typed = shown(tmp_path, models)
    assert "a browser that opens a page" in typed
    for hop in (302, 307):
        url = f"http://evil.example:{pages.port}/hop?status={hop}&to={to}"
        assert "came from a" in shown(tmp_path, url), hop
    assert "came from a web page" in shown(tmp_path, f"http://127.0.0.1:{pages.port}/go?to={to}")
    assert reached(machine) == before
    health = shown(tmp_path, f"{machine.url}/health")
    assert '"status": "ok"' in health
    assert json.loads(health[health.index("{") : health.rindex("}") + 1])["pid"] == machine.pid
    noted("typed, linked and redirected addresses", "health is shown, of a provider nothing")
