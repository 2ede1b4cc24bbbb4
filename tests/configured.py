"""A configuration as a person would have it: no file, no environment of the tester's."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from bridge.config import Config, parse
from bridge.errors import ConfigError
from bridge.providers import Provider
from bridge.service.settings import catalogue

FILE = "~/.config/bridge/config.toml"
NOTHING: Mapping[str, str] = {}


def configured(
    text: str = "",
    environment: Mapping[str, str] = NOTHING,
    options: Mapping[str, object] = NOTHING,
) -> Config:
    """Return what *text* makes of the built-in catalogue for a person whose home is /home/ada."""
    return parse(
        text,
        file=FILE,
        environment={"HOME": "/home/ada", **environment},
        options=options,
        catalogue=catalogue(),
    )


def row(name: str, text: str = "", environment: Mapping[str, str] = NOTHING) -> Provider:
    """Return the row of the provider *name* that *text* makes of the built-in catalogue."""
    return configured(text, environment).providers[name]


def complaint(
    text: str,
    environment: Mapping[str, str] = NOTHING,
    options: Mapping[str, object] = NOTHING,
) -> str:
    """Return what is said of *text*, which must be wrong."""
    with pytest.raises(ConfigError) as caught:
        configured(text, environment, options)
    return str(caught.value)
