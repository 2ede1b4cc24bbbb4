"""Words an environment in the language of POSIX shells: for ``eval``, and for one launch.

Pure. The caller key is read by the shell itself at that moment and stands in nobody's argument
list; no line that a tracing shell would print holds it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from shlex import quote
from typing import Final

from bridge.clients.environment import (
    GIVEN,
    KEY_HEADER,
    LOOPBACK,
    NO_KEY,
    NO_PROXY_VARIABLES,
    Environment,
)

#: What ``launch`` needs, as a function of bash and zsh. Two underscores, because Claude Code keeps
#: from its own shell the functions that begin with one.
PREFER: Final = f"""\
function __bridge_prefer {{
  local nl=$'\\n' now
  eval "now=\\${{$1:-}}"
  case "$nl${{{GIVEN}:-}}$nl" in *"$nl$1=$now$nl"*) now= ;; esac
  if [ -z "$now" ]; then now=$2; fi
  if [ -z "$now" ]; then unset "$1"; return; fi
  if [ -n "$2" ]; then __bridge_given="${{__bridge_given:+$__bridge_given$nl}}$1=$now"; fi
  export "$1=$now"
}}
"""


def settle(environment: Environment, key_file: str) -> Iterator[str]:
    """Yield the lines that change the shell that evaluates them.

    Every preference is set: what the person wants otherwise, they set afterwards.
    """
    yield from _before(environment, key_file)
    for name, value in environment.preferred.items():
        if value:
            yield f"export {name}={quote(value)}"
        else:
            yield (
                f'case "\n${{{GIVEN}:-}}\n" in *"\n{name}=${{{name}:-}}\n"*) unset {name} ;; esac'
            )
    yield from _stale(environment)
    if environment.preferred:
        yield f"export {GIVEN}={quote(environment.given(environment.preferred))}"
    yield from _no_proxy()


def launch(environment: Environment, key_file: str) -> Iterator[str]:
    """Yield the lines that prepare a subshell of bash or zsh for one client (see ``PREFER``)."""
    yield from _before(environment, key_file)
    yield "__bridge_given="
    for name, value in environment.preferred.items():
        yield f"__bridge_prefer {name} {quote(value)}"
    yield from _stale(environment)
    yield f'export {GIVEN}="$__bridge_given"'
    yield from _no_proxy()


def wrapper(program: str, words: tuple[str, ...]) -> Iterator[str]:
    """Yield the lines that make *program* a function which puts *words* before its arguments."""
    inner = " ".join(quote(word) for word in words)
    yield f"unalias {program} 2>/dev/null || :"
    # Parsed only now: the alias that was there would have been put in place of the name.
    definition = f'{program}() {{ command {program} {inner} "$@"; }}'
    yield f"eval {quote(definition)}"


def exports(values: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines that set *values* and export them."""
    for name, value in values.items():
        yield f"export {name}={quote(value)}"


def _before(environment: Environment, key_file: str) -> Iterator[str]:
    if environment.unset:
        yield f"unset {' '.join(environment.unset)}"
    for variable in environment.keys:
        yield from _key(variable, key_file)
        yield f"export {variable}"
    if header := environment.header:
        yield from _key("__bridge_key", key_file)
        yield f'export {header}="${{{header}:+${header}\n}}{KEY_HEADER}: $__bridge_key"'
        yield "unset __bridge_key"
    yield from exports(environment.fixed)


def _key(variable: str, key_file: str) -> Iterator[str]:
    file = quote(key_file)
    yield f"{variable}="
    yield f"if [ -r {file} ]; then IFS= read -r {variable} <{file} || :; fi"
    yield f'if [ "${{#{variable}}}" -eq 0 ]; then {variable}={NO_KEY}; fi'


def _stale(environment: Environment) -> Iterator[str]:
    if environment.stale:
        yield f'if [ -n "${{{GIVEN}:-}}" ]; then unset {" ".join(environment.stale)}; fi'


def _no_proxy() -> Iterator[str]:
    upper, lower = NO_PROXY_VARIABLES
    yield f'{upper}="${{{upper}:-${{{lower}:-}}}}"'
    yield f'{lower}="${{{lower}:-${upper}}}"'
    for name in NO_PROXY_VARIABLES:
        extended = f'{name}="${{{name}:+${name},}}{LOOPBACK}"'
        yield f'case ",${name}," in ",*,"|*",{LOOPBACK},"*) ;; *) {extended} ;; esac'
    yield f"export {upper} {lower}"
