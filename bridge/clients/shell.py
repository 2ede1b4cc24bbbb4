"""Writes the shell functions that start an agent through bridge: ``claude-kimi`` and its kin.

Pure: paths and rows in, text for ``eval "$(bridge shell-init zsh)"`` out. A function changes
nothing in the shell that calls it: in bash and zsh the client's environment is made in a subshell,
which the client then replaces, so that job control, signals and exit codes are the client's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Final, Literal

from bridge.clients import claude, codex, completion, fish, opencode, sh
from bridge.providers import Provider

Shell = Literal["bash", "zsh", "fish"]

#: The names that the program is installed under.
PROGRAMS: Final = ("bridge", "kimi-bridge")

#: The inner function is what a list of jobs shows once the client is suspended: one line.
_CLAUDE: Final = """\
unalias claude-{name} 2>/dev/null || :
function claude-{name} {{
{options}\
  {bridge} --check {name} >/dev/null 2>&1 || {bridge} up {name} >&2 || return
  (__bridge-claude-{name} "$@")
}}
function __bridge-claude-{name} {{
  {{ set +x; }} 2>/dev/null
{lines}
  if ! {search} claude >/dev/null && [ -x "${{HOME:-}}/.claude/local/claude" ]; then
    exec "$HOME/.claude/local/claude" "$@"
  fi
  unset -f claude 2>/dev/null || :
  exec claude "$@"
}}
"""
_SHORT: Final = """\
unalias {name} 2>/dev/null || :
function {name} {{ {words} "$@"; }}
"""
_FISH_CLAUDE: Final = """\
function claude-{name} --wraps claude
    {bridge} --check {name} >/dev/null 2>&1; or {bridge} up {name} >&2; or return
{lines}
    set -l __bridge_program claude
    if not command -q claude; and test -x "$HOME/.claude/local/claude"
        set __bridge_program "$HOME/.claude/local/claude"
    end
    {start}
end
"""
_FISH_SHORT: Final = """\
function {name} --wraps {wraps}; {words} $argv; end
"""


@dataclass(frozen=True, slots=True)
class Bridge:
    """The program as the functions call it, and where its daemon is.

    *program* is its command line, whose first word is an absolute path, as *key_file* is one: what
    ``PATH`` finds first may be another ``bridge``. *address* is the daemon's URL, *key_needed* says
    that callers must show the caller key.
    """

    program: Sequence[str]
    key_file: str
    address: str
    key_needed: bool = False

    def __post_init__(self) -> None:
        for path in (self.program[0], self.key_file):
            if not path.startswith("/"):
                raise ValueError(f"{path!r} is relative: a shell function needs an absolute path")


def functions(shell: Shell, bridge: Bridge, providers: Sequence[Provider]) -> str:
    """Return the text that defines a function for each of *providers* and client, and completion.

    A provider has one for each client that can work with it.
    """
    texts = [] if shell == "fish" else [sh.PREFER]
    for provider in providers:
        texts += _of_provider(shell, bridge, provider)
    texts.append(_short(shell, "kimi-proxy", bridge.program))
    texts.append(_short(shell, "kimi-token", [*bridge.program, "token", "kimi"]))
    names = [name for provider in providers for name in (provider.name, *provider.aliases)]
    texts.append(completion.text(shell, PROGRAMS, names))
    return "\n".join(texts)


def _of_provider(shell: Shell, bridge: Bridge, provider: Provider) -> Iterator[str]:
    name = provider.name
    if not claude.refusal(provider):
        yield _claude(shell, bridge, provider)
        for alias in provider.aliases:
            yield _short(shell, f"claude-{alias}", [f"claude-{name}"], plain=True)
    for client, room in (("codex", codex), ("opencode", opencode)):
        if not room.refusal(provider):
            for each in (name, *provider.aliases):
                words = [*bridge.program, "run", name, "--", client]
                yield _short(shell, f"{client}-{each}", words, wraps=client)


def _claude(shell: Shell, bridge: Bridge, provider: Provider) -> str:
    made = claude.environment(bridge.address, provider, key_needed=bridge.key_needed)
    room = fish if shell == "fish" else sh
    indent = "    " if shell == "fish" else "  "
    return (_FISH_CLAUDE if shell == "fish" else _CLAUDE).format(
        name=provider.name,
        # A zsh may be set up to split, glob and count in ways of its own.
        options="  emulate -L zsh\n" if shell == "zsh" else "",
        bridge=_words(shell, bridge.program),
        lines="\n".join(f"{indent}{line}" for line in room.launch(made, bridge.key_file)),
        start=fish.start(made, "$__bridge_program $argv"),
        # Not "command -v": an alias is no program that could be executed.
        search="whence -p" if shell == "zsh" else "type -P",
    )


def _short(
    shell: Shell, name: str, words: Sequence[str], *, wraps: str = "", plain: bool = False
) -> str:
    template = _FISH_SHORT if shell == "fish" else _SHORT
    shown = " ".join(words) if plain else _words(shell, words)
    return template.format(name=name, words=shown, wraps=wraps or PROGRAMS[0])


def _words(shell: Shell, words: Sequence[str]) -> str:
    return " ".join(fish.quote(word) if shell == "fish" else quote(word) for word in words)
