"""Looks, when a run of the tests is over, into all that its daemons have left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.secrets.marks import CLIENT, MARKS, leaks

#: Files that hold no secret, whatever the test was. Those of a life that was sabotaged hold some.
HARMLESS: Final = ("bridge.log*", "stderr.log", "*.pid", "refreshes-*.jsonl*")
SABOTAGED: Final = "sabotage"
#: What the fakes and the doubles of clients plant.
FAKES: Final = (*MARKS, *CLIENT.values(), "CLIENTsecret", "BODYsecret", "QUERYsecret")


def spilt(folder: Path) -> list[str]:
    """Return the files below *folder* that hold a secret and should not."""
    found: list[str] = []
    for pattern in HARMLESS:
        for path in sorted(folder.rglob(pattern)):
            if path.is_file() and SABOTAGED not in str(path.relative_to(folder)):
                content = path.read_bytes()
                if leaks({"file": content}) or any(each.encode() in content for each in FAKES):
                    found.append(str(path))
    return found
