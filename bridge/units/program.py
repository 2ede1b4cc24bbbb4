"""Runs a service manager's own program: ``systemctl``, ``loginctl``, ``launchctl``."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bridge.errors import ServiceError

#: Seconds for an answer, and for a job: a stop waits for streams and for a refresh under way.
ANSWER_SECONDS: Final = 10.0
JOB_SECONDS: Final = 240.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call went: its exit *code* (127: there is no such program), *output* and *errors*."""

    code: int
    output: str
    errors: str


class Programs:
    """Calls them with *environment*; *tell* hears of each job, *is_dry* keeps jobs from being done.

    *look* is the command by which a person sees why a job has failed. Questions change nothing and
    are always asked.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        tell: Callable[[str], None],
        look: str,
        *,
        is_dry: bool = False,
    ) -> None:
        self.environment = {**_with_runtime(environment), "LC_ALL": "C"}
        self._tell = tell
        self.look = look
        self.is_dry = is_dry

    def ask(self, *words: str) -> Outcome:
        """Return what the question *words* is answered."""
        return self._call(words, ANSWER_SECONDS)

    def do(self, *words: str) -> None:
        """Do the job *words*. Raises ``ServiceError`` with what the manager says if it fails."""
        self._tell(f"run {' '.join(words)}")
        outcome = Outcome(0, "", "") if self.is_dry else self._call(words, JOB_SECONDS)
        if outcome.code != 0:
            said = " ".join((outcome.errors or outcome.output).split())
            reason = f"{' '.join(words)} failed ({outcome.code}): {said or 'no reason given'}"
            raise ServiceError(f"{reason}: see: {self.look}")

    def attempt(self, *words: str) -> None:
        """Do the job *words*, which may have nothing to do, and so may fail."""
        if not self.is_dry:
            self._call(words, JOB_SECONDS)

    def _call(self, words: tuple[str, ...], seconds: float) -> Outcome:
        try:
            done = subprocess.run(  # noqa: S603 - a manager's own program
                words,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=seconds,
                check=False,
            )
        except OSError as error:
            return Outcome(127, "", str(error.strerror))
        except subprocess.TimeoutExpired:
            return Outcome(124, "", f"no answer in {seconds:.0f} s")
        return Outcome(done.returncode, done.stdout, done.stderr)


def _with_runtime(environment: Mapping[str, str]) -> Mapping[str, str]:
    """Return *environment* with the folder of the user manager's socket; cron and su set none."""
    folder = f"/run/user/{os.getuid()}"
    if environment.get("XDG_RUNTIME_DIR") or not Path(folder).is_dir():
        return environment
    return {**environment, "XDG_RUNTIME_DIR": folder}
