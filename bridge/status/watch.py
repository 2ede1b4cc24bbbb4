"""Keeps a screen up to date on a terminal, which it gives back as it was however that ends."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final, Self

#: Seconds between two looks.
RHYTHM_SECONDS: Final = 1.0

_ENTER: Final = "\x1b[?1049h\x1b[?25l"  # the alternate screen, without a cursor
_LEAVE: Final = "\x1b[?25h\x1b[?1049l"
_ENDING: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
_HEARD: Final = (*_ENDING, signal.SIGWINCH, signal.SIGTSTP)

#: Takes how many columns there are; returns an exit code and what to show.
Look = Callable[[int], tuple[int, list[str]]]


def watched(look: Look) -> int:
    """Show what *look* gives once a second, until q, Ctrl-C, SIGTERM or the terminal's end.

    Returns the last exit code that it gave. Takes a terminal on stdin and stdout.
    """
    code = 0
    with _signals() as told, Terminal() as terminal:
        goes_on = True
        while goes_on:
            columns, height = terminal.size()
            code, lines = look(columns)
            goes_on = terminal.show(frame(lines, height)) and _waits(told, terminal)
    return code


def frame(lines: list[str], height: int) -> str:
    """Return what draws *lines* over whatever is there, as far as *height* lines have room."""
    room = max(1, height - 1)
    if len(lines) > room:
        hidden = len(lines) - room + 1
        lines = [*lines[: room - 1], f"… {hidden} more lines: make the window taller"]
    drawn = "".join(f"{line}\x1b[K\r\n" for line in lines)
    return f"\x1b[H{drawn}q: quit\x1b[K\x1b[J"


class Terminal:
    """The terminal of stdin and stdout: all of it is ours while the context lasts."""

    def __enter__(self) -> Self:
        self._mode = termios.tcgetattr(sys.stdin)
        self._take()
        return self

    def __exit__(self, *reason: object) -> None:
        with contextlib.suppress(OSError, termios.error):  # it may be gone
            self._give_back()

    def size(self) -> tuple[int, int]:
        """Return its columns and lines; a terminal that is gone has the usual ones."""
        try:
            columns, height = os.get_terminal_size(sys.stdout.fileno())
        except OSError:
            return 80, 24
        return columns or 80, height or 24

    def show(self, text: str) -> bool:
        """Write *text* at once; say whether there still is a terminal."""
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError:
            return False
        return True

    def keys(self) -> bytes:
        """Return what has been typed; nothing means that the terminal is gone."""
        try:
            return os.read(sys.stdin.fileno(), 64)
        except OSError:
            return b""

    def stand_aside(self) -> None:
        """Let the shell have it (Ctrl-Z), and take it again when the shell says so."""
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()

    def _take(self) -> None:
        tty.setcbreak(sys.stdin)
        self.show(_ENTER)

    def _give_back(self) -> None:
        self.show(_LEAVE)
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._mode)


def _waits(told: int, terminal: Terminal) -> bool:
    """Wait until it is time for another look, or something happens; say whether to go on."""
    ready, _, _ = select.select([told, sys.stdin], [], [], RHYTHM_SECONDS)
    if told in ready:
        numbers = set(os.read(told, 64))
        if numbers & _ENDING:
            return False
        if signal.SIGTSTP in numbers:
            terminal.stand_aside()
    if sys.stdin in ready:
        keys = terminal.keys()
        return bool(keys) and b"q" not in keys.lower()
    return True


@contextlib.contextmanager
def _signals() -> Iterator[int]:
    """Return a descriptor from which the numbers of signals are read that would end or stop us."""
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    before = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    handlers = {number: signal.signal(number, _heard) for number in _HEARD}
    try:
        yield told
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before)
        os.close(told)
        os.close(tell)


def _heard(number: int, interrupted: FrameType | None) -> None:
    """Do nothing: the descriptor tells."""
