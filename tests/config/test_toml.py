"""Where each key of a TOML text stands."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.config.toml import KeyPath, TomlError, read

TEXT = '''\
# a comment with [brackets] = and "quotes"
top = 1
[server]  # [not.this]
port = 18462
"quoted \\u0041" = "]"
a.b . 'c d' = { x = [1, { y = 2 }, "}"], "z" = { w = 3 } }
list = [
  1979-05-27 07:32:00,  # = {
  "[", ']',
]
long = """
port = 9
"quote" \\""" ""\\
""""
raw = \'\'\'
[no.table]
\'\'\'\'
last = 1.5

[ providers . "kimi" ]
region = 'cn'
[[many]]
one = 1
[[many]]
two = 2
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("server",), 3),
        (("server", "port"), 4),
        (("server", "quoted A"), 5),
        (("server", "a", "b", "c d"), 6),
        (("server", "a", "b", "c d", "x"), 6),
        (("server", "a", "b", "c d", "z", "w"), 6),
        (("server", "list"), 7),
        (("server", "long"), 11),
        (("server", "raw"), 15),
        (("server", "last"), 18),
        (("providers",), 20),
        (("providers", "kimi", "region"), 21),
        (("many",), 22),
    ],
)
def test_line_of_a_key(path: KeyPath, line: int) -> None:
    """Each way to write a key is found on its line, whatever stands in values and comments."""
    assert read(TEXT).line(path) == line


def test_line_of_a_key_that_is_not_there() -> None:
    """A key that nobody wrote is placed at the nearest table around it, or at the first line."""
    document = read(TEXT)
    assert document.line(("server", "host")) == 3
    assert document.line(("log", "level")) == 1


def test_crlf() -> None:
    """Line ends of another system count once."""
    assert read("a = 1\r\n[b]\r\nc = 2\r\n").line(("b", "c")) == 3


@pytest.mark.parametrize(
    ("text", "line"),
    [("a = 1\nb", 2), ("a = 1\n\nb = [1,\n", 3), ("x = 1\nx = 2\n", 2), ("a = '", 1), ("=", 1)],
)
def test_line_of_a_syntax_error(text: str, line: int) -> None:
    """Text that is no TOML is refused with a line that exists."""
    with pytest.raises(TomlError) as caught:
        read(text)
    assert caught.value.line == line


KEYS = st.one_of(st.sampled_from(["a", "b-c", "1", "'x y'", '"q\\"t"', '"]"']))
DOTTED = st.lists(KEYS, min_size=1, max_size=3).map(".".join)
SCALARS = st.sampled_from(["1", "-2.5", '"#"', "'[='", "true", "1979-05-27 07:32:00", '"""\n{"""'])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(st.tuples(KEYS, inner), max_size=3).map(
            lambda pairs: "{" + ", ".join(f"{key} = {value}" for key, value in pairs) + "}"
        ),
    ),
    max_leaves=6,
)
LINES = st.one_of(
    st.tuples(DOTTED, VALUES).map(lambda pair: f"{pair[0]} = {pair[1]}"),
    DOTTED.map(lambda key: f"[{key}]"),
    DOTTED.map(lambda key: f"[[{key}]]  # [[="),
    st.just("# {comment"),
)


def keys(table: Mapping[str, Any], path: KeyPath = ()) -> Iterator[KeyPath]:
    """Yield the path of every key outside of arrays."""
    for name, value in table.items():
        yield (*path, name)
        if isinstance(value, dict):
            yield from keys(value, (*path, name))


@given(st.lists(LINES, max_size=8).map("\n".join))
def test_every_key_has_a_line(text: str) -> None:
    """Every key of every valid text has a line within the text, and that line names it."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        with pytest.raises(TomlError):
            read(text)
        return
    document = read(text)
    assert document.values == values
    lines = text.split("\n")
    for path in keys(values):
        assert path in document.lines
        assert path[-1][0] in lines[document.lines[path] - 1]
