"""Judges the places where keys are looked for: which one yields, and what is wrong with the others.

Pure. A provider without any key is nobody's concern until it is asked for; one that is the default,
or was configured by hand, is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bridge.doctor.finding import Finding, fail, ok, warn


@dataclass(frozen=True, slots=True)
class Places:
    """The places of *provider*'s key: *found* is the first that yields, ``None`` where none does.

    *wrong* are places that hold something else than a key, and *odd* what is strange about the one
    that yields, each with its mend. *wanted* says that somebody counts on this provider.
    """

    provider: str
    found: str | None
    wrong: tuple[tuple[str, str], ...] = ()
    odd: tuple[tuple[str, str], ...] = ()
    names: tuple[str, ...] = ()
    wanted: bool = False


def judge(places: Places) -> Iterator[Finding]:
    """Yield what is to be said of *places*."""
    subject = f"{places.provider} key"
    serious = fail if places.found is None and places.wanted else warn
    for text, mend in places.wrong:
        # Passed over while another place yields; else it is why there is no key.
        yield serious(subject, text, mend)
    for text, mend in places.odd:
        yield warn(subject, text, mend)
    if places.found is not None and not places.odd:
        yield ok(subject, f"comes from {places.found}")
    elif places.found is None and not places.wrong and places.wanted:
        table = f"[providers.{places.provider}]"
        named = f'a file, and name that in {table} key = {{ file = "PATH" }}'
        yield warn(subject, "there is none", f"put one into {' or '.join(places.names) or named}")
