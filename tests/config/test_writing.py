"""What is in force, written as a configuration file."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.config import Entry
from bridge.config.writing import lines, value
from tests.configured import FILE, configured

TEXT = """
[server]
hosts = ["box.lan"]
max_body = "3 MiB"
[providers.my-gateway]
openai = "https://h/v1"
key = [{ env = "A" }, { file = "~/\\u00e9" }]
models = { primary = "p\\"q" }
quirks = { no_images = true }
"""

PLAIN = st.text(st.characters(exclude_categories=["C"]))
VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**60), 2**60), st.floats(0, 1e6), PLAIN),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(PLAIN, inner)),
    max_leaves=8,
)


def test_what_is_written_means_the_same() -> None:
    """What is shown of a configuration without secrets is one that makes the same rows."""
    config = configured(TEXT)
    again = configured("\n".join(lines(config.entries)))
    assert dict(again.providers) == dict(config.providers)
    assert again.server == config.server


def test_lines() -> None:
    """Tables stand apart, each value with its origin, and what is not set as a comment."""
    entries = [
        Entry(("server", "port"), 5, "option --port"),
        Entry(("network", "proxy"), None, "default"),
        Entry(("providers", "a", "models", "fast"), "m", f"{FILE}:3"),
        Entry(("providers", "a", "context"), None, "default"),
    ]
    assert [line.split() for line in lines(entries)] == [
        ["[server]"],
        ["port", "=", "5", "#", "option", "--port"],
        [],
        ["[network]"],
        ["#", "proxy", "is", "not", "set"],
        [],
        ["[providers.a]"],
        ["models.fast", "=", '"m"', "#", f"{FILE}:3"],
    ]


@given(VALUES)
def test_any_value(shown: object) -> None:
    """Whatever the value, TOML reads back what was written."""
    assert tomllib.loads(f"k = {value(shown)}")["k"] == shown


@pytest.mark.parametrize("text", ["\x7f", "\t", "\u2028", '"\\'])
def test_odd_texts(text: str) -> None:
    """A text that no value should have is written so that it is one all the same."""
    assert tomllib.loads(f"k = {value(text)}")["k"] == text
