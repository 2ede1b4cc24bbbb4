"""The keys: defaults that a person could have written, and no two that share a place."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from bridge.config import schema
from bridge.config.schema import FIELDS, KEYS, SYNONYMS, Key, keys_of


@pytest.mark.parametrize("key", [*KEYS, *FIELDS], ids=lambda key: key.name)
def test_default(key: Key[object]) -> None:
    """Each default is a value that a person could have written, or says that there is none."""
    written: object = key.default
    if isinstance(written, Mapping):
        written = dict(written)
    if written in (None, "", ()) and key is not schema.SERVER_HOSTS:
        return
    written = list(written) if isinstance(written, tuple) else written
    assert key.kind.read(written) == key.default


def test_names() -> None:
    """No two keys share a place or an option."""
    options = [key.option for key in KEYS if key.option]
    assert len({key.path for key in KEYS}) == len(KEYS)
    assert len({key.path for key in FIELDS}) == len(FIELDS)
    assert len(set(options)) == len(options)


def test_the_keys_of_a_provider() -> None:
    """Every provider has the same keys under its own name, and no variable overrides them."""
    assert [key.name for key in keys_of("glm")] == [
        key.name.replace(".NAME.", ".glm.") for key in FIELDS
    ]
    assert not any(key.variables for key in keys_of("glm"))


def test_the_variables_of_kimi() -> None:
    """The variables of the official CLI override the places of Kimi, and nothing else."""
    assert {key.path[-1]: key.variables for key in keys_of("kimi") if key.variables} == {
        "oauth_host": ("KIMI_CODE_OAUTH_HOST", "KIMI_OAUTH_HOST"),
        "anthropic": ("KIMI_CODE_BASE_URL",),
        "openai": ("KIMI_CODE_BASE_URL",),
    }


def test_synonyms_lead_to_keys() -> None:
    """What another program calls a key is answered with one that there is."""
    names = {key.path[-1] for key in (*KEYS, *FIELDS)} | {"models"}
    for word, meant in SYNONYMS.items():
        assert word not in names
        assert set(meant.split(" or ")) <= names
