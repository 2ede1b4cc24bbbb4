"""What a person sees of the demo."""

from __future__ import annotations

import io

import pytest

from bridge.demo.screen import Screen


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say yes."""
        return True


def _shown(out: io.StringIO, **environment: str) -> str:
    screen = Screen(out, environment)
    screen.title("An act")
    screen.says("it happens")
    screen.quotes("the program speaks")
    screen.quotes("")
    screen.proves("it worked")
    screen.fails("it did not")
    screen.gap()
    return out.getvalue()


PLAIN = """\
An act
   it happens
   | the program speaks
   |
   ok it worked
   FAILED it did not

"""


def test_pipe() -> None:
    """Into a file or a pipe goes plain text."""
    assert _shown(io.StringIO()) == PLAIN


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_terminal_without_colour(environment: dict[str, str]) -> None:
    """A terminal that has no colour, or wants none, gets none."""
    assert _shown(Terminal(), **environment) == PLAIN


def test_terminal() -> None:
    """A terminal gets colours around the same words."""
    shown = _shown(Terminal(), TERM="xterm", NO_COLOR="")
    assert "\x1b[32mok\x1b[0m it worked" in shown
    assert "\x1b[31mFAILED\x1b[0m" in shown
