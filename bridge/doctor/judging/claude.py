"""Judges Claude Code's settings files: what stands in their ``env`` beats the environment.

Pure. So it beats the generated functions, too. What is said here of the files was observed with
Claude Code 2.1.329: variables of a file that would move the session to another place, and those
that have no such effect there (a socket, a token of another account), are told apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bridge.clients import claude
from bridge.clients.environment import LOOPBACK
from bridge.doctor.finding import Finding, fail, ok, warn
from bridge.doctor.judging.address import Leads, target
from bridge.doctor.judging.document import (
    File,
    Malformed,
    json_object,
    malformed,
    table,
    unreadable,
)
from bridge.doctor.judging.shell import (
    BASE_URL,
    exempts,
    known_models,
    model_variables,
    proxies,
    served,
)
from bridge.providers import Provider

SUBJECT: Final = "Claude Code"
#: Set to something like "true", each takes the session to another service.
ELSEWHERE: Final = frozenset(claude.ELSEWHERE) - {"ANTHROPIC_UNIX_SOCKET"}
CREDENTIALS: Final = frozenset(claude.CONFLICTING) - frozenset(claude.ELSEWHERE)
_OFF: Final = frozenset({"", "0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Settings:
    """One settings file.

    *managed* says that the person cannot change it; *home_only*, that it counts for sessions in the
    home folder only.
    """

    file: File
    managed: bool = False
    home_only: bool = False


@dataclass(frozen=True, slots=True)
class Bridge:
    """What the settings have to agree with: the *port*, the *rows*, the shell's *environment*.

    *key_needed* says that callers have to show the caller key.
    """

    port: int
    rows: Mapping[str, Provider]
    environment: Mapping[str, str]
    key_needed: bool = False


def judge(files: list[Settings], bridge: Bridge) -> Iterator[Finding]:
    """Yield what is to be said of all of Claude Code's settings files."""
    findings = [finding for each in files for finding in _file(each, bridge)]
    yield from findings or [ok(SUBJECT, "no settings file overrides the environment")]


def _file(settings: Settings, bridge: Bridge) -> Iterator[Finding]:
    file = settings.file
    if file.problem:
        yield unreadable(SUBJECT, file)
    if file.text is None:
        return
    try:
        document = json_object(file.text)
    except Malformed as error:
        yield malformed(SUBJECT, file, error, consequence="Claude Code passes over all of it")
        return
    yield from _judged(settings, document, bridge)


def _judged(settings: Settings, document: Mapping[str, Any], bridge: Bridge) -> Iterator[Finding]:
    path = settings.file.path
    env = {name: str(value) for name, value in table(document.get("env")).items() if value}
    where = target(env.get(BASE_URL), bridge.port)
    # Such a file is meant for the bridge: what else stands there belongs to it.
    ours = where.leads is Leads.HERE and served(where.segment, bridge.rows)
    for name, value in env.items():
        mend = _mend(f"env.{name}", settings)
        moving = _moving(name, value, path, mend, bridge)
        found = moving or (None if ours else _beside(name, value, path, mend, bridge))
        if found:
            yield _weighed(found, settings)
    proxied = "no_proxy" in env and proxies({**bridge.environment, **env})
    if proxied and not exempts(env["no_proxy"]):
        text = f"{path} sets no_proxy without 127.0.0.1: requests would go to the proxy"
        mend = f'add "{LOOPBACK}" to env.no_proxy in {path}'
        yield _weighed(fail(SUBJECT, text, mend), settings)
    if document.get("apiKeyHelper") and not ours:
        text = f"{path} sets apiKeyHelper: its key is sent to the bridge too, which drops it"
        yield warn(SUBJECT, text, _mend("apiKeyHelper", settings))


def _moving(name: str, value: str, path: str, mend: str, bridge: Bridge) -> Finding | None:
    """Return what is to be said of a variable that decides where sessions go."""
    if name == BASE_URL:
        return _base_url(value, path, mend, bridge)
    if name in ELSEWHERE and value.lower() not in _OFF:
        text = f"{path} sets {name}: every session goes to that service, past the bridge"
        return fail(SUBJECT, text, mend)
    return None


def _beside(name: str, value: str, path: str, mend: str, bridge: Bridge) -> Finding | None:
    """Return what is to be said of a variable that changes what is sent to the bridge."""
    rows = bridge.rows.values()
    if name == claude.KEY_VARIABLE:
        text = f"{path} sets {name}: it is sent in place of the caller key"
        if bridge.key_needed:
            return fail(SUBJECT, f"{text}, and the bridge refuses it", mend)
        return warn(SUBJECT, text, mend)
    if name in CREDENTIALS:
        return warn(SUBJECT, f"{path} sets {name}: it is sent to the bridge, too", mend)
    if name in model_variables(rows):
        known = value in known_models(rows)
        which = "whichever provider is asked" if known else "and no provider is known for that one"
        text = f"{path} sets {name}: every session asks for that model, {which}"
        return warn(SUBJECT, text, mend)
    return None


def _base_url(value: str, path: str, mend: str, bridge: Bridge) -> Finding:
    where = target(value, bridge.port)
    if where.leads is Leads.HERE and served(where.segment, bridge.rows):
        segment = where.segment if where.segment in bridge.rows else "the default provider"
        text = f"{path} sets {BASE_URL}: every generated function goes to {segment}"
        return warn(SUBJECT, text, mend)
    if where.leads is Leads.HERE:
        text = f"{path} sets {BASE_URL} to a provider that the bridge does not have"
        return fail(SUBJECT, text, mend)
    text = f"{path} sets {BASE_URL}: every session goes to {where.shown}, past the bridge"
    return fail(SUBJECT, text, mend)


def _mend(key: str, settings: Settings) -> str:
    if settings.managed:
        return f"have whoever manages this machine remove {key} from {settings.file.path}"
    return f"remove {key} from {settings.file.path}"


def _weighed(finding: Finding, settings: Settings) -> Finding:
    if not settings.home_only:
        return finding
    return warn(SUBJECT, f"{finding.text} (in sessions started in the home folder)", finding.mend)
