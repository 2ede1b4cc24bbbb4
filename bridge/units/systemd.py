"""Writes systemd's user units of the daemon, and reads what a unit of ours says of itself.

Pure. Paths are quoted by systemd's own rules (systemd.syntax(7)), ``%`` included; the few that it
cannot be told at all are refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from bridge.errors import ServiceError
from bridge.units.order import Made, Order
from bridge.units.template import filled

#: What the first line of a unit of ours begins with; the rest of it is JSON.
MARK: Final = "# Written by: bridge service install "


def service(template: str, order: Order) -> str:
    """Return the service unit for *order*. Raises ``ServiceError`` for what systemd cannot take."""
    gaps = {
        "BRIDGE": program(order.program),
        "ENVIRONMENT": "\n".join(environment(order.environment)),
        "WRITES": " ".join(quoted(f"-{folder}") for folder in order.writes),
    }
    confined = {"FILES": order.confines_files, "CALLS": order.confines_calls}
    blocks = {name for name, is_wanted in confined.items() if is_wanted}
    return _marked(filled(template, gaps, blocks), order)


def socket(template: str, order: Order) -> str:
    """Return the socket unit for *order*."""
    text = filled(template, {"PORT": str(order.port)})
    if not order.ipv6:
        text = "".join(line for line in text.splitlines(keepends=True) if "[::1]" not in line)
    return _marked(text, order)


def made(text: str) -> Made | None:
    """Return what the unit *text* says of itself, ``None`` if it is not of ours."""
    first, _, _ = text.partition("\n")
    if not first.startswith(MARK):
        return None
    try:
        said = json.loads(first.removeprefix(MARK))
        return Made(str(said["program"]), str(said["version"]))
    except (ValueError, TypeError, KeyError):  # somebody has edited the line
        return Made("", "")


def environment(variables: Mapping[str, str]) -> list[str]:
    """Return the lines that set *variables*."""
    return [f"Environment={quoted(f'{name}={value}')}" for name, value in variables.items()]


def program(path: str) -> str:
    """Return *path* as the first word of ``ExecStart=``, of which systemd takes less."""
    if any(character in path for character in "\"'\\"):
        raise ServiceError(
            f"systemd starts no program with a quote or a backslash in its path ({path}): "
            "install bridge elsewhere"
        )
    return quoted(path)


def quoted(word: str) -> str:
    """Return *word* as one word of a setting that knows specifiers (``%h``) but no variables."""
    if not word.isprintable():  # control characters, and bytes that are not UTF-8
        raise ServiceError(
            f"systemd cannot be told of {word!r}, which is no plain text: choose another name"
        )
    escaped = word.replace("\\", r"\\").replace('"', r"\"").replace("%", "%%")
    return f'"{escaped}"'


def _marked(text: str, order: Order) -> str:
    said = json.dumps({"program": order.program, "version": order.version})
    return (
        f"{MARK}{said}\n"
        "# Changes of your own belong into: systemctl --user edit bridge.service\n\n"
        f"{text.lstrip()}"
    )
