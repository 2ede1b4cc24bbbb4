"""Reads the configuration: the file, the environment and the options become one ``Config``.

The only room that looks at the process environment; the pure rooms are handed what was read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from bridge import plainfile
from bridge.config import Config, Paths, parse, paths
from bridge.errors import ConfigError, ServiceError
from bridge.way import outbound


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that was asked for: values, places, and the *environment* they came from."""

    config: Config
    paths: Paths
    environment: Mapping[str, str]
    options: Mapping[str, object]

    def reread(self) -> Settings:
        """Return the settings as the file has them now. Raises ``ConfigError``."""
        return _read(self.paths, self.environment, self.options)

    def restart_needed(self, newer: Settings) -> tuple[str, ...]:
        """Return the keys of which *newer* has another value that only a restart brings about."""
        old, new = self.config, newer.config
        return ("server.port",) if old.server.port != new.server.port else ()


@cache
def catalogue() -> str:
    """Return the text of the built-in catalogue."""
    return files("bridge").joinpath("catalogue.toml").read_text(encoding="utf-8")


def load(options: Mapping[str, object]) -> Settings:
    """Return the settings in force: *options* win over the environment, that over the file.

    ``options`` may hold ``config`` and ``pid_file`` (places) and any scalar of the configuration.
    Raises ``ConfigError`` naming file, line and key.
    """
    environment = _environment(options)
    places = paths(environment)
    if os.geteuid() == 0:
        for place in (places.key, places.log, places.pid_file, places.kimi_share):
            _check_home(str(next(p for p in Path(place).parents if p.exists())))
    return _read(
        places,
        environment,
        {k: v for k, v in options.items() if v is not None and k not in {"config", "pid_file"}},
    )


def locate(options: Mapping[str, object]) -> Paths:
    """Return where the files are, without reading any: enough to find a daemon and to stop it."""
    return paths(_environment(options))


def _environment(options: Mapping[str, object]) -> dict[str, str]:
    environment = dict(os.environ)
    _check_home(environment.get("HOME", ""))
    for option, variable in (("config", "BRIDGE_CONFIG"), ("pid_file", "BRIDGE_PID_FILE")):
        if options.get(option):
            environment[variable] = str(Path(str(options[option])).absolute())
    return environment


def _read(places: Paths, environment: Mapping[str, str], options: Mapping[str, object]) -> Settings:
    file = Path(places.config)
    try:
        text = plainfile.read(file).decode("utf-8")
    except FileNotFoundError:
        if environment.get("BRIDGE_CONFIG"):
            raise ConfigError(f"{file} does not exist: make it, or leave out --config") from None
        text = ""
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigError(f"{file} cannot be read ({reason}): mend that, then try again") from None
    config = parse(
        text, file=str(file), environment=environment, options=options, catalogue=catalogue()
    )
    if missing := "\n".join(_missing_files(config)):
        raise ConfigError(missing)
    # Two ways to one host are told here, and not by a daemon that does not start.
    outbound(environment, config.network.proxy, config.network.ca_file, config.providers.values())
    return Settings(config, places, environment, options)


def _missing_files(config: Config) -> Iterator[str]:
    """Yield a complaint for each file of authorities that cannot be read."""
    named = {"network.ca_file": config.network.ca_file}
    named |= {f"providers.{row.name}.ca_file": row.ca_file for row in config.providers.values()}
    for key, path in named.items():
        if path and not os.access(path, os.R_OK):
            reason = "cannot be read" if Path(path).exists() else "does not exist"
            yield f"{config.origins[key]}: {key}: {path} {reason}: mend that, or leave the key out"


def _check_home(home: str) -> None:
    """Refuse to act as root in somebody else's home: it would leave files they cannot touch."""
    if os.geteuid() != 0 or not home:
        return
    try:
        owner = Path(home).stat().st_uid
    except OSError:
        return
    if owner != 0:
        raise ServiceError(
            f"this is root, but {home} belongs to uid {owner}: run bridge as that user, "
            "without sudo"
        )
