"""A shell with nothing but stand-ins in its PATH, and what they wrote down."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

KEY: Final = "bridge-planted-caller-key-0123456789"

#: How each shell starts without anybody's settings, and how it evaluates the text in $INIT.
SHELLS: Final[Mapping[str, tuple[Sequence[str], str]]] = {
    "bash": (["bash", "--norc", "--noprofile"], 'eval "$(<"$INIT")"'),
    "zsh": (["zsh", "-f"], 'eval "$(<"$INIT")"'),
    "fish": (["fish", "--no-config"], "source $INIT"),
    "dash": (["dash"], 'eval "$(command -p cat "$INIT")"'),
}
#: What a shell or an interpreter adds to an environment of its own.
OWN: Final = {"_", "PWD", "OLDPWD", "SHLVL", "LC_CTYPE", "LOGNAME", "TERM", "USER"}

#: Writes down how it was called, then ends as the file named like it says.
_RECORDER: Final = """\
#!{python}
import json, os, pathlib, signal, sys
place = pathlib.Path({place!r})
name = pathlib.Path(sys.argv[0]).name
with open(place / (name + ".json"), "a", opener=lambda p, f: os.open(p, f, 0o600)) as file:
    print(json.dumps({{"argv": sys.argv[1:], "environment": dict(os.environ)}}), file=file)
print(name + " speaks")
verdict = place / (name + "." + (sys.argv[1].strip("-") if sys.argv[1:] else ""))
code = verdict.read_text() if verdict.exists() else "0"
if code == "TERM":
    os.kill(os.getpid(), signal.SIGTERM)
sys.exit(int(code))
"""


def shells(*names: str) -> list[Any]:
    """Return *names* as parameters of a test, skipped where a shell is not installed."""
    return [
        pytest.param(
            name,
            marks=pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed"),
        )
        for name in names
    ]


@dataclass(frozen=True)
class Desk:
    """A person at a *shell*, in a folder *place* with an awkward name."""

    shell: str
    place: Path

    @classmethod
    def at(cls, shell: str, folder: Path, *programs: str) -> Desk:
        """Return a desk with stand-ins for *programs* and a caller key."""
        place = folder / 'it\'s "a" $HOME'
        place.mkdir()
        desk = cls(shell, place)
        for name in programs:
            desk.stand_in(name)
        desk.key_file.write_text(KEY + "\n")
        desk.key_file.chmod(0o600)
        return desk

    @property
    def key_file(self) -> Path:
        """The file of the caller key."""
        return self.place / "the key"

    def stand_in(self, name: str) -> Path:
        """Put a program *name* into the PATH that writes down how it is called."""
        program = self.place / name
        program.write_text(_RECORDER.format(python=sys.executable, place=str(self.place)))
        program.chmod(0o700)
        return program

    def run(
        self, text: str, script: str, before: str = "", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run *script* in a shell that has evaluated *text*, after *before*."""
        init = self.place / "init"
        init.write_text(text)
        words, evaluates = SHELLS[self.shell]
        program = shutil.which(words[0])
        assert program is not None
        return subprocess.run(
            [program, *words[1:], "-c", f"{before}\n{evaluates}\n{script}"],
            env={**self.base, **variables},
            cwd=self.place,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @property
    def base(self) -> dict[str, str]:
        """What is set in every shell of this desk."""
        place = str(self.place)
        return {"PATH": place, "HOME": place, "INIT": str(self.place / "init")}

    def decides(self, name: str, word: str, code: str) -> None:
        """Let the stand-in *name* end with *code* when its first argument is *word*."""
        (self.place / f"{name}.{word}").write_text(code)

    def calls(self, name: str) -> list[dict[str, Any]]:
        """Return how the stand-in *name* was called, in order."""
        record = self.place / f"{name}.json"
        lines = record.read_text().splitlines() if record.exists() else []
        return [json.loads(line) for line in lines]

    def environments(self, name: str) -> list[dict[str, str]]:
        """Return the environment of each call of *name*, without what a shell adds of its own."""
        return [
            {k: v for k, v in call["environment"].items() if k not in OWN}
            for call in self.calls(name)
        ]
