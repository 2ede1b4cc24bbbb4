"""A bridge in miniature: the token source alone, as a process that is told what to do.

It reads a command a line, obeys, and prints a JSON line about what came of it. For tests that
need processes which can be killed at a step, run under another user, or race each other.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, ClassVar

from bridge.clock import SystemClock
from bridge.credentials.chronicle import Outcome
from bridge.credentials.journal import Journal
from bridge.credentials.store import LOCK_PATIENCE_SECONDS, Credential, Store
from bridge.credentials.successor import Successor
from bridge.errors import BridgeError
from bridge.oauth.grant import GrantRequest
from bridge.oauth.token import Token
from tests.credentials.strongbox import Strongbox
from tests.fakes.child import Child

#: Where a refresh can be stopped, in the order in which it gets there.
STEPS = (
    *("before the lock", "lock held", "room reserved", "begin noted"),
    *("answer received", "written", "renamed", "end noted"),
)


class ShiftedClock(SystemClock):
    """The clock of a machine on which it is already later."""

    __slots__ = ("_ahead",)

    def __init__(self, ahead: float) -> None:
        self._ahead = ahead

    def now(self) -> float:
        """Return the wall clock, which is ahead of the others'."""
        return super().now() + self._ahead


class StoppingSuccessor(Successor):
    """A successor that stops the process before and after it takes its place."""

    def install(self) -> os.stat_result:
        """Stop, take the place, stop."""
        StoppingStore.reached("written")
        status = super().install()
        StoppingStore.reached("renamed")
        return status


class StoppingStore(Store):
    """The store, of a process that stops itself once it has reached *step*."""

    step: ClassVar[str] = ""

    @classmethod
    def reached(cls, step: str) -> None:
        """Stop here for good, if this is the step: whoever looks may kill the process now."""
        if step == cls.step:
            os.kill(os.getpid(), signal.SIGSTOP)
            threading.Event().wait()  # the other threads are stopped first, maybe

    @contextlib.asynccontextmanager
    async def lock(
        self,
        patience: float = LOCK_PATIENCE_SECONDS,
        enough: Callable[[], bool] = lambda: False,
    ) -> AsyncIterator[bool]:
        """Stop before the lock."""
        self.reached("before the lock")
        async with super().lock(patience, enough) as held:
            yield held

    def recover(self) -> bool:
        """Stop with the lock held: this is the first thing done under it."""
        self.reached("lock held")
        return super().recover()

    def reserve(self, predecessor: Token) -> Successor:
        """Stop with room made and nothing sent."""
        try:
            successor = StoppingSuccessor.reserve(self.path, predecessor)
        except OSError as error:
            raise self._unwritable(error) from None
        self.reached("room reserved")
        return successor

    def commit(self, successor: Successor, token: Token) -> Credential | None:
        """Stop with the answer in memory only."""
        self.reached("answer received")
        return super().commit(successor, token)


class StoppingJournal(Journal):
    """The journal, of the same process."""

    def begun(self, token: Token) -> None:
        """Stop once it is known what is about to be sent."""
        super().begun(token)
        StoppingStore.reached("begin noted")

    def ended(self, token: Token, outcome: Outcome, successor: Token | None = None) -> None:
        """Stop once it is known what came of it."""
        super().ended(token, outcome, successor)
        StoppingStore.reached("end noted")


class BridgeProcess(Child):
    """The program in a child process, as a context manager; its methods block.

    Its wall clock is *ahead* by so many seconds, and it stops itself at *step*. Started by root it
    becomes *uid*.
    """

    module = "tests.credentials.program"

    def __init__(
        self, share_dir: Path, url: str, *, ahead: float = 0, step: str = "", uid: int = 0
    ) -> None:
        super().__init__(
            f"--share-dir={share_dir}", f"--url={url}", f"--ahead={ahead}", f"--step={step}",
            f"--uid={uid}",
        )  # fmt: skip

    def does(self, command: str) -> dict[str, Any]:
        """Let it do *command* and return what came of it."""
        self.tell(command)
        return self.said()

    def said(self) -> dict[str, Any]:
        """Return the next line that it prints."""
        line = next(self.lines(), "")
        if not line:
            raise LookupError("it has ended without a word")
        document: dict[str, Any] = json.loads(line)
        return document

    def stopped(self) -> bool:
        """Wait until it has stopped itself, and say so; false when it has ended instead."""
        flags = os.WSTOPPED | os.WEXITED | os.WNOWAIT
        result = os.waitid(os.P_PID, self.pid, flags)
        return result is not None and result.si_code == os.CLD_STOPPED

    def dies(self) -> None:
        """Kill it where it stands, and reap it."""
        os.kill(self.pid, signal.SIGKILL)
        self.ends()


class Program:
    """What the child does; each method is a command."""

    def __init__(self, box: Strongbox) -> None:
        self.box = box
        self.source = box.source
        self.seen: Counter[str] = Counter()

    async def current(self) -> dict[str, Any]:
        """Ask for a token as a request does, and see the refresh beside it to its end."""
        token = await self.source.current()
        await self.source.settle()
        return {"access": token.access}

    async def begin(self) -> dict[str, Any]:
        """Ask for a token and leave the refresh beside it alone."""
        return {"access": (await self.source.current()).access}

    async def start(self) -> dict[str, Any]:
        """Take stock as a daemon does that starts."""
        await self.source.recover()
        return self.condition()

    async def tell(self) -> dict[str, Any]:
        """Tell how the login is doing, without asking for anything."""
        return self.condition()

    async def save(self) -> dict[str, Any]:
        """Try again to save what is unsaved."""
        await self.source.save()
        return self.condition()

    async def lock(self) -> dict[str, Any]:
        """Take the lock and give it back."""
        async with self.box.store.lock(0):
            return {}

    async def login(self) -> dict[str, Any]:
        """Begin a login."""
        return {"code": (await self.box.login().begin()).user_code}

    async def hammer(self) -> dict[str, Any]:
        """Ask again and again, as busy agents would, until there is another line to read.

        Prints a line for each token that it sees for the first time.
        """
        another = asyncio.create_task(_line())
        last = ""
        while not another.done():
            token = await self.source.current()
            if token.access != last:
                last = token.access
                self.seen["tokens"] += 1
                print(json.dumps({"tokens": self.seen["tokens"]}), flush=True)
            if random.random() < 0.02:
                self.seen["renewals"] += 1
                self.source.renew()
            await self.box.clock.sleep(0.01)
        await self.source.settle()
        return {"seen": self.seen, "done": True}

    def condition(self) -> dict[str, Any]:
        """Tell how the login is doing."""
        condition = self.source.condition()
        return {
            "ready": condition.ready,
            "problem": condition.problem,
            "note": condition.note,
            "failure": condition.failure,
        }

    async def obeys(self, command: str) -> dict[str, Any]:
        """Do *command* and return what came of it, errors included."""
        try:
            result: dict[str, Any] = await getattr(self, command)()
        except BridgeError as error:
            return {"error": type(error).__name__, "text": str(error)}
        return result


async def _becomes(uid: int, box: Strongbox) -> None:
    """Give up being root, once all is imported that the other user may not be able to read."""
    await asyncio.to_thread(os.getpid)
    await box.endpoint.send(GrantRequest(f"{box.oauth.host}/api/nothing", {}, {}))
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)


async def _line() -> str:
    line: str = await asyncio.to_thread(sys.stdin.readline)
    return line.strip()


async def _obeys_all(options: argparse.Namespace) -> None:
    clock = ShiftedClock(options.ahead)
    StoppingStore.step = options.step
    async with Strongbox(
        options.share_dir, options.url, clock, StoppingStore, StoppingJournal
    ) as box:
        program = Program(box)
        if options.uid:
            await _becomes(options.uid, box)
        while command := await _line():
            print(json.dumps(await program.obeys(command)), flush=True)


def main() -> None:
    """Obey until there is no more to read."""
    parser = argparse.ArgumentParser(description="a token source that does as it is told")
    parser.add_argument("--share-dir", type=Path, required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--ahead", type=float, default=0.0)
    parser.add_argument("--step", choices=["", *STEPS], default="")
    parser.add_argument("--uid", type=int, default=0)
    options = parser.parse_args()
    asyncio.run(_obeys_all(options))


if __name__ == "__main__":
    main()
