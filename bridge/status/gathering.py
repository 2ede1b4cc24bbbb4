"""Finds out how things stand: by the daemon's own word, else by what PID file and files say.

Nobody is sent a key, no command is run and nothing is written. The daemon is believed only after
it has proved to be ours, exactly as ``--check`` has it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bridge.clock import Clock
from bridge.credentials.key import KeySource
from bridge.credentials.source import Condition
from bridge.errors import BridgeError
from bridge.providers import Auth, Provider
from bridge.service.account import at_rest, credential_file
from bridge.service.pidfile import FOREIGN, HELD, look
from bridge.service.probe import SERVING, Answer, probe
from bridge.service.settings import Settings, load
from bridge.service.sources import stated, told
from bridge.status.places import located

Options = Mapping[str, object]
Document = dict[str, Any]

#: What of a PID file is worth telling; *keeper* where its version of bridge wrote one.
_TOLD: Final = ("pid", "version", "address", "port", "keeper", "host")


def gathered(options: Options, default_port: int, clock: Clock) -> Document:
    """Return the status document; *default_port* is where a daemon would be.

    Raises ``ConfigError`` where nobody can tell where the files are.
    """
    places = located(options)
    answer = probe(places.pid_file, default_port)
    health = _health(answer)
    settings, problem = _configured(options)
    providers = health.pop("providers", None)
    if providers is None:
        providers = {} if settings is None else _by_the_files(settings, clock)
    return {
        "exit_code": answer.code,
        "serving": answer.code == SERVING,
        "line": answer.line,
        "daemon": {**_recorded(places.pid_file), **health} or None,
        "providers": providers,
        "log": _place(places.log),
        "configuration": {**_place(places.config), "problem": problem},
    }


def _health(answer: Answer) -> Document:
    """Return the health document of a daemon that has proved to be ours, else an empty one."""
    try:
        document = json.loads(answer.document or b"{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _recorded(pid_file: str) -> Document:
    """Return what the PID file says of a daemon that holds it."""
    kind, record = look(pid_file)
    if kind not in {HELD, FOREIGN} or record is None:
        return {}
    words = {name: getattr(record, name, "") for name in _TOLD}
    return {name: value for name, value in words.items() if value}


def _configured(options: Options) -> tuple[Settings | None, str | None]:
    """Return the settings as the file has them now, or what is wrong with them."""
    try:
        return load(options), None
    except BridgeError as error:
        return None, str(error)


def _by_the_files(settings: Settings, clock: Clock) -> Document:
    known = settings.config.providers
    return {name: _credential(row, settings, clock) for name, row in known.items()}


def _credential(row: Provider, settings: Settings, clock: Clock) -> Mapping[str, object]:
    """Return how the credential of *row* looks from here, without a daemon."""
    if row.auth is Auth.KEY:
        return told(row, KeySource(row, settings.environment, clock))
    if row.auth is Auth.PASSTHROUGH:
        return told(row, None)
    try:
        condition = at_rest(settings.paths, clock)
    except BridgeError as error:
        condition = Condition(ready=False, remaining=None, refreshed_at=None, problem=str(error))
    return {**stated(row, condition), **_saved(settings)}


def _saved(settings: Settings) -> Document:
    """Return when the login was last written, by whomever."""
    try:
        status = credential_file(Path(settings.paths.kimi_share)).stat()
    except OSError:
        return {}
    return {"saved_at": round(status.st_mtime)}


def _place(path: str) -> Document:
    return {"path": path, "exists": Path(path).exists()}
