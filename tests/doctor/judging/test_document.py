"""Settings files of agents are parsed as the agents do, and never with a crash or a quotation."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.doctor.judging.document import (
    File,
    Malformed,
    json_object,
    jsonc_object,
    malformed,
    table,
    toml_table,
    unreadable,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), JSON))
def test_json_is_json_with_comments_too(document: dict[str, object]) -> None:
    """What is plain JSON means the same to both, whatever its strings hold."""
    text = json.dumps(document, indent=1, ensure_ascii=False)
    assert jsonc_object(text) == json_object(text) == document


def test_comments_and_commas() -> None:
    """Comments and dangling commas go, and what looks like them inside a string stays."""
    text = """// first
    { /* in
      between */ "url": "http://x//y", // behind
      "list": [1, 2, /* last */ ], "text": "a, ] // /* no */",
    }"""
    assert jsonc_object(text) == {
        "url": "http://x//y",
        "list": [1, 2],
        "text": "a, ] // /* no */",
    }


@pytest.mark.parametrize(
    ("text", "line"), [("{\n}\nx", 3), ("[]", 1), ('"text"', 1), ("{\n'a': 1}", 2)]
)
def test_malformed_json(text: str, line: int) -> None:
    """What is no JSON object is told with its line."""
    for read in (json_object, jsonc_object):
        with pytest.raises(Malformed) as caught:
            read(text)
        assert caught.value.line == line


def test_a_line_is_counted_with_comments() -> None:
    """A comment of several lines does not move the line that is told."""
    with pytest.raises(Malformed) as caught:
        jsonc_object("/* one\ntwo */\n{ x")
    assert caught.value.line == 3


def test_depth_is_no_crash() -> None:
    """A file that is nested beyond reason is malformed, in any language."""
    for read, text in ((json_object, "[" * 100_000), (toml_table, "a = " + "[" * 100_000)):
        with pytest.raises(Malformed):
            read(text)


def test_an_empty_file() -> None:
    """An empty file says nothing and is no mistake."""
    assert json_object(" \n") == {}
    assert toml_table("") == {}


@pytest.mark.parametrize(("text", "line"), [("a = 1\nb = \n", 2), ("a = 1\na = 2\n", 2), ("[a", 1)])
def test_malformed_toml(text: str, line: int) -> None:
    """What is no TOML is told with its line."""
    with pytest.raises(Malformed) as caught:
        toml_table(text)
    assert caught.value.line == line


@given(st.text())
def test_no_text_is_a_crash(text: str) -> None:
    """Whatever stands in a file, it is a table or malformed."""
    for read in (json_object, jsonc_object, toml_table):
        with contextlib.suppress(Malformed):
            assert isinstance(read(text), dict)


def test_findings_show_no_content() -> None:
    """What is told of a file is its path, and a line where one is known."""
    file = File("/x y.json", "sk-SECRET", "Permission denied")
    assert "sk-SECRET" not in repr(file)
    finding = malformed("OpenCode", file, Malformed(3), consequence="it does not start")
    assert finding.text == "/x y.json, line 3, is malformed: it does not start"
    assert malformed("x", file, Malformed(0), consequence="c").text.startswith("/x y.json is")
    finding = unreadable("OpenCode", file)
    assert finding.text == "/x y.json cannot be read (Permission denied)"
    assert "'/x y.json'" in finding.mend


def test_table() -> None:
    """What is no table counts as an empty one."""
    assert table([1]) == {}
    assert table({"a": 1}) == {"a": 1}
