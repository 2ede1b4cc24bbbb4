"""Looks who stands at the port, what the PID file says, and what the daemon was started with."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bridge import __version__, peer
from bridge.doctor.judging.door import Door, Listener
from bridge.doctor.looking.files import user
from bridge.service import pidfile
from bridge.service.listen import LOOPBACK, PREDECESSOR
from bridge.service.probe import probe


def door(port: int, pid_file: str, home: str) -> Door:
    """Return how the *port* and the *pid_file* of this user stand."""
    kind, record = pidfile.look(pid_file)
    answer = probe(pid_file, port)
    # To ask at the port of an idle socket unit would start the daemon.
    addresses = [] if answer.idle else [address for address in LOOPBACK if _exists(address)]
    return Door(
        port=port,
        listeners=tuple(_listener(address, port, home) for address in addresses),
        pid_file=pid_file,
        kind=kind,
        record=record,
        code=answer.code,
        line=answer.line,
        health=_document(answer.document),
        version=__version__,
        idle=answer.idle,
    )


def set_variables(door: Door, names: frozenset[str]) -> frozenset[str] | None:
    """Return which of *names* the daemon was started with; ``None`` where that cannot be told.

    Only names leave this function: the values of the others are not even looked at.
    """
    record = door.record
    if door.kind != pidfile.HELD or record is None or not record.alive():
        return None
    try:
        content = Path(f"/proc/{record.pid}/environ").read_bytes()
    except OSError:  # not on this system, or not for us
        return None
    if not record.alive():  # the number may have changed hands just before it was read
        return None
    return _set(content, names)


def _set(content: bytes, names: frozenset[str]) -> frozenset[str]:
    pairs = (entry.partition(b"=") for entry in content.split(b"\0"))
    found = {name.decode("utf-8", "replace") for name, _, value in pairs if value.strip()}
    return names & found


def _exists(address: str) -> bool:
    """Say whether this machine has *address*."""
    if ":" not in address:
        return True
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as trial:
        trial.bind((address, 0))
        return True
    return False


def _listener(address: str, port: int, home: str) -> Listener:
    owner = peer.listener(address, port)
    if owner is None and not _accepts(address, port):
        return Listener(address, listens=False)
    process = peer.process_of(owner.inode) if owner else None
    return Listener(
        address=address,
        listens=True,
        process=process,
        user=user(owner.uid) if owner else "",
        old=_is_old(process, home),
    )


def _accepts(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as trial:
        trial.settimeout(1.0)
        try:
            trial.connect((address, port))
        except TimeoutError:
            return True  # its queue is full: somebody is there
        except OSError:
            return False
        return True


def _is_old(process: tuple[int, str] | None, home: str) -> bool:
    """Say whether *process* is the program that bridge replaces: a script, so its words tell."""
    if process is not None:
        words = _words(process[0])
        return process[1] == PREDECESSOR or any(
            word.rpartition("/")[2] == PREDECESSOR for word in words
        )
    with contextlib.suppress(OSError, ValueError):
        os.kill(int((Path(home) / f".local/run/{PREDECESSOR}.pid").read_text()), 0)
        return True
    return False


def _words(pid: int) -> list[str]:
    try:
        content = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return [word.decode("utf-8", "replace") for word in content.split(b"\0")[:3]]


def _document(content: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(content) if content else {}
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
