"""Examines everything once: gathers the facts and has each of them judged.

The order is that of the way a request takes: configuration, program, shell, client, port, daemon,
credential, network. Nothing is changed by it, and nobody is sent a credential.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bridge import location, peer
from bridge.clock import Clock
from bridge.config import Paths, parse
from bridge.config.reading import BUILT_IN, DEFAULT
from bridge.doctor.finding import Finding, Level, fail, told, worst
from bridge.doctor.judging import (
    claude,
    codex,
    configuration,
    disk,
    door,
    key,
    login,
    opencode,
    program,
    reach,
    shell,
    skew,
    surroundings,
)
from bridge.doctor.looking import agents, credentials, files, network, port, programs
from bridge.errors import BridgeError, ConfigError
from bridge.oauth.token import UNKNOWN_LIFETIME
from bridge.providers import Auth, Provider
from bridge.service.account import credential_file, journal_file
from bridge.service.catalogue import rows
from bridge.service.settings import Settings, catalogue, load, locate
from bridge.way import outbound


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found, and whether the configuration can be used at all (*configured*)."""

    findings: tuple[Finding, ...]
    configured: bool

    @property
    def exit_code(self) -> int:
        """What a shell sees: 0 unless something fails, 78 where that is the configuration."""
        if not self.configured:
            return ConfigError.exit_code
        return 1 if worst(self.findings) is Level.FAIL else 0


def examine(
    options: Mapping[str, object],
    *,
    environment: Mapping[str, str],
    here: Path,
    named: str,
    clock: Clock,
    resolve: network.Resolve = socket.getaddrinfo,
) -> Examination:
    """Examine this machine as a session in the folder *here* finds it.

    *options* are those of the command line, *environment* is the shell's, *named* the path by which
    generated functions call this program, and *resolve* looks up the names of hosts.
    """
    found = list(program.judge(programs.programs(environment, named)))
    try:
        paths = locate(options)
    except BridgeError as error:
        refusal = fail(configuration.SUBJECT, *told(error, "mend that, then: bridge doctor"))
        return Examination((refusal, *found), configured=not isinstance(error, ConfigError))
    settings, complaint = _settings(options, paths, environment)
    patient = _Patient(settings, here, clock)
    if not complaint:
        complaint = patient.ask(resolve)
    first = configuration.refused(complaint, paths.config) if complaint else patient.configuration()
    rest = patient.findings(asked=not complaint)
    return Examination((*first, *found, *rest), configured=not complaint)


def _settings(
    options: Mapping[str, object], paths: Paths, environment: Mapping[str, str]
) -> tuple[Settings, str]:
    """Return the settings in force, or those of an empty configuration and what is wrong."""
    try:
        return load(options), ""
    except ConfigError as error:
        complaint = str(error)
    home = {"HOME": location.home(environment)}
    where = {"file": paths.config, "catalogue": catalogue()}
    try:
        # The environment counts as far as the fault is not there.
        port = {"port": options.get("port")}
        config = parse("", environment=environment, options=port, **where)
    except ConfigError:
        config = parse("", environment=home, options={}, **where)
    return Settings(config, paths, environment, {}), complaint


class _Patient:
    """One machine under examination."""

    def __init__(self, settings: Settings, here: Path, clock: Clock) -> None:
        self._settings = settings
        self._environment = settings.environment
        self._home = location.home(settings.environment)
        self._here = here
        self._clock = clock
        self._can_tell = peer.can_tell()
        self._rows = rows(settings, {})
        share = Path(settings.paths.kimi_share)
        journal = journal_file(settings.paths)
        self._logins = {
            name: credentials.login(name, share, clock, journal=journal)
            for name, row in self._rows.items()
            if row.auth is Auth.OAUTH
        }
        self._keys = {
            name: credentials.places(row, self._environment, clock, wanted=self._is_wanted(row))
            for name, row in self._rows.items()
            if row.auth is Auth.KEY
        }
        self._reached: Sequence[reach.Reached] = ()
        self._jumped = 0.0

    def ask(self, resolve: network.Resolve) -> str:
        """Ask the servers of all providers that have a credential; return why that cannot be."""
        way, began = self._settings.config.network, (self._clock.now(), self._clock.monotonic())
        try:
            out = outbound(self._environment, way.proxy, way.ca_file, self._rows.values())
            goals = network.goals(self._rows.values(), *self._in_use())
            self._reached = asyncio.run(network.reach(goals, out, self._clock, resolve))
        except ConfigError as error:
            return str(error)
        self._jumped = (self._clock.now() - began[0]) - (self._clock.monotonic() - began[1])
        return ""

    def configuration(self) -> Iterator[Finding]:
        """Yield what is to be said of a configuration that can be used."""
        file, config = self._settings.paths.config, self._settings.config
        yield from configuration.judge(
            file,
            exists=Path(file).exists(),
            warnings=config.warnings,
            clients=config.server.clients,
            can_tell=self._can_tell,
        )

    def findings(self, *, asked: bool) -> Iterator[Finding]:
        """Yield the rest; *asked* says whether the servers were."""
        yield from self._agents()
        yield from self._daemon()
        yield from self._credentials()
        if asked:
            yield from reach.judge(self._reached)
        yield from skew.judge(self._clocks())
        yield from self._files()

    def _agents(self) -> Iterator[Finding]:
        number, env, here = self._settings.config.server.port, self._environment, self._here
        yield from shell.judge(env, number, self._rows)
        clients = self._settings.config.server.clients
        key_needed = clients == "key" or (clients is None and not self._can_tell)
        bridge = claude.Bridge(number, self._rows, env, key_needed)
        yield from claude.judge(agents.claude(env, here), bridge)
        yield from codex.judge(agents.codex(env), number, self._rows)
        yield from opencode.judge(agents.opencode(env, here), number, self._rows)

    def _daemon(self) -> Iterator[Finding]:
        paths, number = self._settings.paths, self._settings.config.server.port
        seen = port.door(number, paths.pid_file, self._home)
        yield from door.judge(seen)
        names = surroundings.names_of_interest(self._rows.values())
        here = {name for name in names if self._environment.get(name, "").strip()}
        found = {name: places.found or "" for name, places in self._keys.items()}
        there = port.set_variables(seen, names)
        yield from surroundings.judge(here, there, self._rows, found)

    def _credentials(self) -> Iterator[Finding]:
        for found, _ in self._logins.values():
            yield from login.judge(found)
        for places in self._keys.values():
            yield from key.judge(places)

    def _clocks(self) -> skew.Clocks:
        paths = self._settings.paths
        mine = (credential_file(Path(paths.kimi_share)), paths.pid_file, paths.log, paths.key)
        margins = [token.margin for _, token in self._logins.values() if token is not None]
        return skew.Clocks(
            now=self._clock.now(),
            ahead=[
                (each.goal.host, each.ahead) for each in self._reached if each.ahead is not None
            ],
            margin=min(margins, default=UNKNOWN_LIFETIME / 2),
            jumped=self._jumped,
            newest=files.newest([Path(path) for path in mine]),
            asked=bool(self._reached),
            answered=any(each.outcome is reach.Outcome.ANSWERED for each in self._reached),
        )

    def _files(self) -> Iterator[Finding]:
        paths, home = self._settings.paths, self._home
        share = credential_file(Path(paths.kimi_share)).parent
        items = [
            files.item("your home", home, home),
            files.item("state", str(Path(paths.log).parent), home),
            files.item("log", paths.log, home),
            files.item("caller key", paths.key, home, private=True),
            files.item("PID file's folder", str(Path(paths.pid_file).parent), home),
            files.item("login", str(share), home),
            files.item("configuration", paths.config, home, steering=True),
        ]
        once = {item.path: item for item in reversed(items)}
        rooms = {room.path: room for room in map(files.room, (paths.log, str(share))) if room}
        yield from disk.judge([*reversed(once.values())], [*rooms.values()])

    def _in_use(self) -> tuple[set[str], set[str]]:
        """Return the names of the rows with a credential, and of those whose login counts."""
        default = self._settings.config.server.default_provider
        logged_in = {name for name, (_, token) in self._logins.items() if token is not None}
        keyed = {name for name, places in self._keys.items() if places.found}
        return logged_in | keyed, {name for name in self._logins if name in {*logged_in, default}}

    def _is_wanted(self, row: Provider) -> bool:
        """Say whether somebody counts on *row*: it is the default, or its key was configured."""
        origin = self._settings.config.origins.get(f"providers.{row.name}.key", DEFAULT)
        default = self._settings.config.server.default_provider
        return row.name == default or origin not in {DEFAULT, BUILT_IN}
