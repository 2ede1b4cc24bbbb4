"""Judges the environment of this shell: what would send Claude Code past the bridge.

Pure. The generated functions change the environment of the client they start, so most of what is
found here only touches a client that is started without them; it is said which. Values are never
shown.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from bridge.clients import claude
from bridge.clients.environment import LOOPBACK, NO_PROXY_VARIABLES, Environment
from bridge.doctor.finding import Finding, ok, warn
from bridge.doctor.judging.address import Leads, target
from bridge.providers import Dialect, Provider

SUBJECT: Final = "shell"
BASE_URL: Final = "ANTHROPIC_BASE_URL"
PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
#: What people call the functions that ``bridge shell-init`` prints.
FUNCTIONS: Final = "the generated functions (claude-kimi …)"


def judge(
    environment: Mapping[str, str], port: int, rows: Mapping[str, Provider]
) -> Iterator[Finding]:
    """Yield what is to be said of *environment*, for a bridge on *port* that serves *rows*."""
    findings = [
        *_base_url(environment.get(BASE_URL, ""), port, rows),
        *_credentials(environment, port, rows.values()),
        *_models(environment, rows.values()),
        *_proxies(environment),
    ]
    yield from findings or [ok(SUBJECT, "nothing in the environment leads Claude Code elsewhere")]


def served(segment: str, rows: Mapping[str, Provider]) -> bool:
    """Say whether a path that begins with *segment* is one of *rows*, or the default provider's."""
    known = {name for row in rows.values() for name in (row.name, *row.aliases)}
    return segment in {"", "v1"} or segment in known


def unproxied(environment: Mapping[str, str]) -> bool:
    """Say whether both spellings of ``NO_PROXY`` in *environment* keep loopback from a proxy.

    A spelling that is not set counts as the other, as programs that know both take it.
    """
    upper, lower = (environment.get(name, "") for name in NO_PROXY_VARIABLES)
    return all(exempts(value) for value in (upper or lower, lower or upper))


def exempts(no_proxy: str) -> bool:
    """Say whether the list *no_proxy* keeps requests to 127.0.0.1 from a proxy."""
    entries = {entry.strip() for entry in no_proxy.split(",")}
    return no_proxy.strip() == "*" or "127.0.0.1" in entries


def proxies(environment: Mapping[str, str]) -> list[str]:
    """Return the names of the proxy variables that *environment* sets, as they are spelt there."""
    names = (spelling for name in PROXIES for spelling in (name, name.lower()))
    return [name for name in names if environment.get(name)]


def known_models(rows: Iterable[Provider]) -> frozenset[str]:
    """Return the model names that clients of *rows* are told to use."""
    kinds = (row.models for row in rows)
    return frozenset(
        name
        for kind in kinds
        for name in (kind.primary, kind.fast, kind.opus, kind.sonnet, kind.haiku)
    )


def model_variables(rows: Iterable[Provider]) -> list[str]:
    """Return the variables by which Claude Code is told a model, and which a person's own beats."""
    names = {name: None for made in _made(rows).values() for name in made.preferred}
    return [name for name in names if name.endswith("_MODEL")]


def _made(rows: Iterable[Provider]) -> Mapping[str, Environment]:
    """Return what each generated function does to the environment, by the name of its provider."""
    return {
        row.name: claude.environment("", row) for row in rows if Dialect.ANTHROPIC in row.surfaces
    }


def _base_url(url: str, port: int, rows: Mapping[str, Provider]) -> Iterator[Finding]:
    if not url:
        return
    where = target(url, port)
    if where.leads is Leads.HERE and served(where.segment, rows):
        yield ok(SUBJECT, f"{BASE_URL} leads a plain claude to the bridge")
    elif where.leads is Leads.HERE:
        text = f"{BASE_URL} leads to the bridge, but to a provider that it does not have"
        yield warn(SUBJECT, text, f"end it with one of: /{', /'.join(rows)}")
    else:
        yield warn(
            SUBJECT,
            f"{BASE_URL} leads a plain claude to {where.shown}; {FUNCTIONS} replace it",
            f"unset {BASE_URL}, unless a plain claude is meant to go there",
        )


def _credentials(
    environment: Mapping[str, str], port: int, rows: Collection[Provider]
) -> Iterator[Finding]:
    here = target(environment.get(BASE_URL), port).leads is Leads.HERE
    made = _made(rows)
    for name in (claude.KEY_VARIABLE, *claude.CONFLICTING):
        if not environment.get(name) or (here and name == claude.KEY_VARIABLE):
            continue
        kept = [f"claude-{row}" for row, each in made.items() if _keeps(each, name)]
        clear = f"{FUNCTIONS} clear it" + (f", but for {' and '.join(kept)}" if kept else "")
        if here:
            text = f"{name} is set beside {BASE_URL}: a plain claude would not rely on the bridge"
            yield warn(SUBJECT, f"{text}; {clear}", f"unset {name}")
        else:
            text = f"{name} is set: it counts outside of the generated functions only; {clear}"
            yield warn(SUBJECT, text, f"unset {name}, unless a plain claude is meant to use it")


def _keeps(made: Environment, name: str) -> bool:
    return made.applied({name: "own"}, "").get(name) == "own"


def _models(environment: Mapping[str, str], rows: Collection[Provider]) -> Iterator[Finding]:
    known = known_models(rows)
    for name in model_variables(rows):
        value = environment.get(name)
        if value and value not in known:
            text = (
                f"{name} is set and wins, in {FUNCTIONS} too; no provider is known for that model"
            )
            yield warn(SUBJECT, text, f"unset {name}, unless each provider used has that model")


def _proxies(environment: Mapping[str, str]) -> Iterator[Finding]:
    names = proxies(environment)
    if names and not unproxied(environment):
        extended = ",".join(("${NO_PROXY:+$NO_PROXY,}" + LOOPBACK,))
        yield warn(
            SUBJECT,
            f"{', '.join(names)} is set and NO_PROXY does not name 127.0.0.1: a client may send "
            f"its request to that proxy, key included; {FUNCTIONS} add it",
            f'export NO_PROXY="{extended}" no_proxy="{extended}"',
        )
