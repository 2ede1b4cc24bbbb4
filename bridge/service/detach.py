"""Steps into the background, and tells the command that asked for it how the start went.

The command forks a launcher before anything heavy is imported and before any loop or thread
exists. The launcher does what can fail at once (bind the port), detaches, goes on as the daemon,
and reports through a pipe; the command returns with that report. The room knows nothing of what
the daemon does; it is the only one that knows python-daemon.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import select
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NoReturn

from daemon import DaemonContext

from bridge.errors import BridgeError

log = logging.getLogger("bridge")

MAX_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a start went: the *exit_code* for the shell, and a *line* that says why if not 0."""

    exit_code: int
    line: str = ""


class Reporter:
    """The daemon's side of the pipe; the first report counts, and closes it.

    A command that has gone (Ctrl-C) keeps no daemon from starting.
    """

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def detach(self, keep: Iterable[int] = (), log_file: int | None = None) -> None:
        """Leave terminal, session and folder behind; only the descriptors in *keep* stay open.

        Output goes to *log_file* from now on, or nowhere. Files are created for the user alone,
        and no core file with tokens in it is ever written.
        """
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            if getattr(sys, name) is None:  # the command was started with it closed
                mode = "w" if number else "r"
                setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115
        output = None if log_file is None else os.fdopen(log_file, "ab", closefd=False)
        context = DaemonContext(
            # Else python-daemon decides by its parents whether to detach at all.
            detach_process=True,
            umask=0o077,
            working_directory="/",
            prevent_core=True,
            files_preserve=[self._pipe, *keep],
            stdout=output,
            stderr=output,
            # SIGTERM is the service's own; an early --reload must not end what is just starting.
            signal_map={signal.SIGHUP: None},
        )
        with _undisturbed():  # it forks, and forks again
            context.open()

    def ready(self) -> None:
        """Report that requests are answered."""
        self._report("0 ")

    def failed(self, exit_code: int, line: str) -> bool:
        """Report that the start failed, and why; return whether there was somebody to tell."""
        return self._report(f"{exit_code} {line}")

    def _report(self, text: str) -> bool:
        pipe, self._pipe = self._pipe, -1
        if pipe < 0:
            return False
        try:
            os.write(pipe, text.encode()[:MAX_BYTES])
        except BrokenPipeError:
            return False
        finally:
            os.close(pipe)
        return True


def run_detached(
    body: Callable[[Reporter], int], seconds: float, *, log_path: str = "the log"
) -> Verdict:
    """Run *body* in a child process and return what it reports, within *seconds*.

    *body* calls ``detach`` once it may leave the terminal, and after that ``ready``, or ``failed``
    at any time; its result is the daemon's exit code. A ``BridgeError`` that it raises is reported
    for it. In the child this function does not return but leaves with ``SystemExit``. A child that
    has not detached in time is killed; one that has is left to itself.
    """
    _fill_standard_streams()
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.flush()  # else both processes would print what is still in here
    reading, writing = os.pipe()
    with _undisturbed():
        launcher = os.fork()
    if launcher == 0:
        os.close(reading)
        _launch(body, Reporter(writing))
    os.close(writing)
    try:
        in_time = bool(select.select([reading], [], [], seconds)[0])
        report = _read(reading) if in_time else b""
    finally:
        os.close(reading)
    if not in_time:
        _kill(launcher)
        return Verdict(1, f"the daemon has not answered in {seconds:g} s: look at {log_path}")
    os.waitpid(launcher, 0)  # it ends by detaching, or has failed and is about to
    return _verdict(report, log_path)


def no_core() -> None:
    """Let this process never write a core file, which would hold tokens."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Put off Ctrl-C: one that hits Python's own hooks around a fork prints a traceback."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _launch(body: Callable[[Reporter], int], reporter: Reporter) -> NoReturn:
    try:
        code = body(reporter)
    except BridgeError as error:
        if not reporter.failed(error.exit_code, str(error)):
            log.error("daemon failed reason=%s", error)
        code = error.exit_code
    except KeyboardInterrupt:  # Ctrl-C in the terminal; the command says so
        code = 130
    except Exception as error:
        # A bug, at the top of a process: the person who waits is told, the log gets the traceback.
        log.exception("daemon failed")
        reporter.failed(1, f"the start failed ({type(error).__name__}: {error})")
        code = 1
    raise SystemExit(code)


def _read(pipe: int) -> bytes:
    """Return everything until the other side closes the pipe, as it does right after a report."""
    report = b""
    while received := os.read(pipe, MAX_BYTES):
        report += received
    return report


def _verdict(report: bytes, log_path: str) -> Verdict:
    code, _, line = report.decode(errors="replace").partition(" ")
    if not code:
        return Verdict(1, f"the daemon died while it was starting: look at {log_path}")
    return Verdict(int(code), line)


def _kill(launcher: int) -> None:
    """End the direct child, unless it has detached: then it has ended already."""
    if os.waitpid(launcher, os.WNOHANG)[0] == 0:
        os.kill(launcher, signal.SIGKILL)
        os.waitpid(launcher, 0)


def _fill_standard_streams() -> None:
    """Open what a bare parent left closed, before the pipe gets number 0, 1 or 2."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < 3:
        os.set_inheritable(descriptor, True)  # noqa: FBT003
    os.close(descriptor)
