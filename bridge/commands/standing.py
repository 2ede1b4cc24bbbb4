"""The verb that says how the service stands: what is installed, what runs, who has the port."""

from __future__ import annotations

import json
import os
import pwd
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from bridge import peer
from bridge.commands.ordering import managed, ordered
from bridge.commands.shell import executable
from bridge.config.schema import PORT
from bridge.errors import BridgeError
from bridge.service.pidfile import HELD, look
from bridge.service.probe import NOT_RUNNING, SERVING, Answer, probe
from bridge.service.settings import load, locate
from bridge.units.launchctl import Launchd
from bridge.units.state import State
from bridge.units.systemctl import Systemd

Options = Mapping[str, object]


def status(options: Options, *, as_json: bool) -> int:
    """Print how the service stands; 0 where it serves or waits for a first request."""
    manager = managed(os.environ)
    state = manager.state()
    answer, port = _asked(options)
    if as_json:
        print(json.dumps(_document(options, manager, state, answer, port), indent=2))
    else:
        document = _document(options, manager, state, answer, port)
        print("\n".join(f"{name:<10}{text}" for name, text in _told(document) if text))
    if not state.files:
        return NOT_RUNNING
    return SERVING if answer.idle else answer.code


def _asked(options: Options) -> tuple[Answer, int]:
    """Return what ``--check`` finds and on which port, even by a configuration gone wrong."""
    pid_file = locate(options).pid_file
    try:
        port = load(options).config.server.port
    except BridgeError:
        port = PORT.default
    kind, record = look(pid_file)
    return probe(pid_file, port), record.port if kind == HELD and record is not None else port


def _document(
    options: Options, manager: Systemd | Launchd, state: State, answer: Answer, port: int
) -> dict[str, object]:
    program = state.made.program if state.made else ""
    same = os.path.realpath(program) == os.path.realpath(executable(sys.argv[0]))
    return {
        "manager": manager.name,
        "installed": bool(state.files),
        "ours": state.made is not None,
        "units": list(state.files),
        "enabled": state.is_enabled,
        "active": state.active,
        "reason": state.reason,
        "pid": state.pid,
        "socket": state.socket,
        "program": program,
        "program_exists": bool(program) and os.access(program, os.X_OK),
        "this_installation": bool(program) and same,
        "current": _is_current(options, manager, state),
        "port": port,
        "holder": _holder(port),
        "idle": answer.idle,
        "code": answer.code,
        "check": answer.line,
    }


def _is_current(options: Options, manager: Systemd | Launchd, state: State) -> bool:
    """Return whether the units are what install would write now."""
    try:
        order = ordered(load(options), options)
        units = manager.units(order, socket=bool(state.socket))
        return all(Path(path).read_bytes() == units.get(Path(path).name) for path in state.files)
    except (BridgeError, OSError):
        return False


def _holder(port: int) -> str:
    """Say who listens on *port*, as far as the system tells; empty: nobody, or it does not."""
    owner = peer.listener("127.0.0.1", port)
    if owner is None:
        return ""
    try:
        user = pwd.getpwuid(owner.uid).pw_name
    except KeyError:
        user = str(owner.uid)
    process = peer.process_of(owner.inode)
    return f"{process[1]} (pid {process[0]}, user {user})" if process else f"user {user}"


def _told(document: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield the lines for people, each with its name."""
    if not document["installed"]:
        yield "service", "not installed: bridge service install"
    else:
        enabled = "enabled" if document["enabled"] else "not enabled: bridge service install"
        yield "service", f"{document['manager']}, {enabled}"
        for unit in _texts(document["units"]):
            yield "unit", unit
        yield "", "" if document["ours"] else "not written by bridge service install"
        yield "state", _state(document)
        yield "program", _program(document)
    yield "port", f"127.0.0.1:{document['port']}: {document['holder'] or 'nobody'}"
    yield "daemon", str(document["check"])


def _state(document: Mapping[str, object]) -> str:
    text = str(document["active"])
    if document["pid"]:
        text += f", pid {document['pid']}"
    if document["reason"]:
        text += f" ({document['reason']})"
    if document["socket"]:
        text += f"; socket {document['socket']}"
    return text


def _program(document: Mapping[str, object]) -> str:
    if not document["program"]:
        return ""
    text = str(document["program"])
    if not document["program_exists"]:
        return f"{text}: it is gone; bridge service install takes this one"
    if not document["this_installation"]:
        return f"{text}: another installation than this; bridge service install takes this one"
    if not document["current"]:
        return f"{text}; the unit is of another day: bridge service install renews it"
    return text


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []
