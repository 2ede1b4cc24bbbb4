"""Says where the files of bridge are, from the environment alone.

Pure string work after the XDG base directory specification. ``bridge --check`` needs the PID file
before every launch of an agent, so nothing is imported here that a bare interpreter has not
already loaded; ``typing`` alone would double its start.
"""

from __future__ import annotations

from bridge.errors import ConfigError

TYPE_CHECKING = False  # what ``typing`` calls by this name, without importing it
if TYPE_CHECKING:
    from collections.abc import Mapping


def home(environment: Mapping[str, str]) -> str:
    """Return the home folder without a trailing slash.

    Raises ``ConfigError`` when ``HOME`` is missing or relative: a guess would write a credential
    to a place where nobody looks for it.
    """
    return _absolute(environment.get("HOME", ""), "HOME").rstrip("/")


def expanded(path: str, environment: Mapping[str, str]) -> str:
    """Return *path* with a leading ``~/`` replaced by the home folder."""
    return f"{home(environment)}{path[1:]}" if path.startswith("~/") else path


def config_file(environment: Mapping[str, str]) -> str:
    """Return the configuration file: ``BRIDGE_CONFIG``, else the one in the XDG folder."""
    chosen = environment.get("BRIDGE_CONFIG")
    if chosen:
        return _absolute(expanded(chosen, environment), "BRIDGE_CONFIG")
    return f"{_xdg(environment, 'XDG_CONFIG_HOME', '.config')}/bridge/config.toml"


def key_file(environment: Mapping[str, str]) -> str:
    """Return the file that holds the caller key."""
    return f"{_xdg(environment, 'XDG_STATE_HOME', '.local/state')}/bridge/key"


def log_file(environment: Mapping[str, str]) -> str:
    """Return the log file."""
    return f"{_xdg(environment, 'XDG_STATE_HOME', '.local/state')}/bridge/bridge.log"


def pid_file(environment: Mapping[str, str]) -> str:
    """Return the PID file: ``BRIDGE_PID_FILE``, else one that every kind of login agrees on.

    ``XDG_RUNTIME_DIR`` is not used on purpose: cron and ``su`` do not set it.
    """
    chosen = environment.get("BRIDGE_PID_FILE")
    if chosen:
        return _absolute(expanded(chosen, environment), "BRIDGE_PID_FILE")
    return f"{home(environment)}/.local/run/bridge.pid"


def kimi_share(environment: Mapping[str, str]) -> str:
    """Return the folder shared with the official CLI: ``KIMI_SHARE_DIR``, else ``~/.kimi``.

    The official CLI does not expand ``~`` in the variable, so neither does this.
    """
    chosen = environment.get("KIMI_SHARE_DIR")
    if chosen:
        return _absolute(chosen, "KIMI_SHARE_DIR")
    return f"{home(environment)}/.kimi"


def _xdg(environment: Mapping[str, str], variable: str, otherwise: str) -> str:
    """Return an XDG base folder; a relative one is ignored, as the specification demands."""
    folder = environment.get(variable, "")
    return folder.rstrip("/") if folder.startswith("/") else f"{home(environment)}/{otherwise}"


def _absolute(path: str, variable: str) -> str:
    if path.startswith("/"):
        return path
    if not path:
        raise ConfigError(f"{variable} is not set: set it to an absolute path")
    raise ConfigError(f"{variable}: {path!r} is relative: set it to an absolute path")
