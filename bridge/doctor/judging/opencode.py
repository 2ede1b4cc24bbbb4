"""Judges OpenCode's configuration: provider blocks that miss the bridge, or cannot start.

Pure. Observed with OpenCode 1.18: of a provider with both ``apiKey`` and ``authToken`` it says
"Failed to initialize provider".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from bridge.doctor.finding import Finding, fail, warn
from bridge.doctor.judging.address import Leads, target
from bridge.doctor.judging.document import File, jsonc_object, judged, table
from bridge.doctor.judging.shell import served
from bridge.providers import Provider

SUBJECT: Final = "OpenCode"


def judge(files: list[File], port: int, rows: Mapping[str, Provider]) -> Iterator[Finding]:
    """Yield what is to be said of OpenCode's configuration *files*, for a bridge on *port*."""

    def each(document: Mapping[str, Any], path: str) -> Iterator[Finding]:
        for name, block in table(document.get("provider")).items():
            yield from _block(name, table(table(block).get("options")), path, port, rows)

    return judged(files, SUBJECT, jsonc_object, each)


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
