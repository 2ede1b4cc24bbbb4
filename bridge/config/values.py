"""Holds the configuration as values, and makes them in one step from everything that has a say.

The rest of the program knows only these values; where one came from matters to people alone and
stands in ``entries``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bridge import location
from bridge.config import schema, toml
from bridge.config.reading import BUILT_IN, Entry, Reading, unknown_variables
from bridge.config.rows import default_row, read_rows
from bridge.errors import ConfigError
from bridge.providers import Provider


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
class Config:
    """All settings in force, with the place that each came from.

    *providers* are the rows by name, those of the catalogue first; Kimi's lack the headers of this
    device. The origin of an *entry* is ``default``, ``built-in``, ``FILE:LINE``, ``env NAME``,
    ``option --NAME`` or ``region NAME``. *warnings* are for the log: nothing in them stops a
    start.
    """

    server: Server
    log_level: str
    network: Network
    providers: Mapping[str, Provider]
    entries: tuple[Entry, ...]
    warnings: tuple[str, ...]

    @property
    def origins(self) -> Mapping[str, str]:
        """The origin of each value by its key, as in ``server.port``."""
        return {".".join(entry.path): entry.origin for entry in self.entries}


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
    text: str,
    *,
    file: str,
    environment: Mapping[str, str],
    options: Mapping[str, object],
    catalogue: str,
) -> Config:
    """Return the configuration that *text*, *environment* and *options* make of *catalogue*.

    An option wins over the environment, the environment over the text, the text over the catalogue
    and the default. *file* is how messages name the text. Of the options those count that are named
    like the option of a key and are not ``None``. Raises ``ConfigError`` with one line for each
    mistake, so that mending them all takes one round.
    """
    try:
        document = toml.read(text)
    except toml.TomlError as error:
        raise ConfigError(f"{file}:{error.line}: {error}") from None
    beneath = toml.read(catalogue).values
    built_in = tuple(beneath.get("providers", {}))
    tables = document.values.get("providers")
    tables = tables if isinstance(tables, dict) else {}
    names = dict.fromkeys((*built_in, *tables))
    keys = [*schema.KEYS, *(key for name in names for key in schema.keys_of(name))]
    reading = Reading(document, file, environment, options, keys)
    reading.lay_beneath(beneath, BUILT_IN)
    added = [name for name in tables if name not in built_in and isinstance(tables[name], dict)]
    config = _config(reading, built_in, added, environment)
    reading.close()
    return config


def _config(
    reading: Reading,
    built_in: tuple[str, ...],
    added: list[str],
    environment: Mapping[str, str],
) -> Config:
    server = _server(reading)
    network = Network(
        proxy=reading.value(schema.NETWORK_PROXY),
        ca_file=location.expanded(reading.value(schema.NETWORK_CA_FILE) or "", environment) or None,
    )
    log_level = reading.value(schema.LOG_LEVEL)
    providers = read_rows(reading, built_in, added, environment)
    return Config(
        server=replace(server, default_provider=default_row(reading, providers)),
        log_level=log_level,
        network=network,
        providers=providers,
        entries=reading.in_order(),
        warnings=(*reading.remarks, *unknown_variables(environment)),
    )


def _server(reading: Reading) -> Server:
    server = Server(
        port=reading.value(schema.PORT),
        clients=reading.value(schema.CLIENTS),
        default_provider=reading.value(schema.DEFAULT_PROVIDER),
        drain_seconds=reading.value(schema.DRAIN),
        idle_seconds=reading.value(schema.IDLE),
        max_body=reading.value(schema.MAX_BODY),
        body_budget=reading.value(schema.BODY_BUDGET),
        hosts=reading.value(schema.SERVER_HOSTS),
    )
    if server.body_budget < server.max_body:
        budget = schema.BODY_BUDGET
        reading.refuse(
            schema.MAX_BODY if reading.ours(budget) else budget,
            f"server.body_budget ({server.body_budget}) is less than server.max_body "
            f"({server.max_body}): raise the one or lower the other",
        )
    return server
