"""What a person is told, from the document that programs get."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from bridge.status.report import Row, Tone, counted, lasting, moment, rows, size

NOW = datetime(2027, 1, 15, 12, 0, tzinfo=UTC).timestamp()


def document(**changes: Any) -> dict[str, Any]:
    """Return the document of a daemon that serves and has nothing special to tell."""
    daemon = {
        "version": "1.2.3",
        "pid": 7,
        "port": 18462,
        "keeper": "systemd",
        "started_at": NOW - 8000,
        "uptime_seconds": 8000,
        "streams": 1,
        "requests": 1234,
        "sent_bytes": 12_400_000,
        "added_ms": {"p50": 0.213, "p99": 1.4},
        "last_error": None,
    }
    return {
        "exit_code": 0,
        "serving": True,
        "line": "serving on 127.0.0.1:18462, pid 7",
        "daemon": daemon,
        "providers": {},
        "log": {"path": "/l", "exists": True},
        "configuration": {"path": "/c", "exists": True, "problem": None},
        **changes,
    }


def said(told: dict[str, Any]) -> list[tuple[str, str]]:
    """Return labels and texts, without empty rows."""
    return [(row.label, row.text) for row in rows(told, NOW) if row != Row("", "")]


def of_provider(**state: Any) -> list[Row]:
    """Return the rows about a provider in *state*."""
    whole = rows(document(providers={"kimi": {"ready": True, "auth": "oauth", **state}}), NOW)
    begin = next(place for place, row in enumerate(whole) if row.label == "kimi")
    end = next(place for place, row in enumerate(whole) if place > begin and row.label == "log")
    return whole[begin : end - 1]


def test_a_daemon_that_serves() -> None:
    """Who, since when, kept by whom, what went through, what it cost and where things are."""
    told = said(document())
    assert told[0] == ("bridge", "1.2.3 serving on 127.0.0.1:18462, pid 7")
    assert told[1][1].startswith("up for 2 h, since ")
    assert told[1][1].endswith("; kept by systemd")
    assert told[2:] == [
        ("traffic", "1 live stream, 1,234 requests, 12.4 MB sent"),
        ("time added", "p50 0.21 ms, p99 1.40 ms: what bridge itself took"),
        ("log", "/l"),
        ("configuration", "/c"),
    ]


def test_the_last_error_has_its_time() -> None:
    """And stands out."""
    told = document()
    told["daemon"]["last_error"] = {"at": NOW - 90_000, "text": "kimi: no connection"}
    row = next(row for row in rows(told, NOW) if row.label == "last error")
    assert row.text == f"{moment(NOW - 90_000, NOW)} kimi: no connection"
    assert row.tone is Tone.ODD


def test_a_daemon_of_another_version_is_told_of_as_well() -> None:
    """What it does not tell is left out."""
    told = said(document(daemon={"pid": 7}, providers={"x": {"ready": True, "auth": "key"}}))
    assert told[0] == ("bridge", "serving on 127.0.0.1:18462, pid 7")
    assert ("x", "ready") in told


def test_without_a_daemon_the_files_speak() -> None:
    """The line of the check comes first, and whatever follows is marked as no daemon's word."""
    told = document(
        exit_code=3,
        serving=False,
        line="not running: start it with: bridge",
        daemon=None,
        providers={"kimi": {"ready": True, "auth": "oauth", "saved_at": NOW - 600}},
        log={"path": "/l", "exists": False},
        configuration={"path": "/c", "exists": False, "problem": "/c:1: a\n/c:2: b"},
    )
    assert rows(told, NOW)[0] == Row("bridge", "not running: start it with: bridge", Tone.BAD)
    assert said(told)[1:] == [
        ("", "What the files say, as this shell sees them:"),
        ("kimi", "ready, by login"),
        ("", "saved 10 min ago"),
        ("log", "/l (none yet)"),
        ("configuration", "/c (none: defaults)"),
        ("", "/c:1: a"),
        ("", "/c:2: b"),
    ]


def test_a_daemon_that_hangs() -> None:
    """What the PID file knows is told, and nothing is made up."""
    told = document(serving=False, exit_code=4, line="does not answer", daemon={"keeper": "hand"})
    assert said(told)[:2] == [("bridge", "does not answer"), ("", "started by hand")]


def test_a_login_with_everything() -> None:
    """Readiness, the token's rest, refreshes, forecast, traffic, in this order."""
    told = of_provider(
        expires_in_seconds=640,
        refreshed_at=NOW - 240,
        next_refresh_at=NOW + 200,
        login_ends_at=NOW + 29 * 86_400 + 5,
        requests=120,
        errors=1,
        sent_bytes=999,
    )
    assert [row.text for row in told] == [
        "ready, by login; token good for 10 min",
        "last refresh 4 min ago, next refresh in 3 min",
        "login ends in 29 days, unless it is refreshed",
        "120 requests, 1 error, 999 bytes sent",
    ]
    assert {row.tone for row in told} == {Tone.GOOD, Tone.PLAIN}


@pytest.mark.parametrize(
    ("state", "text", "tone"),
    [
        ({"ready": False, "problem": "p: do"}, "p: do", Tone.BAD),
        ({"problem": "p: do"}, "p: do", Tone.ODD),
        ({"note": "may have been spent"}, "may have been spent", Tone.ODD),
        ({"failure": "refused"}, "a refresh failed: refused", Tone.ODD),
        (
            {"login_ends_at": NOW + 3 * 86_400},
            "login ends in 3 days, unless it is refreshed",
            "odd",
        ),
        ({"login_ends_at": NOW - 1}, "login has probably ended: run: bridge login", "odd"),
        ({"next_refresh_at": NOW - 1}, "next refresh is due", "plain"),
        (
            {"expires_in_seconds": -5},
            "ready, by login; the token has expired, the next request refreshes it",
            "good",
        ),
    ],
)
def test_what_is_odd_stands_out(state: dict[str, Any], text: str, tone: Tone) -> None:
    """A problem of what still works is odd, of what does not work is bad."""
    assert (text, tone) in [(row.text, row.tone) for row in of_provider(**state)]


def test_a_failure_is_not_said_twice() -> None:
    """A problem that is the last refresh's failure is one line."""
    assert len(of_provider(problem="no connection", failure="no connection", failed_at=NOW)) == 2
    failed = of_provider(problem="other", failure="no connection", failed_at=NOW - 5)
    assert failed[-1].text == f"a refresh failed at {moment(NOW - 5, NOW)}: no connection"


def test_who_has_nothing_to_tell_is_one_line() -> None:
    """Providers without a key together, dim; one whose key is no key has its own."""
    quiet = {"ready": False, "auth": "key", "requests": 0, "errors": 0, "sent_bytes": 0}
    providers = {
        "glm": {**quiet, "problem": "glm has no key: set GLM_API_KEY"},
        "zai": {**quiet, "problem": "zai has no usable key: it is a placeholder"},
        "deepseek": {**quiet, "problem": "deepseek has no key: set it"},
        "anthropic": {"ready": True, "auth": "passthrough"},
        "other": {
            "ready": True,
            "auth": "passthrough",
            "requests": 1,
            "errors": 0,
            "sent_bytes": 1,
        },
        "minimax": {**quiet, "ready": True, "source": "~/.MiniMaxAZ1.api.key"},
    }
    told = said(document(providers=providers))
    assert told[4:-2] == [
        ("zai", "not ready"),
        ("", "zai has no usable key: it is a placeholder"),
        ("other", "ready, with the caller's own credential"),
        ("", "1 request, 0 errors, 1 bytes sent"),
        ("minimax", "ready, key from ~/.MiniMaxAZ1.api.key"),
        ("no key", "glm, deepseek"),
        ("caller's own", "anthropic"),
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((-3, "0 s"), (0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min")),
        *((7200, "2 h"), (172_799, "47 h"), (172_800, "2 days")),
    ],
)
def test_lengths_of_time(seconds: float, text: str) -> None:
    """Two of the larger unit at least, so that rounding never says much less than there is."""
    assert lasting(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        *((0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (12_400_000, "12.4 MB")),
        *((3e9, "3.0 GB"), (5e12, "5.0 TB")),
    ],
)
def test_sizes(number: float, text: str) -> None:
    """In thousands, as disks and networks count."""
    assert size(number) == text


def test_moments() -> None:
    """Today needs no day."""
    assert len(moment(NOW, NOW)) == len("12:00:00")
    assert moment(NOW - 3 * 86_400, NOW).startswith("2027-01-")
    assert counted(1, "stream") == "1 stream"
