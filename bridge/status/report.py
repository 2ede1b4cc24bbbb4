"""Says in rows for people what the status document says for programs; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple

Document = Mapping[str, Any]


class Tone(StrEnum):
    """What a row means to who looks at it."""

    PLAIN = "plain"
    GOOD = "good"
    ODD = "odd"
    BAD = "bad"
    DIM = "dim"


class Row(NamedTuple):
    """What is said (*text*) of what (*label*; empty: of the same as the row above)."""

    label: str
    text: str
    tone: Tone = Tone.PLAIN


GAP: Final = Row("", "")
#: A login that ends sooner than this is worth a second look.
SOON_SECONDS: Final = 5 * 86_400

_KEEPERS: Final = MappingProxyType(
    {
        "hand": "started by hand",
        "foreground": "in the foreground",
        "systemd": "kept by systemd",
        "launchd": "kept by launchd",
    }
)
_UNITS: Final = ((86_400, "days"), (3600, "h"), (60, "min"))


def rows(document: Document, now: float) -> list[Row]:
    """Return what a person sees of *document* at *now* (seconds since the epoch)."""
    providers: Document = document["providers"]
    told = [*_daemon(document, now), GAP]
    if providers and not document["serving"]:
        told.append(Row("", "What the files say, as this shell sees them:", Tone.DIM))
    for name, state in providers.items():
        told += _provider(name, state, now)
    told += [*_quiet(providers), GAP, *_places(document)]
    return told


def lasting(seconds: float) -> str:
    """Return a length of time in words, in one or two units."""
    whole = max(0, round(seconds))
    for size, unit in _UNITS:
        if whole >= 2 * size:
            return f"{whole // size} {unit}"
    return f"{whole} s"


def size(number: float) -> str:
    """Return a number of bytes in words."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def moment(at: float, now: float) -> str:
    """Return the local time of *at*, with its day where that is not the day of *now*."""
    when, today = (datetime.fromtimestamp(each, UTC).astimezone() for each in (at, now))
    return f"{when:%H:%M:%S}" if when.date() == today.date() else f"{when:%Y-%m-%d %H:%M}"


def counted(number: int, noun: str) -> str:
    """Return *number* with its *noun*, in the plural where that is due."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _daemon(document: Document, now: float) -> Iterator[Row]:
    daemon: Document | None = document["daemon"]
    if not document["serving"] or daemon is None:
        yield Row("bridge", document["line"], Tone.BAD)
        if daemon is not None and daemon.get("keeper"):
            yield Row("", _kept(daemon))
        return
    yield Row("bridge", f"{daemon.get('version', '')} {document['line']}".strip(), Tone.GOOD)
    if (started := daemon.get("started_at")) is not None:
        kept = f"; {_kept(daemon)}" if daemon.get("keeper") else ""
        up = lasting(daemon.get("uptime_seconds", 0))
        yield Row("", f"up for {up}, since {moment(started, now)}{kept}")
    streams = counted(daemon.get("streams", 0), "live stream")
    requests = counted(daemon.get("requests", 0), "request")
    yield Row("traffic", f"{streams}, {requests}, {size(daemon.get('sent_bytes', 0))} sent")
    added: Document = daemon.get("added_ms") or {}
    if added.get("p50") is not None:
        text = f"p50 {added['p50']:.2f} ms, p99 {added['p99']:.2f} ms: what bridge itself took"
        yield Row("time added", text)
    if error := daemon.get("last_error"):
        yield Row("last error", f"{moment(error['at'], now)} {error['text']}", Tone.ODD)


def _kept(daemon: Document) -> str:
    return _KEEPERS.get(daemon["keeper"], f"kept by {daemon['keeper']}")


def _is_quiet(name: str, state: Document) -> bool:
    """Say whether there is nothing to tell of a provider: nobody has set it up, or uses it."""
    if state.get("requests"):
        return False
    if state.get("auth") == "passthrough":
        return True
    return not state.get("ready") and str(state.get("problem", "")).startswith(f"{name} has no key")


def _quiet(providers: Document) -> Iterator[Row]:
    quiet = {name: state for name, state in providers.items() if _is_quiet(name, state)}
    for label, auth in (("no key", "key"), ("caller's own", "passthrough")):
        names = [name for name, state in quiet.items() if state.get("auth") == auth]
        if names:
            yield Row(label, ", ".join(names), Tone.DIM)


def _provider(name: str, state: Document, now: float) -> Iterator[Row]:
    if _is_quiet(name, state):
        return
    problem, note, failure = (state.get(key) for key in ("problem", "note", "failure"))
    tone = Tone.GOOD if not problem else Tone.ODD
    yield Row(name, _readiness(state), tone if state.get("ready") else Tone.BAD)
    if times := ", ".join(_times(state, now)):
        yield Row("", times)
    if (ends := state.get("login_ends_at")) is not None:
        yield _forecast(ends, now)
    if state.get("requests"):
        told = [counted(state["requests"], "request"), counted(state.get("errors", 0), "error")]
        yield Row("", ", ".join([*told, f"{size(state.get('sent_bytes', 0))} sent"]))
    if problem:
        yield Row("", problem, Tone.ODD if state.get("ready") else Tone.BAD)
    if failure and failure != problem:
        at = state.get("failed_at")
        when = "" if at is None else f" at {moment(at, now)}"
        yield Row("", f"a refresh failed{when}: {failure}", Tone.ODD)
    if note:
        yield Row("", note, Tone.ODD)


def _readiness(state: Document) -> str:
    ready = "ready" if state.get("ready") else "not ready"
    if state.get("auth") == "oauth":
        ready += ", by login"
    elif state.get("auth") == "passthrough":
        ready += ", with the caller's own credential"
    elif state.get("source"):
        ready += f", key from {state['source']}"
    left = state.get("expires_in_seconds")
    if left is None or not state.get("ready"):
        return ready
    if left <= 0:
        return f"{ready}; the token has expired, the next request refreshes it"
    return f"{ready}; token good for {lasting(left)}"


def _times(state: Document, now: float) -> Iterator[str]:
    if (refreshed := state.get("refreshed_at")) is not None:
        yield f"last refresh {lasting(now - refreshed)} ago"
    elif (saved := state.get("saved_at")) is not None:
        yield f"saved {lasting(now - saved)} ago"
    if (due := state.get("next_refresh_at")) is not None:
        yield f"next refresh in {lasting(due - now)}" if due > now else "next refresh is due"


def _forecast(ends: float, now: float) -> Row:
    tone = Tone.ODD if ends - now < SOON_SECONDS else Tone.PLAIN
    if ends <= now:
        return Row("", "login has probably ended: run: bridge login", tone)
    return Row("", f"login ends in {lasting(ends - now)}, unless it is refreshed", tone)


def _places(document: Document) -> Iterator[Row]:
    for label, key in (("log", "log"), ("configuration", "configuration")):
        place: Document | None = document[key]
        if place is None:
            continue
        there = "" if place["exists"] else " (none yet)" if key == "log" else " (none: defaults)"
        yield Row(label, f"{place['path']}{there}", Tone.DIM)
        if problem := place.get("problem"):
            for line in problem.splitlines():
                yield Row("", line, Tone.BAD)
