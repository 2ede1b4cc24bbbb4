"""What single values are accepted as."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.config.kinds import (
    FILE,
    FLAG,
    HOSTS,
    OWN_PROXY,
    PROXY,
    SIZE,
    Kind,
    Mismatch,
    choice,
    text,
    whole,
)
from bridge.config.kinds import seconds as seconds_from
from bridge.config.schema import FIELDS, KEYS, Key

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
)


@pytest.mark.parametrize(
    ("kind", "written", "value"),
    [
        (whole(1, 3), 3, 3),
        (seconds_from(0, 9), 2, 2.0),
        (choice("a", "b"), "b", "b"),
        (text("a name"), "x y", "x y"),
        (FLAG, False, False),
        (FILE, "~/a", "~/a"),
        (PROXY, "http://u:p@h:1", "http://u:p@h:1"),
        (OWN_PROXY, "", ""),
        (HOSTS, ["Box", "[::1]:5"], ("box", "[::1]:5")),
    ],
)
def test_what_is_taken(kind: Kind[object], written: object, value: object) -> None:
    """A value of its kind is taken, in the form that the program uses."""
    assert kind.read(written) == value


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        (whole(1, 3), True),
        (whole(1, 3), 2.0),
        (seconds_from(0, 9), "2"),
        (seconds_from(0, 9), float("nan")),
        (choice("a", "b"), "A"),
        (text("a name"), "x\n"),
        (text("a name"), " x"),
        (FLAG, 1),
        (FILE, "a"),
        (FILE, "/a\0"),
        (PROXY, ""),
        (PROXY, "http://"),
        (PROXY, "http://h:1\r\nX-Injected: 1"),
        (OWN_PROXY, "h:1"),
        (HOSTS, "box"),
    ],
)
def test_what_is_not_taken(kind: Kind[object], written: object) -> None:
    """What is almost of a kind is none of it."""
    with pytest.raises(Mismatch):
        kind.read(written)


@pytest.mark.parametrize(
    ("written", "size"),
    [
        (1, 1),
        ("1", 1),
        ("2 b", 2),
        ("1kB", 1000),
        ("3 MB", 3_000_000),
        ("1 GB", 1_000_000_000),
        ("1 KiB", 1024),
        ("64MiB", 64 << 20),
        ("1 gib", 1 << 30),
    ],
)
def test_size(written: object, size: int) -> None:
    """A size is a number of bytes, or has a unit of which the spelling does not matter."""
    assert SIZE.read(written) == size


@pytest.mark.parametrize(
    "written", [0, -1, True, 1.5, "", "MiB", "1 PiB", "1  MB", "1e3", "1,5 MB"]
)
def test_no_size(written: object) -> None:
    """What is no size for certain is not guessed at."""
    with pytest.raises(Mismatch):
        SIZE.read(written)


@given(st.integers(1, 1024**5))
def test_a_size_is_shown_as_one(size: int) -> None:
    """What is shown of a size means the very same size."""
    assert SIZE.read(SIZE.show(size)) == size


@pytest.mark.parametrize(
    ("proxy", "shown"),
    [
        ("http://h:1", "http://h:1"),
        ("http://u:p@h:1", "http://***@h:1"),
        ("http://u@x:p@h:1/", "http://***@h:1"),
        ("", ""),
        (None, None),
    ],
)
def test_a_proxy_is_shown_without_its_password(proxy: str | None, shown: str | None) -> None:
    """Of who we are to a proxy nothing is shown."""
    assert OWN_PROXY.show(proxy) == shown


@given(st.sampled_from((*KEYS, *FIELDS)), VALUES)
def test_any_value(key: Key[object], value: object) -> None:
    """Whatever the value, a kind returns one of its own, which it can show, or says it is none."""
    try:
        read = key.kind.read(value)
    except Mismatch:
        return
    assert isinstance(read, type(key.default)) or key.default is None
    assert key.kind.show(read) is not None
    assert isinstance(key.kind.remark(value), str)
