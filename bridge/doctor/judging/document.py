"""Holds the settings files of agents as they were read, and parses them without ever failing.

Pure. Of a file that is malformed only the line is told: what stands there may be a secret.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from shlex import quote
from typing import Any, Final

from bridge.doctor.finding import Finding, ok, warn

_LINE: Final = re.compile(r"line (\d+)")
#: A string, or a comment or dangling comma as OpenCode's JSON with comments has them.
_COMMENT: Final = re.compile(
    r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/|,(?=(?:\s|//[^\n]*|/\*.*?\*/)*[}\]])', re.DOTALL
)


class Malformed(ValueError):
    """A text is not in the language of its file; *line* counts from 1, and is 0 where unknown."""

    def __init__(self, line: int) -> None:
        super().__init__(f"line {line}")
        self.line = line


@dataclass(frozen=True, slots=True)
class File:
    """A settings file: its *text*, or ``None`` where there is none or it cannot be read.

    *problem* says why it cannot be read, in the words of the system.
    """

    path: str
    text: str | None = field(default=None, repr=False)
    problem: str = ""


def json_object(text: str) -> Mapping[str, Any]:
    """Return the JSON object in *text*; an empty text is an empty one. Raises ``Malformed``."""
    try:
        value = json.loads(text) if text.strip() else {}
    except json.JSONDecodeError as error:
        raise Malformed(error.lineno) from None
    except (RecursionError, ValueError):
        raise Malformed(0) from None
    if not isinstance(value, dict):
        raise Malformed(1)
    return value


def jsonc_object(text: str) -> Mapping[str, Any]:
    """Return what :func:`json_object` does, of a text with comments and dangling commas."""

    def blanked(match: re.Match[str]) -> str:
        # Line breaks stay, so that a mistake is told with its line.
        return match[1] or re.sub(r"[^\n]", " ", match[0])

    return json_object(_COMMENT.sub(blanked, text))


def toml_table(text: str) -> Mapping[str, Any]:
    """Return the TOML document in *text*. Raises ``Malformed``."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise Malformed(0) from None
    except ValueError as error:
        match = _LINE.search(str(error))
        raise Malformed(int(match[1]) if match else text.count("\n") + 1) from None


def table(value: object) -> Mapping[str, Any]:
    """Return *value* if it is a table, else an empty one."""
    return value if isinstance(value, dict) else {}


def judged(
    files: Iterable[File],
    agent: str,
    parse: Callable[[str], Mapping[str, Any]],
    judge: Callable[[Mapping[str, Any], str], Iterator[Finding]],
) -> Iterator[Finding]:
    """Yield what *judge* says of each document in *files* and its path, or why there is none.

    *agent* does not start with a file that *parse* finds malformed. Where files are there and
    nothing is to be said of them, that is said.
    """
    files = list(files)
    findings = [finding for file in files for finding in _judged(file, agent, parse, judge)]
    if findings or all(file.text is None for file in files):
        yield from findings
    else:
        yield ok(agent, "nothing in its configuration misses the bridge")


def _judged(
    file: File,
    agent: str,
    parse: Callable[[str], Mapping[str, Any]],
    judge: Callable[[Mapping[str, Any], str], Iterator[Finding]],
) -> Iterator[Finding]:
    if file.problem:
        yield unreadable(agent, file)
    if file.text is None:
        return
    try:
        document = parse(file.text)
    except Malformed as error:
        yield malformed(agent, file, error, consequence=f"{agent} does not start")
        return
    yield from judge(document, file.path)


def unreadable(subject: str, file: File) -> Finding:
    """Return the finding that *file* cannot be read."""
    text = f"{file.path} cannot be read ({file.problem})"
    return warn(subject, text, f"make it readable: ls -l {quote(file.path)}")


def malformed(subject: str, file: File, error: Malformed, *, consequence: str) -> Finding:
    """Return the finding that *file* is not in its language, with what the agent makes of that."""
    place = f"{file.path}, line {error.line}," if error.line else file.path
    return warn(subject, f"{place} is malformed: {consequence}", f"mend {file.path}")
