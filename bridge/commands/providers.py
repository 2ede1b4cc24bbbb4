"""The verb that lists the providers: what each is, and where its credential is looked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from bridge.clock import SystemClock
from bridge.config.fields import shown_place
from bridge.credentials.key import KeySource
from bridge.credentials.store import Store
from bridge.errors import BridgeError
from bridge.providers import Auth, Dialect, Provider
from bridge.service.account import credential_file
from bridge.service.settings import Settings, load

Options = Mapping[str, object]


class Finding(NamedTuple):
    """Where the credential of a provider is *found*, ``None`` for nowhere, and any *problem*."""

    found: str | None
    problem: str | None


def providers(options: Options, *, as_json: bool) -> int:
    """Print every provider in force. No key is shown, and no command is run to look for one."""
    settings = load(options)
    findings = [(row, _find(row, settings)) for row in settings.config.providers.values()]
    if as_json:
        print(json.dumps([_document(row, finding) for row, finding in findings], indent=2))
    else:
        print("\n\n".join("\n".join(_lines(row, finding)) for row, finding in findings))
    return 0


def _find(row: Provider, settings: Settings) -> Finding:
    if row.auth is Auth.PASSTHROUGH:
        return Finding("the caller", None)
    if row.auth is Auth.OAUTH:
        return _login(settings)
    source = KeySource(row, settings.environment, SystemClock())
    return Finding(source.found(), source.condition().problem)


def _login(settings: Settings) -> Finding:
    file = credential_file(Path(settings.paths.kimi_share))
    try:
        held = Store(file, SystemClock()).read()
    except BridgeError as error:
        return Finding(None, str(error))
    if held is None:
        return Finding(None, "there is no login: run: bridge login")
    return Finding(str(file), None)


def _document(row: Provider, finding: Finding) -> Mapping[str, object]:
    models = row.models
    return {
        "name": row.name,
        "title": row.title,
        "aliases": list(row.aliases),
        "auth": str(row.auth),
        "surfaces": {str(dialect): url for dialect, url in row.surfaces.items()},
        "responses": row.responses,
        "models": {
            "primary": models.primary,
            "fast": models.fast,
            "opus": models.tier("opus"),
            "sonnet": models.tier("sonnet"),
            "haiku": models.tier("haiku"),
        },
        "context": row.context,
        "key": [shown_place(place) for place in row.keys],
        "found": finding.found,
        "problem": finding.problem,
    }


def _lines(row: Provider, finding: Finding) -> Iterator[str]:
    """Yield what a person wants to know of *row*."""
    also = f" (or {', '.join(row.aliases)})" if row.aliases else ""
    yield f"{row.name}{also}: {row.title}"
    for dialect, url in row.surfaces.items():
        spoken = " (Chat and Responses)" if row.responses else " (Chat)"
        yield f"    {dialect:<11}{url}{spoken if dialect is Dialect.OPENAI else ''}"
    yield f"    {'models':<11}{_models(row)}"
    yield f"    {_CREDENTIAL[row.auth]:<11}{_place(row, finding)}"
    if finding.problem and finding.found:
        yield f"    {'but':<11}{finding.problem}"


_CREDENTIAL = {Auth.OAUTH: "login", Auth.KEY: "key", Auth.PASSTHROUGH: "credential"}


def _models(row: Provider) -> str:
    models = row.models
    named = {"": models.primary, "fast": models.fast}
    named |= {"opus": models.opus, "sonnet": models.sonnet, "haiku": models.haiku}
    told = [f"{use} {model}".strip() for use, model in named.items() if model]
    return ", ".join(told) or "as the client asks"


def _place(row: Provider, finding: Finding) -> str:
    if row.auth is Auth.PASSTHROUGH:
        return "the caller's own"
    if finding.found:
        return f"found: {finding.found}"
    return f"not found: {finding.problem}"
