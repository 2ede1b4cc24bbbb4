"""The official CLI, as far as the credential file is concerned: a foreign process of its own code.

It does what kimi-cli 1.49.0 does with the file both share: same threshold, same raw ``flock``,
same impatience, same order of reading and writing. It knows nothing of bridge. It prints one JSON
line for each thing it does, and a summary of them when it ends. Being foreign it may sleep; a test
waits for what it prints, by :class:`Neighbour`.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import http.client
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from tests.fakes.child import Child
from tests.fakes.credential import lock_file, read_credential, write_credential

CLIENT_ID = "17e5f671-d194-4dfb-9706-5516cb48c098"
_TRANSIENT = {429, 500, 502, 503, 504}
_sleep = time.sleep  # noqa: TID251  # a foreign process has its own time
_now = time.time  # noqa: TID251


class OfficialCli:
    """One process of the official CLI; *options* are its command line."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.share_dir: Path = options.share_dir
        self.counts: Counter[str] = Counter()
        self.rejected: dict[str, float] = {}

    def ensure_fresh(self) -> None:
        """Refresh the credential if it is due, as before each turn of a conversation."""
        found = read_credential(self.share_dir)
        if found is None:
            self.did("logged-out")
        elif self.due(found) and self.rejected.get(found["refresh_token"], 0) < _now() - 300:
            with self.locked():
                self.refresh(found["refresh_token"])
        else:
            self.did("fresh")

    def due(self, credential: dict[str, Any]) -> bool:
        """Say whether a refresh is due: ``half`` leaves out the floor of 300 seconds."""
        if self.options.force:
            return True
        floor = 300.0 if self.options.threshold == "official" else 0.0
        margin = max(floor, float(credential.get("expires_in", 0)) * 0.5)
        return float(credential.get("expires_at", 0)) - _now() < margin

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock, or after some patience go ahead without it."""
        descriptor = os.open(lock_file(self.share_dir), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            for pauses_left in reversed(range(self.options.impatient_after + 1)):
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if pauses_left == self.options.impatient_after:
                        self.did("waiting")
                    if pauses_left:
                        _sleep((1 + random.random()) * self.options.patience)
            else:
                self.did("unlocked")
            self.reached("locked")
            yield
        finally:
            os.close(descriptor)

    def refresh(self, remembered: str) -> None:
        """Re-read, adopt what somebody else has fetched, or fetch and save."""
        found = read_credential(self.share_dir)
        if found is None:
            self.did("logged-out")
            return
        spent = found["refresh_token"]
        if spent != remembered or not self.due(found):
            self.did("adopted")
            return
        status, answer = self.post(spent)
        self.reached("answered")
        if status != 200:
            self.refused(status, spent)
            return
        try:
            write_credential(self.share_dir, answer, _now())
        except KeyError as missing:
            self.did("lost", missing=str(missing))  # the original throws the new token away, too
        else:
            self.did("refreshed")

    def refused(self, status: int, spent: str) -> None:
        """Take a refusal: nothing is deleted; only after 401 and 403 is the file read again."""
        if status in {401, 403}:
            _sleep(1)
            found = read_credential(self.share_dir)
            if found is not None and found["refresh_token"] != spent:
                self.did("adopted")
                return
            self.rejected[spent] = _now()
        self.did("refused", status=status)

    def post(self, spent: str) -> tuple[int, dict[str, Any]]:
        """Ask for a new token, three times if the server is unwell; status 0 is no answer at all.

        Like the original it sends the same token again after an answer that was lost.
        """
        status = 0
        for pause in (1, 2, 0):
            with contextlib.suppress(OSError, http.client.HTTPException):
                status, body = self.asked(spent)
                if status not in _TRANSIENT:
                    with contextlib.suppress(ValueError):
                        return status, json.loads(body)
                    return status, {}
            _sleep(pause)
        return status, {}

    def asked(self, spent: str) -> tuple[int, bytes]:
        """Post one refresh and return status and body."""
        parts = urlsplit(self.options.auth_url)
        form = {"client_id": CLIENT_ID, "grant_type": "refresh_token", "refresh_token": spent}
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Msh-Platform": "kimi_cli",
            "X-Msh-Version": "1.49.0",
        }
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        with contextlib.closing(connection):
            connection.request("POST", "/api/oauth/token", urlencode(form), headers)
            response = connection.getresponse()
            return response.status, response.read()

    def reached(self, point: str) -> None:
        """Stop at *point* if asked to, until a line comes in."""
        if self.options.stop_at == point:
            print(json.dumps({"event": point}), flush=True)
            sys.stdin.readline()

    def did(self, event: str, **more: object) -> None:
        """Say what has happened."""
        self.counts[event] += 1
        if event != "fresh":
            print(json.dumps({"event": event, **more}), flush=True)


class Neighbour(Child):
    """The official CLI in a child process, as a context manager; its methods block.

    It goes *rounds* times through its check, *pause* seconds apart. *threshold* ``"half"`` is for
    tokens that live for less than ten minutes, and *force* refreshes every time, as after a 401 or
    a sleep of the machine. *stop_at* ``"locked"`` or ``"answered"`` lets it wait there for
    :meth:`go_on`. *patience* scales the pauses before it goes ahead unlocked, of which it makes
    *impatient_after*.
    """

    module = "tests.fakes.neighbour"

    def __init__(
        self,
        share_dir: Path,
        auth_url: str,
        *,
        rounds: int = 1,
        pause: float = 0.0,
        threshold: str = "half",
        force: bool = False,
        stop_at: str = "",
        impatient_after: int = 5,
        patience: float = 1.0,
    ) -> None:
        self.events: list[dict[str, Any]] = []
        named = {
            "--share-dir": share_dir,
            "--auth-url": auth_url,
            "--rounds": rounds,
            "--pause": pause,
            "--threshold": threshold,
            "--stop-at": stop_at,
            "--impatient-after": impatient_after,
            "--patience": patience,
        }
        arguments = [str(part) for pair in named.items() for part in pair]
        super().__init__(*arguments, *(["--force"] if force else []))

    def until(self, event: str) -> dict[str, Any]:
        """Return the next line about *event*; raises ``LookupError`` if it ends without one."""
        for line in self.lines():
            self.events.append(json.loads(line))
            if self.events[-1]["event"] == event:
                return self.events[-1]
        raise LookupError(f"no {event!r} among {self.events}")

    def go_on(self) -> None:
        """Let it continue from where it has stopped."""
        self.tell("")

    def wait(self) -> dict[str, int]:
        """Wait for its end and return its summary: how often each event has happened."""
        counts: dict[str, int] = self.until("summary")["counts"]
        self.ends()
        return counts


def main() -> None:
    """Be the official CLI for some rounds."""
    parser = argparse.ArgumentParser(description="refresh a shared credential as kimi-cli does")
    parser.add_argument("--share-dir", type=Path, required=True)
    parser.add_argument("--auth-url", required=True)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--pause", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--threshold", choices=["official", "half"], default="official")
    parser.add_argument("--force", action="store_true")
    parser.add_argument("--stop-at", choices=["", "locked", "answered"], default="")
    parser.add_argument("--impatient-after", type=int, default=5, metavar="PAUSES")
    parser.add_argument("--patience", type=float, default=1.0, metavar="FACTOR")
    options = parser.parse_args()
    cli = OfficialCli(options)
    for _ in range(options.rounds):
        cli.ensure_fresh()
        _sleep(options.pause)
    print(json.dumps({"event": "summary", "counts": cli.counts}), flush=True)


if __name__ == "__main__":
    main()
