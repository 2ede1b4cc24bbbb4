"""Judges the environment that the daemon was started in against the shell's: names only.

Pure. A daemon keeps the environment of its start for life, and one that a service manager started
never saw the shell's. What differs is invisible until a request fails.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from bridge.doctor.finding import Finding, ok, warn
from bridge.providers import Provider

SUBJECT: Final = "daemon's environment"
#: What decides by which way the daemon goes out, and where to.
WAYS_OUT: Final = (
    *("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "SSL_CERT_FILE"),
    *("KIMI_SHARE_DIR", "KIMI_CODE_OAUTH_HOST", "KIMI_OAUTH_HOST", "KIMI_CODE_BASE_URL"),
)


def names_of_interest(rows: Iterable[Provider]) -> frozenset[str]:
    """Return the names of the variables that matter to a daemon which serves *rows*."""
    keys = {place.env for row in rows for place in row.keys if place.env}
    return frozenset(keys | set(WAYS_OUT))


def judge(
    shell: Collection[str],
    daemon: Collection[str] | None,
    rows: Mapping[str, Provider],
    found: Mapping[str, str],
) -> Iterator[Finding]:
    """Yield what the *daemon* misses of what the *shell* sets; both are names of set variables.

    *daemon* is ``None`` where there is none or the system does not tell. *found* names the place
    from which each provider's key comes in this shell, by provider.
    """
    if daemon is None:
        return
    findings = [*_keys(shell, daemon, rows, found), *_ways_out(shell, daemon)]
    yield from findings or [ok(SUBJECT, "it has every variable of this shell that matters to it")]


def _keys(
    shell: Collection[str],
    daemon: Collection[str],
    rows: Mapping[str, Provider],
    found: Mapping[str, str],
) -> Iterator[Finding]:
    for name, row in rows.items():
        first = next((place.env for place in row.keys if place.env in shell), "")
        # Where a file or a command comes before it, the variable is not what counts here either.
        if not first or first in daemon or found.get(name) != first:
            continue
        files = [place.file for place in row.keys if place.file]
        keep = f"put the key into {files[0]} (mode 0600)" if files else "keep the key in a file"
        yield warn(
            SUBJECT,
            f"{first} is set in this shell but not in the daemon's environment: "
            f"{name} does not get that key",
            f"{keep}, or start the daemon from this shell: bridge --restart",
        )


def _ways_out(shell: Collection[str], daemon: Collection[str]) -> Iterator[Finding]:
    for name in WAYS_OUT:
        if (name in shell) == (name in daemon):
            continue
        here, there = ("this shell", "the daemon's environment")
        if name in daemon:
            here, there = "the daemon's environment", "this shell"
        text = f"{name} is set in {here} but not in {there}: the two go out differently"
        yield warn(SUBJECT, text, "start the daemon from this shell: bridge --restart")
