"""Answers ``bridge --check`` on the standard library alone: it runs before each agent's launch.

Its words are read by hand, because argparse alone costs more than the whole check; anything it
does not understand is left to argparse, which says what is wrong.
"""

from __future__ import annotations

import os
import sys

DEFAULT_PORT = 18462


class Question:
    """What a ``--check`` command line asks."""

    __slots__ = ("json", "pid_file", "port", "provider", "verbose")

    def __init__(self) -> None:
        port = os.environ.get("BRIDGE_PORT", "")
        self.port = int(port) if port.isdigit() else DEFAULT_PORT
        self.pid_file = ""
        self.provider: str | None = None
        self.verbose = False
        self.json = False


def understood(words: list[str]) -> Question | None:
    """Return what *words* ask, or ``None`` where that takes a real parser."""
    question = Question()
    rest = iter(words)
    for word in rest:
        if word in {"-v", "--verbose"}:
            question.verbose = True
        elif word == "--json":
            question.json = True
        elif word in {"--pid-file", "--port", "--config"}:
            if not _take(question, word, next(rest, "")):
                return None
        elif word != "--check":
            if word.startswith("-") or question.provider is not None:
                return None
            question.provider = word
    return question


def check(question: Question) -> int:
    """Say by exit code, and on request in words or JSON, whether the daemon serves."""
    from bridge.errors import ConfigError
    from bridge.location import pid_file
    from bridge.service.probe import probe

    try:
        path = question.pid_file or pid_file(os.environ)
    except ConfigError as error:
        print(f"bridge: {error}", file=sys.stderr)
        return error.exit_code
    answer = probe(path, question.port, provider=question.provider)
    if question.json and answer.document:
        sys.stdout.write(answer.document.decode("utf-8", "replace") + "\n")
    elif question.verbose or question.json:
        print(answer.line, file=sys.stderr if answer.code else sys.stdout)
    return answer.code


def _take(question: Question, option: str, value: str) -> bool:
    if option == "--pid-file":
        question.pid_file = value
    elif option == "--port":
        if not value.isdigit():
            return False
        question.port = int(value)
    return bool(value)
