"""Shows the play to a person: plain text, coloured only on a terminal that may have colour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TextIO

_BOLD: Final = "1"
_DIM: Final = "2"
_GREEN: Final = "32"
_RED: Final = "31"


class Screen:
    """Writes to *out*, each line as soon as it is known.

    ``NO_COLOR`` and ``TERM=dumb`` in *environment* are obeyed.
    """

    def __init__(self, out: TextIO, environment: Mapping[str, str]) -> None:
        self._out = out
        self._colour = (
            out.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"
        )

    def title(self, text: str) -> None:
        """Show the headline of an act, or of the whole."""
        self._line(self._in(_BOLD, text))

    def says(self, text: str) -> None:
        """Show what happens."""
        self._line(f"   {text}")

    def quotes(self, line: str) -> None:
        """Show a line that the program itself has written."""
        self._line(self._in(_DIM, f"   | {line}".rstrip()))

    def proves(self, text: str) -> None:
        """Show what has been verified."""
        self._line(f"   {self._in(_GREEN, 'ok')} {text}")

    def fails(self, text: str) -> None:
        """Show what did not work."""
        self._line(f"   {self._in(_RED, 'FAILED')} {text}")

    def gap(self) -> None:
        """Leave a line empty."""
        self._line("")

    def _in(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colour else text

    def _line(self, text: str) -> None:
        print(text, file=self._out, flush=True)
