"""The verbs about the configuration: where it is, what is in force, what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from bridge import location
from bridge.config.reading import BUILT_IN, DEFAULT
from bridge.config.writing import lines
from bridge.providers import Auth, KeyPlace
from bridge.service.settings import Settings, load, locate
from bridge.way import outbound

Options = Mapping[str, object]


def path(options: Options) -> int:
    """Print where the configuration file is, whether it exists or not."""
    print(locate(options).config)
    return 0


def show(options: Options, *, as_json: bool) -> int:
    """Print what is in force and where each value came from; no secret is among it."""
    settings = load(options)
    file = settings.paths.config
    if as_json:
        values = {
            ".".join(entry.path): {"value": entry.shown, "origin": entry.origin}
            for entry in settings.config.entries
        }
        print(json.dumps({"file": file, "exists": Path(file).exists(), "values": values}, indent=2))
        return 0
    print(f"# {file}{'' if Path(file).exists() else ' (does not exist: all is as built in)'}\n")
    for line in lines(settings.config.entries):
        print(line)
    return 0


def check(options: Options) -> int:
    """Say that the configuration is good, and what in it may not be meant.

    Raises ``ConfigError`` with a line for each mistake where it is not, or where the way out, for
    which the environment counts too, cannot be as it says.
    """
    settings = load(options)
    network, providers = settings.config.network, settings.config.providers
    outbound(settings.environment, network.proxy, network.ca_file, providers.values())
    for warning in settings.config.warnings:
        print(f"warning: {warning}")
    for note in notes(settings):
        print(f"note: {note}")
    file = settings.paths.config
    print(f"good: {file}" if Path(file).exists() else f"good: {file} does not exist, and need not")
    return 0


def notes(settings: Settings) -> Iterator[str]:
    """Yield, for each key that the person placed, why it is not there now.

    That is no mistake of the file: the daemon may be started elsewhere, the key may come later.
    """
    for row in settings.config.providers.values():
        name = f"providers.{row.name}.key"
        origin = settings.config.origins[name]
        if row.auth is not Auth.KEY or origin in {BUILT_IN, DEFAULT}:
            continue
        reasons = [_absence(place, settings.environment) for place in row.keys]
        if all(reasons):
            yield f"{origin}: {name}: {'; '.join(reasons)}"


def _absence(place: KeyPlace, environment: Mapping[str, str]) -> str:
    """Return why there is no key at *place*, or an empty string; a command is not run for that."""
    if place.env and not environment.get(place.env):
        return f"{place.env} is not set in this environment"
    if place.file and not Path(location.expanded(place.file, environment)).is_file():
        return f"{place.file} does not exist yet"
    return ""
