"""What each key accepts."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.config.schema import KEYS, MAX_BODY, Key, Mismatch

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
)


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_default(key: Key[object]) -> None:
    """Each default is a value that a person could have written, or says that there is none."""
    written: object = key.default
    if isinstance(written, tuple):
        written = list(written)
    elif isinstance(written, Mapping):
        written = dict(written)
    assert written is None or key.kind.read(written) == key.default


def test_names() -> None:
    """No two keys share a place or an option."""
    options = [key.option for key in KEYS if key.option]
    assert len({key.path for key in KEYS}) == len(KEYS)
    assert len(set(options)) == len(options)


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
    assert MAX_BODY.kind.read(written) == size


@pytest.mark.parametrize(
    "written", [0, -1, True, 1.5, "", "MiB", "1 PiB", "1  MB", "1e3", "1,5 MB"]
)
def test_no_size(written: object) -> None:
    """What is no size for certain is not guessed at."""
    with pytest.raises(Mismatch):
        MAX_BODY.kind.read(written)


@given(st.sampled_from(KEYS), VALUES)
def test_any_value(key: Key[object], value: object) -> None:
    """Whatever the value, a kind returns one of its own or says that it is none."""
    try:
        read = key.kind.read(value)
    except Mismatch:
        read = None
    assert read is None or isinstance(read, type(key.default)) or key.default is None
