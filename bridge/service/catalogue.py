"""Makes the rows that are in force: the built-in catalogue as the settings change it."""

from __future__ import annotations

from collections.abc import Mapping

from bridge.providers import Provider, kimi, with_headers
from bridge.service.settings import Settings


def kimi_row(settings: Settings, device_headers: Mapping[str, str]) -> Provider:
    """Return the row of Kimi as environment, configuration and *device_headers* make it.

    Raises ``ConfigError`` where it would send the credential to no place for one.
    """
    chosen = settings.config.kimi
    row = kimi(settings.environment, device_headers, region=chosen.region, models=chosen.models)
    return with_headers(row, chosen.headers)
