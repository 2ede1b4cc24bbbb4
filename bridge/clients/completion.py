"""Words the completion of ``bridge`` for each shell, from what can be typed.

Pure. The providers are those in force when the text is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from shlex import quote
from typing import Final

from bridge.clients import fish
from bridge.clients.words import COMMAND, FILE, OPTIONS, PROVIDER, VALUES, VERBS

#: Functions that take the same words as the program.
_KIN: Final = ("kimi-proxy",)

_BASH: Final = """\
function __bridge_complete {{
  local word=${{COMP_WORDS[COMP_CWORD]}} verb= taken=0 i words=
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${{COMP_WORDS[i]}} in
      {valued}) i=$((i + 1)) ;;
      -*) ;;
      *) if [ -z "$verb" ]; then verb=${{COMP_WORDS[i]}}; else taken=$((taken + 1)); fi ;;
    esac
  done
  case ${{COMP_WORDS[COMP_CWORD-1]}} in
{values}
  esac
  case $verb/$taken in
{verbs}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -F __bridge_complete {programs}
"""
_BASH_FILES: Final = "compopt -o default 2>/dev/null; COMPREPLY=(); return"
_BASH_COMMANDS: Final = """\
compopt -o default 2>/dev/null; COMPREPLY=($(compgen -W "$words" -A command -- "$word")); return"""

_BASH_OPTIONS: Final = f"words='{' '.join(OPTIONS)}'"

_ZSH: Final = """\
if (( ${{+functions[compdef]}} )); then
  function _bridge {{
    local verb= taken=0 i
    for (( i = 2; i < CURRENT; i++ )); do
      case $words[i] in
        ({valued}) (( i++ )) ;;
        (-*) ;;
        (*) if [[ -z $verb ]]; then verb=$words[i]; else (( taken++ )); fi ;;
      esac
    done
    case $words[CURRENT-1] in
{values}
    esac
    local -a __bridge_verbs=({described})
    case $verb/$taken in
{verbs}
    esac
  }}
  compdef _bridge {programs}
fi
"""


def text(shell: str, programs: Sequence[str], providers: Sequence[str]) -> str:
    """Return what makes *shell* complete *programs*; *providers* are the names in force."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](programs, providers)


def _bash(programs: Sequence[str], providers: Sequence[str]) -> str:
    values = [
        f"    {option}) {_bash_offer(offer, providers)} ;;" for option, offer in VALUES.items()
    ]
    verbs = [f"    /0) words='{' '.join(VERBS)}'; case $word in -*) {_BASH_OPTIONS} ;; esac ;;"]
    for pattern, offer in _places():
        words = " ".join(_named(offer, providers))
        commands = f"; {_BASH_COMMANDS}" if COMMAND in offer else ""
        verbs.append(f"    {pattern}) words='{words}'{commands} ;;")
    return _BASH.format(
        valued="|".join(_valued()),
        values="\n".join(values),
        verbs="\n".join(verbs),
        programs=" ".join([*programs, *_KIN]),
    )


def _bash_offer(offer: Sequence[str], providers: Sequence[str]) -> str:
    if FILE in offer:
        return _BASH_FILES
    words = " ".join(_named(offer, providers))
    return f"COMPREPLY=($(compgen -W '{words}' -- \"$word\")); return"


def _zsh(programs: Sequence[str], providers: Sequence[str]) -> str:
    values = [
        f"      ({option}) {_zsh_offer(offer, providers)}; return ;;"
        for option, offer in VALUES.items()
    ]
    named = "_describe -t commands command __bridge_verbs"
    options = f"compadd -- {' '.join(OPTIONS)}"
    general = f"if [[ $words[CURRENT] == -* ]]; then {options}; else {named}; fi"
    verbs = [f"      (/0) {general} ;;"]
    for pattern, offer in _places():
        verbs.append(f"      ({pattern}) {_zsh_offer(offer, providers)} ;;")
    return _ZSH.format(
        valued="|".join(_valued()),
        values="\n".join(values),
        described=" ".join(quote(f"{name}:{verb.help}") for name, verb in VERBS.items()),
        verbs="\n".join(verbs),
        programs=" ".join([*programs, *_KIN]),
    )


def _zsh_offer(offer: Sequence[str], providers: Sequence[str]) -> str:
    if FILE in offer:
        return "_files"
    words = " ".join(_named(offer, providers))
    commands = "; _command_names -e; _files" if COMMAND in offer else ""
    return (f"compadd -- {words}" if words else ":") + commands


def _fish(programs: Sequence[str], providers: Sequence[str]) -> str:
    program, *others = programs
    lines = [f"complete -c {program} -e", f"complete -c {program} -f"]
    lines += [f"complete -c {other} -w {program}" for other in (*others, *_KIN)]
    for option, help_text in OPTIONS.items():
        lines.append(f"complete -c {program} {_fish_option(option, providers)} {_said(help_text)}")
    for name, verb in VERBS.items():
        first = f"complete -c {program} -n __fish_use_subcommand -a {name}"
        lines.append(f"{first} {_said(verb.help)}")
        seen = f"__fish_seen_subcommand_from {name}"
        for option in verb.options:
            lines.append(f"complete -c {program} -n '{seen}' {_fish_option(option, providers)}")
        for words in _fish_words(seen, verb.takes, providers):
            lines.append(f"complete -c {program} {words}")
    return "\n".join(lines)


def _fish_words(
    seen: str, takes: Sequence[Sequence[str]], providers: Sequence[str]
) -> Iterator[str]:
    before: list[str] = []
    for offer in takes:
        words = _named(offer, providers)
        missing = f"; and not __fish_seen_subcommand_from {' '.join(words)}" if words else ""
        needed = f"; and __fish_seen_subcommand_from {' '.join(before)}" if before else ""
        commands = "(__fish_complete_command) " if COMMAND in offer else ""
        offered = fish.quote(commands + " ".join(words))
        yield f"-n {fish.quote(seen + needed + missing)} -a {offered}"
        before = words


def _fish_option(option: str, providers: Sequence[str]) -> str:
    spelt = f"-l {option.removeprefix('--')}"
    if option not in VALUES:
        return spelt
    offer = VALUES[option]
    if FILE in offer:
        return f"{spelt} -r -F"
    words = " ".join(_named(offer, providers))
    return f"{spelt} -x" + (f" -a {fish.quote(words)}" if words else "")


def _said(help_text: str) -> str:
    return f"-d {fish.quote(help_text)}"


def _places() -> Iterator[tuple[str, Sequence[str]]]:
    """Yield each place behind a verb, as VERB/WORDS-TAKEN, with what can be typed there."""
    for name, verb in VERBS.items():
        for taken, offer in enumerate(verb.takes):
            yield f"{name}/{taken}", (*offer, *verb.options)
        if not verb.takes or COMMAND not in verb.takes[-1]:
            yield f"{name}/*", verb.options
        else:
            yield f"{name}/*", (COMMAND,)


def _valued() -> list[str]:
    # Of --check's value the shell cannot say whether it is there.
    return [option for option in VALUES if option != "--check"]


def _named(offer: Sequence[str], providers: Sequence[str]) -> list[str]:
    words = [name for word in offer for name in (providers if word == PROVIDER else [word])]
    return [word for word in words if word not in {COMMAND, FILE}]
