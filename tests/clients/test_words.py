"""What can be typed after ``bridge``, held against the parser."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import pytest

from bridge.clients.words import CLIENTS, FILE, OPTIONS, PROVIDER, VALUES, VERBS, Verb
from bridge.commands import parser

PLACES = {"--config", "--pid-file", "--port", "--log-level"}


def whole() -> argparse.ArgumentParser:
    """The parser of the program."""
    return parser._parser()


def verbs(of: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers below *of*, by name; empty where there are none."""
    action = _below(of)
    return dict(action.choices) if action else {}


def _below(of: argparse.ArgumentParser) -> argparse._SubParsersAction[Any] | None:
    actions = (each for each in of._actions if isinstance(each, argparse._SubParsersAction))
    return next(actions, None)


def options(of: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """The options of *of*, by their long names."""
    return {
        name: action
        for action in of._actions
        for name in action.option_strings
        if name.startswith("--")
    }


def test_options() -> None:
    """Every option of the program is offered, in its own words, and no other."""
    assert {name: action.help for name, action in options(whole()).items()} == dict(OPTIONS)


def test_verbs() -> None:
    """Every verb is offered, in its own words, in the order of --help, and no other."""
    action = _below(whole())
    assert action is not None
    told = {choice.dest: choice.help for choice in action._choices_actions}
    assert {name: verb.help for name, verb in VERBS.items()} == told
    assert list(VERBS) == list(told)


@pytest.mark.parametrize("name", VERBS)
def test_options_of_a_verb(name: str) -> None:
    """Every option of a verb is offered, and no other, wherever it may stand."""
    of = verbs(whole())[name]
    known = {*options(of)} | {word for below in verbs(of).values() for word in options(below)}
    verb = VERBS[name]
    offered = {*verb.options} | {
        word for words in verb.takes[1:] for word in words if word.startswith("--")
    }
    by_hand = {"--client", "--"} if name == "run" else set()
    assert offered - by_hand == known - PLACES - {"--help"}


@pytest.mark.parametrize(("name", "verb"), VERBS.items())
def test_words_of_a_verb(name: str, verb: Verb) -> None:
    """What a verb takes is offered: the choices it has, or the providers in force."""
    taken = list(_taken(verbs(whole())[name]))
    assert len(taken) <= len(verb.takes)
    for (metavar, choices), offered in zip(taken, verb.takes, strict=False):
        words = {word for word in offered if not word.startswith("--")}
        logins = name in {"login", "logout", "token"}
        assert words == (choices or ({"kimi"} if logins else {metavar}))


def _taken(of: argparse.ArgumentParser) -> Iterator[tuple[str, set[str]]]:
    for action in of._actions:
        if not action.option_strings:
            yield str(action.metavar), set(action.choices or ())


def test_values() -> None:
    """Of each option with a value it is said what the value can be, as far as that is known."""
    every = options(whole())
    for name, below in verbs(whole()).items():
        every |= {word: action for word, action in options(below).items() if name != "config"}
    valued = {name: action for name, action in every.items() if action.nargs != 0}
    assert {*VALUES} == {*valued}
    for name, action in valued.items():
        known = {"PROVIDER": (PROVIDER,), "FILE": (FILE,)}.get(str(action.metavar))
        assert VALUES[name] == (known or tuple(action.choices or ()) or VALUES[name])
    assert VALUES["--client"] == CLIENTS == parser.CLIENTS
    levels = str(options(whole())["--log-level"].help)
    assert levels.replace(" or ", ", ").split(", ") == list(VALUES["--log-level"])
