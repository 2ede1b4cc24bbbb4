"""Runs a Python command that kills itself at a named point, as ``kill -9`` from outside would.

``python mortal.py "call bridge/service/pidfile.py PidFile.release" COMMAND WORD…``: at the call of
that function, or at its ``return``. The command is the installed one and nothing in it is changed:
the interpreter itself tells who is called.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
from types import FrameType


class Fate:
    """Kills this process at *event* (call or return) of the function *name* in *file*."""

    def __init__(self, event: str, file: str, name: str) -> None:
        self._event = event
        self._file = file
        self._name = name

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """Hear from the interpreter what happens."""
        if event != self._event:
            return
        code = frame.f_code
        if code.co_qualname == self._name and code.co_filename.endswith(self._file):
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Run the command until the point is reached."""
    fate = Fate(*sys.argv[1].split())
    sys.argv = sys.argv[2:]
    del sys.path[0]  # this folder is not the command's
    threading.setprofile(fate)
    sys.setprofile(fate)
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
