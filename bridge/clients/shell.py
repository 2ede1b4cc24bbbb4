"""Writes the shell functions that start an agent through bridge: ``claude-kimi`` and its kin.

Pure: paths and values in, text for ``eval "$(bridge shell-init zsh)"`` out. A function changes
nothing in the shell that calls it: the client's environment is made in a subshell, which the
client then replaces, so that job control, signals and exit codes are the client's own. The caller
key is read by the shell itself at that moment and is in nobody's argument list.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from shlex import quote
from typing import Final, Literal

from bridge.clients.claude import (
    KEY_VARIABLE,
    LOOPBACK,
    NO_KEY,
    NO_PROXY_VARIABLES,
    Environment,
    environment,
)
from bridge.providers import Provider

Shell = Literal["bash", "zsh"]

#: The names that the program is installed under.
PROGRAMS: Final = ("bridge", "kimi-bridge")
COMMANDS: Final = ("login", "logout", "token", "up", "shell-init", "demo")
OPTIONS: Final = (
    *("--foreground", "--check", "--stop", "--restart", "--reload"),
    *("--config", "--pid-file", "--port", "--log-level", "--json", "--help", "--version"),
)

#: The inner function is what a list of jobs shows once the client is suspended: one line.
_FUNCTION: Final = """\
unalias claude-{name} 2>/dev/null || :
function claude-{name} {{
{options}\
  {bridge} --check {name} >/dev/null 2>&1 || {bridge} up {name} >&2 || return
  (_bridge-claude-{name} "$@")
}}
function _bridge-claude-{name} {{
  {{ set +x; }} 2>/dev/null
  unset {unset}
  {key}=
  if [ -r {key_file} ]; then {key}=$(<{key_file}); fi
  export {key}="${{{key}:-{no_key}}}"
{exports}
  if ! {search} claude >/dev/null && [ -x "${{HOME:-}}/.claude/local/claude" ]; then
    exec "$HOME/.claude/local/claude" "$@"
  fi
  exec claude "$@"
}}
"""

_OLD_NAMES: Final = """\
unalias kimi-proxy kimi-token 2>/dev/null || :
function kimi-proxy {{ {bridge} "$@"; }}
function kimi-token {{ {bridge} token kimi "$@"; }}
"""

_BASH_COMPLETION: Final = """\
complete -W {words} {programs}
"""

_ZSH_COMPLETION: Final = """\
if (( ${{+functions[compdef]}} )); then
  function _bridge {{
    if (( CURRENT == 2 )); then compadd -- {words}; else compadd -- {providers}; fi
  }}
  compdef _bridge {programs}
fi
"""


def functions(
    shell: Shell, *, executable: str, key_file: str, address: str, providers: Sequence[Provider]
) -> str:
    """Return the text that defines a function for each of *providers*, and completion.

    *executable* is this program and *key_file* the caller key, both by absolute path: what
    ``PATH`` finds first may be another ``bridge``. *address* is the daemon's URL. Raises
    ``ValueError`` for a relative path.
    """
    for path in (executable, key_file):
        if not path.startswith("/"):
            raise ValueError(f"{path!r} is relative: a shell function needs an absolute path")
    bridge = quote(executable)
    texts = [
        _function(shell, bridge, key_file, provider.name, environment(address, provider))
        for provider in providers
    ]
    texts.append(_OLD_NAMES.format(bridge=bridge))
    texts.append(_completion(shell, [provider.name for provider in providers]))
    return "\n".join(texts)


def _function(shell: Shell, bridge: str, key_file: str, name: str, settings: Environment) -> str:
    return _FUNCTION.format(
        name=name,
        # A zsh may be set up to split, glob and count in ways of its own.
        options="  emulate -L zsh\n" if shell == "zsh" else "",
        bridge=bridge,
        unset=" ".join(settings.unset),
        key=KEY_VARIABLE,
        key_file=quote(key_file),
        no_key=NO_KEY,
        # Not "command -v": an alias is no program that could be executed.
        search="whence -p" if shell == "zsh" else "type -P",
        exports="\n".join(f"  {line}" for line in _exports(settings)),
    )


def _exports(settings: Environment) -> Iterable[str]:
    for name, value in settings.fixed.items():
        yield f"export {name}={quote(value)}"
    for name, value in settings.preferred.items():
        yield f'if [ -z "${{{name}:-}}" ]; then {name}={quote(value)}; fi; export {name}'
    upper, lower = NO_PROXY_VARIABLES
    yield f'export {upper}="${{{upper}:-${{{lower}:-}}}}"'
    yield f'export {lower}="${{{lower}:-${upper}}}"'
    for name in NO_PROXY_VARIABLES:
        yield f"""[ "${name}" = '*' ] || {name}="${{{name}:+${name},}}{LOOPBACK}\""""


def _completion(shell: Shell, providers: Sequence[str]) -> str:
    template = _BASH_COMPLETION if shell == "bash" else _ZSH_COMPLETION
    words = [*COMMANDS, *OPTIONS]
    return template.format(
        words=quote(" ".join([*words, *providers])) if shell == "bash" else " ".join(words),
        programs=" ".join(PROGRAMS),
        providers=" ".join(providers),
    )
