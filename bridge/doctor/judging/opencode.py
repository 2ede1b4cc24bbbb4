"""Judges OpenCode's configuration: provider blocks that miss the bridge, or cannot start.

Pure. Observed with OpenCode 1.18: of a provider with both ``apiKey`` and ``authToken`` it says
"Failed to initialize provider".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from bridge.doctor.finding import Finding, fail, ok, warn
from bridge.doctor.judging.address import Leads, target
from bridge.doctor.judging.document import (
    File,
    Malformed,
    jsonc_object,
    malformed,
    table,
    unreadable,
)
from bridge.doctor.judging.shell import served
from bridge.providers import Provider

SUBJECT: Final = "OpenCode"


def judge(files: list[File], port: int, rows: Mapping[str, Provider]) -> Iterator[Finding]:
    """Yield what is to be said of OpenCode's configuration *files*, for a bridge on *port*."""
    findings = [finding for file in files for finding in _file(file, port, rows)]
    if findings or not any(file.text is not None for file in files):
        yield from findings
    else:
        yield ok(SUBJECT, "nothing in its configuration misses the bridge")


def _file(file: File, port: int, rows: Mapping[str, Provider]) -> Iterator[Finding]:
    if file.problem:
        yield unreadable(SUBJECT, file)
    if file.text is None:
        return
    try:
        document = jsonc_object(file.text)
    except Malformed as error:
        yield malformed(SUBJECT, file, error, consequence="OpenCode does not start")
        return
    for name, block in table(document.get("provider")).items():
        options = table(table(block).get("options"))
        yield from _block(name, options, file.path, port, rows)


def _block(
    name: str, options: Mapping[str, Any], path: str, port: int, rows: Mapping[str, Provider]
) -> Iterator[Finding]:
    key = f"provider.{name}.options"
    where = target(options.get("baseURL"), port)
    meant = {each for row in rows.values() for each in (row.name, *row.aliases)}
    if where.leads is Leads.NEXT_DOOR and (where.segment in meant or name.startswith("bridge")):
        text = f"{path}: {key}.baseURL leads to {where.shown}, and the bridge listens on {port}"
        yield fail(SUBJECT, text, f"write port {port} into {key}.baseURL")
    elif where.leads is Leads.HERE:
        if not served(where.segment, rows):
            text = f"{path}: {key}.baseURL leads to a provider that the bridge does not have"
            yield fail(SUBJECT, text, f"end it with one of: /{'/v1, /'.join(rows)}/v1")
        if options.get("apiKey") and options.get("authToken"):
            text = f"{path}: {key} has apiKey and authToken: OpenCode refuses such a provider"
            yield warn(SUBJECT, text, f"remove {key}.apiKey")
