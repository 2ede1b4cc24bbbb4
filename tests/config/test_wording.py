"""How a mistake is worded."""

from __future__ import annotations

import datetime as dt

import pytest

from bridge.config.kinds import Mismatch
from bridge.config.schema import CLIENTS, KEYS, NETWORK_PROXY, keys_of
from bridge.config.wording import expectation, nearest, printable, quoted, table_wanted, unknown

PATHS = [key.path for key in (*KEYS, *keys_of("glm"))]


def test_expectation() -> None:
    """What was expected stands with what was found, unless that may be a secret."""
    said = expectation(CLIENTS, "Any", Mismatch())
    assert said == 'expected one of "same-user", "key", "any", not \'Any\' (did you mean any?)'
    assert expectation(CLIENTS, 1, Mismatch("so")).endswith("not 1 (so)")
    assert "hunter2" not in expectation(NETWORK_PROXY, "hunter2", Mismatch("so"))
    assert expectation(CLIENTS, 1, Mismatch(said="this is said")) == "this is said"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("server", "prot"), 1, "unknown key (did you mean port?)"),
        (("port",), 1, "unknown key (did you mean server.port?)"),
        (("auth",), 1, "unknown key (did you mean providers.NAME.auth?)"),
        (("glm",), {}, "unknown table (did you mean providers.glm?)"),
        (("providers", "glm", "url"), 1, "unknown key (did you mean anthropic or openai?)"),
        (("zzz",), {}, "unknown table (known: log, network, providers, server)"),
    ],
)
def test_unknown(path: tuple[str, ...], value: object, said: str) -> None:
    """The nearest right spelling is named, or all there are."""
    assert unknown(path, value, PATHS) == said


def test_table_wanted() -> None:
    """Where a table is wanted, both ways of writing one are shown."""
    assert table_wanted(("log",), "level") == "expected a table: write [log]"
    assert table_wanted(("providers",), "glm") == "expected a table: write [providers.NAME]"
    said = table_wanted(("providers", "glm", "models"), "primary")
    assert said == "expected a table: write [providers.glm.models] or models = { primary = … }"


def test_nearest() -> None:
    """A name that is like none is not guessed at."""
    assert nearest("kimmi", ["kimi", "glm"]) == " (did you mean kimi?)"
    assert nearest("llama", ["kimi", "glm"]) == ""


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (True, "true"),
        (1.5, "1.5"),
        (10**20, "a number that large"),
        ("x" * 50, repr("x" * 40)),
        ("\x1b[2J", "'\\x1b[2J'"),
        ([], "a list"),
        ({}, "a table"),
        (dt.date(1979, 5, 27), "a date or time"),
    ],
)
def test_quoted(value: object, words: str) -> None:
    """A value is quoted in TOML's words, short, and without what a terminal obeys."""
    assert quoted(value) == words


def test_printable() -> None:
    """What is not printable becomes a question mark."""
    assert printable("a\x1bb\u200bc") == "a?b?c"
