"""Words an environment in the language of fish: to be sourced, and for one launch.

Pure. fish has no subshells, so the functions set variables that are local to them: a local variable
that is not exported hides an exported one from the client, and the shell keeps its own. A universal
variable cannot be hidden so, and must not be erased: it would be gone from all shells, for good.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from bridge.clients.environment import (
    GIVEN,
    KEY_HEADER,
    LOOPBACK,
    NO_KEY,
    NO_PROXY_VARIABLES,
    Environment,
)

#: Whose the variables are: the shell's (``-g``), or one function's (``-l``).
Scope = Literal["-g", "-l"]

_GIVEN: Final = f'(string split \\n -- "${GIVEN}")'


def quote(text: str) -> str:
    """Return *text* as one word of fish."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def settle(environment: Environment, key_file: str) -> Iterator[str]:
    """Yield the lines that change the shell that evaluates them.

    Every preference is set: what the person wants otherwise, they set afterwards.
    """
    for name in environment.unset:
        yield f"set -qU {name}; and set -gx {name} ''; or set -gu {name}"
    yield from _set(environment, key_file, "-g")
    for name, value in environment.preferred.items():
        if value:
            yield f"set -gx {name} {quote(value)}"
        else:
            yield f'contains -- "{name}=${name}" {_GIVEN}; and set -gu {name}'
    yield from _stale(environment, "-g")
    if environment.preferred:
        yield f"set -gx {GIVEN} {quote(environment.given(environment.preferred))}"
    yield from _no_proxy("-g")


def launch(environment: Environment, key_file: str) -> Iterator[str]:
    """Yield the lines that prepare a function for one client; :func:`start` comes after them."""
    yield from _set(environment, key_file, "-l")
    for name, value in environment.preferred.items():
        preferred = f"set -lx {name} {quote(value)}" if value else f"set -lu {name}"
        outer = f'test -z "${name}"; or contains -- "{name}=${name}" {_GIVEN}'
        yield f"begin; {outer}; end; and {preferred}; or set -lx {name} ${name}"
    yield from _stale(environment, "-l")
    ours = [f'"{name}=${name}"' for name, value in environment.preferred.items() if value]
    yield f"set -lx {GIVEN} (string join \\n -- {' '.join(ours)} | string collect)"
    yield from _no_proxy("-l")


def wrapper(program: str, words: tuple[str, ...]) -> Iterator[str]:
    """Yield the lines that make *program* a function which puts *words* before its arguments."""
    inner = " ".join(quote(word) for word in words)
    yield f"function {program} --wraps {program}; command {program} {inner} $argv; end"


def start(environment: Environment, words: str) -> str:
    """Return the line that starts a client, with *words* for its command line."""
    removed = "".join(f" -u {name}" for name in environment.unset)
    return f"command /usr/bin/env{removed} {words}"


def _set(environment: Environment, key_file: str, scope: Scope) -> Iterator[str]:
    for variable in environment.keys:
        yield from _key(variable, key_file, f"{scope}x")
    if header := environment.header:
        yield from _key("__bridge_key", key_file, "-l")
        lines = f'(string split -n \\n -- "${header}") "{KEY_HEADER}: $__bridge_key"'
        yield f"set {scope}x {header} (string join \\n -- {lines} | string collect)"
    for name, value in environment.fixed.items():
        yield f"set {scope}x {name} {quote(value)}"


def _key(variable: str, key_file: str, scope: str) -> Iterator[str]:
    file = quote(key_file)
    yield f"set {scope} {variable} {NO_KEY}"
    yield f"test -r {file} -a -s {file}; and read {variable} <{file}"


def _stale(environment: Environment, scope: Scope) -> Iterator[str]:
    for name in environment.stale:
        yield f'test -n "${GIVEN}"; and set {scope}u {name}'


def _no_proxy(scope: Scope) -> Iterator[str]:
    upper, lower = NO_PROXY_VARIABLES
    yield f'test -n "${upper}"; and set {scope}x {upper} ${upper}; or set {scope}x {upper} ${lower}'
    yield f'test -n "${lower}"; and set {scope}x {lower} ${lower}; or set {scope}x {lower} ${upper}'
    for name in NO_PROXY_VARIABLES:
        kept = f"string match -q -- '*,{LOOPBACK},*' \",${name},\"; or test \"${name}\" = '*'"
        extended = f"set {scope}x {name} (string replace -r '^,' '' -- \"${name},{LOOPBACK}\")"
        yield f"begin; {kept}; end; or {extended}"
