"""The verbs that point a client at the bridge: env prints how, run does it for one command."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NoReturn

from bridge.clients import claude, codex, fish, opencode, sdk, sh
from bridge.clients.environment import Environment
from bridge.clients.shell import Bridge
from bridge.commands.shell import called
from bridge.errors import ServiceError, UsageError
from bridge.providers import Provider
from bridge.service.catalogue import named, rows
from bridge.service.key import caller_key
from bridge.service.settings import Settings, load

Options = Mapping[str, object]


def env(provider: str, client: str, shell: str, options: Options) -> int:
    """Print what points *client* at *provider*, for *shell* to evaluate.

    For the shell ``config`` it is a configuration file of the client instead.
    """
    settings = load(options)
    row = _row(settings, provider, client)
    bridge = called(settings, options)
    lines = _file(client, row, bridge) if shell == "config" else _lines(client, shell, row, bridge)
    print("\n".join(lines))
    return 0


def run(provider: str, words: list[str], options: Options) -> int:
    """Ensure daemon and credential, then become the command *words*, pointed at *provider*.

    Which client that is tells its name, or *options* as ``client``; for any other command the
    official SDKs are pointed there.
    """
    places = {name: value for name, value in options.items() if name != "client"}
    settings = load(places)
    client = str(options.get("client") or Path(words[0]).name)
    row = _row(settings, provider, client)
    from bridge.commands import account

    with contextlib.redirect_stdout(sys.stderr):  # standard output is the command's
        if code := account.up(row.name, places):
            return code
    bridge = called(settings, places)
    if client == "codex":
        words = [words[0], *codex.overrides(bridge.address, row), *words[1:]]
    made = _environment(client, row, bridge)
    key = caller_key(Path(bridge.key_file))
    return _become(_found(words[0]), words, made.applied(os.environ, key))


def _row(settings: Settings, provider: str, client: str) -> Provider:
    """Return the row of *provider*; raises ``UsageError`` where *client* cannot work with it."""
    row = named(rows(settings, {}), provider)
    refusals = {"claude": claude.refusal, "codex": codex.refusal, "opencode": opencode.refusal}
    if client in refusals and (reason := refusals[client](row)):
        raise UsageError(reason)
    return row


def _environment(client: str, row: Provider, bridge: Bridge) -> Environment:
    if client == "codex":
        return codex.environment()
    made = {"claude": claude.environment, "opencode": opencode.environment}
    return made.get(client, sdk.environment)(bridge.address, row, key_needed=bridge.key_needed)


def _lines(client: str, shell: str, row: Provider, bridge: Bridge) -> Iterable[str]:
    room = fish if shell == "fish" else sh
    yield from room.settle(_environment(client, row, bridge), bridge.key_file)
    if client == "codex":
        yield from room.wrapper("codex", codex.overrides(bridge.address, row))


def _file(client: str, row: Provider, bridge: Bridge) -> Iterable[str]:
    key_file = bridge.key_file if bridge.key_needed else ""
    if client == "codex":
        return [codex.profile(bridge.address, row, key_file)]
    made = claude.settings if client == "claude" else opencode.configuration
    return [json.dumps(made(bridge.address, row, key_file), indent=2)]


def _found(program: str) -> str:
    """Return where *program* is to be executed from: PATH, or where Claude Code installs itself."""
    local = Path.home() / ".claude/local/claude"
    if program == "claude" and not shutil.which(program) and os.access(local, os.X_OK):
        return str(local)
    return program


def _become(program: str, words: list[str], environment: Mapping[str, str]) -> NoReturn:
    # Python ignores these, and who is executed would inherit that.
    for name in ("SIGPIPE", "SIGXFZ", "SIGXFSZ"):
        if number := getattr(signal, name, None):
            signal.signal(number, signal.SIG_DFL)
    sys.stdout.flush()
    try:
        os.execvpe(program, words, environment)  # noqa: S606 - it is what we are asked for
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        reason = "there is no such command" if missing else str(error.strerror)
        failure = ServiceError(f"{words[0]}: {reason}: give its path, or install it")
        failure.exit_code = 127 if missing else 126
        raise failure from None
