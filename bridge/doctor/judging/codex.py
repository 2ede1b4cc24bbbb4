"""Judges Codex's configuration: provider blocks that miss the bridge, or cannot work.

Pure. Observed with Codex 0.169: it reads ``config.toml`` and ``NAME.config.toml`` of its own
folder and takes no provider from a project's; it does not start at all with a malformed file or
with ``wire_api = "chat"``; and it tries WebSockets before each turn where it is told that they are
there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from bridge.doctor.finding import Finding, fail, warn
from bridge.doctor.judging.address import Leads, Target, target
from bridge.doctor.judging.document import File, judged, table, toml_table
from bridge.doctor.judging.shell import served
from bridge.providers import Provider

SUBJECT: Final = "Codex"


def judge(files: list[File], port: int, rows: Mapping[str, Provider]) -> Iterator[Finding]:
    """Yield what is to be said of Codex's configuration *files*, for a bridge on *port*."""

    def each(document: Mapping[str, Any], path: str) -> Iterator[Finding]:
        yield from _openai(document, path, port)
        for name, block in table(document.get("model_providers")).items():
            yield from _block(name, table(block), path, port, rows)

    return judged(files, SUBJECT, toml_table, each)


def _openai(document: Mapping[str, Any], path: str, port: int) -> Iterator[Finding]:
    if "openai_base_url" not in document:
        return
    where = target(document["openai_base_url"], port)
    if where.leads is Leads.HERE:
        text = (
            f"{path}: openai_base_url leads to the bridge, and Codex tries WebSockets there first"
        )
        yield warn(
            SUBJECT, text, "remove it and use a provider block: bridge env NAME --client codex"
        )
    else:
        text = f"{path}: openai_base_url leads Codex's own provider to {where.shown}"
        yield warn(SUBJECT, text, "remove openai_base_url, unless it is meant to go there")


def _block(
    name: str, block: Mapping[str, Any], path: str, port: int, rows: Mapping[str, Provider]
) -> Iterator[Finding]:
    key = f"model_providers.{name}"
    if block.get("wire_api") == "chat":
        text = f'{path}: {key} has wire_api = "chat": Codex does not start'
        yield warn(SUBJECT, text, f'write wire_api = "responses", or remove {key}')
    where = target(block.get("base_url"), port)
    if _missed(name, where, rows):
        text = f"{path}: {key} leads to {where.shown}, and the bridge listens on port {port}"
        yield fail(SUBJECT, text, f"write port {port} into base_url of {key}")
    elif where.leads is Leads.HERE:
        yield from _ours(key, block, where, path, rows)


def _ours(
    key: str, block: Mapping[str, Any], where: Target, path: str, rows: Mapping[str, Provider]
) -> Iterator[Finding]:
    if not served(where.segment, rows):
        text = f"{path}: {key} leads to a provider that the bridge does not have"
        yield fail(SUBJECT, text, f"end base_url of {key} with one of: /{'/v1, /'.join(rows)}/v1")
    elif not _has_responses(where.segment, rows):
        text = f"{path}: {key} leads to {where.segment}, which has no Responses API: no turn works"
        yield fail(SUBJECT, text, "choose one that has: bridge providers")
    if block.get("supports_websockets") is True:
        text = f"{path}: {key} has supports_websockets: Codex tries them before each turn"
        yield warn(SUBJECT, text, f"remove supports_websockets from {key}")


def _has_responses(segment: str, rows: Mapping[str, Provider]) -> bool:
    named = (row for row in rows.values() if segment in {row.name, *row.aliases})
    return all(row.responses for row in named)


def _missed(name: str, where: Target, rows: Mapping[str, Provider]) -> bool:
    """Say whether a block that is meant for the bridge leads to another port of this machine."""
    if where.leads is not Leads.NEXT_DOOR:
        return False
    meant = {each for row in rows.values() for each in (row.name, *row.aliases)}
    return where.segment in meant or name in meant or name.startswith("bridge")
