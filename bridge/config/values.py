"""Holds the configuration as values, and makes them in one step from everything that has a say.

The rest of the program knows only these values; where one came from matters to people alone and
stands in ``origins``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from bridge import location
from bridge.config import schema, toml
from bridge.config.reading import Reading, unknown_variables
from bridge.errors import ConfigError
from bridge.providers import Models


@dataclass(frozen=True, slots=True)
class Server:
    """The front door: *clients* is ``None`` where the start decides by what the kernel can tell.

    *hosts* are names besides loopback, with or without a port; sizes are in bytes.
    """

    port: int
    clients: str | None
    default_provider: str
    drain_seconds: float
    idle_seconds: float
    max_body: int
    body_budget: int
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Network:
    """The way out: a *proxy*, whose URL may hold a password, and a file of more authorities."""

    proxy: str | None = field(repr=False)
    ca_file: str | None


@dataclass(frozen=True, slots=True)
class KimiSettings:
    """What the configuration changes of Kimi: *region* is ``cn`` or ``global``.

    *headers* are added to each request; an empty value removes a header instead. They may be
    secrets.
    """

    region: str
    models: Models
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Config:
    """All settings in force, with the place that each came from.

    *origins* maps a key to ``default``, ``FILE:LINE``, ``env NAME`` or ``option --NAME``;
    *warnings* are for the log: nothing in them stops a start.
    """

    server: Server
    log_level: str
    network: Network
    kimi: KimiSettings
    origins: Mapping[str, str]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Paths:
    """Where the files are; every path is absolute."""

    config: str
    key: str
    log: str
    pid_file: str
    kimi_share: str


def paths(environment: Mapping[str, str]) -> Paths:
    """Return where the files are for *environment*; raises ``ConfigError`` without a ``HOME``."""
    return Paths(
        config=location.config_file(environment),
        key=location.key_file(environment),
        log=location.log_file(environment),
        pid_file=location.pid_file(environment),
        kimi_share=location.kimi_share(environment),
    )


def parse(
    text: str, *, file: str, environment: Mapping[str, str], options: Mapping[str, object]
) -> Config:
    """Return the configuration that *text*, *environment* and *options* make.

    An option wins over the environment, the environment over the text, the text over the default.
    *file* is how messages name the text. Of the options those count that are named like the
    option of a key and are not ``None``. Raises ``ConfigError`` with one line for each mistake,
    so that mending them all takes one round.
    """
    try:
        document = toml.read(text)
    except toml.TomlError as error:
        raise ConfigError(f"{file}:{error.line}: {error}") from None
    reading = Reading(document, file, environment, options)
    config = Config(
        server=_server(reading),
        log_level=reading.value(schema.LOG_LEVEL),
        network=Network(
            proxy=reading.value(schema.PROXY),
            ca_file=location.expanded(reading.value(schema.CA_FILE) or "", environment) or None,
        ),
        kimi=KimiSettings(
            region=reading.value(schema.KIMI_REGION),
            models=Models(reading.value(schema.KIMI_PRIMARY), reading.value(schema.KIMI_FAST)),
            headers=reading.value(schema.KIMI_HEADERS),
        ),
        origins=MappingProxyType(reading.origins),
        warnings=tuple(unknown_variables(environment)),
    )
    reading.close()
    return config


def _server(reading: Reading) -> Server:
    server = Server(
        port=reading.value(schema.PORT),
        clients=reading.value(schema.CLIENTS),
        default_provider=reading.value(schema.DEFAULT_PROVIDER),
        drain_seconds=reading.value(schema.DRAIN),
        idle_seconds=reading.value(schema.IDLE),
        max_body=reading.value(schema.MAX_BODY),
        body_budget=reading.value(schema.BODY_BUDGET),
        hosts=reading.value(schema.HOSTS),
    )
    if server.body_budget < server.max_body:
        reading.clash(
            schema.BODY_BUDGET,
            schema.MAX_BODY,
            f"server.body_budget ({server.body_budget}) is less than server.max_body "
            f"({server.max_body}): raise the one or lower the other",
        )
    return server
