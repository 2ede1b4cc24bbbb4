"""A login and all who live with it, in one process and in no time: for models of what may happen.

Store, refresh and source are the real ones, on a real folder. The authorization server is the real
grants of the fakes, asked without a socket, so that nothing waits for anything but the clock. What
may go wrong is a switch here: the disk, the answer, a process that dies at a step.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import errno
import json
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from bridge.clock import Clock
from bridge.credentials.device import Device
from bridge.credentials.journal import Journal
from bridge.credentials.login import Login
from bridge.credentials.refresh import Refresh
from bridge.credentials.rotating import OAuthSource
from bridge.credentials.store import Store
from bridge.credentials.successor import Successor, leftovers, successor_path
from bridge.errors import AnswerLost, AuthorizationServerError, CredentialUnreadable
from bridge.oauth.grant import GrantReply, GrantRequest
from bridge.oauth.token import Token, stored
from bridge.providers import KIMI_CLIENT_ID, OAuth
from tests.fakes.clock import EPOCH, FakeClock
from tests.fakes.credential import credential_file, read_credential, write_credential
from tests.fakes.grants import Authority

T = TypeVar("T")

#: How a disk may be, beside good; the last four end the process that writes.
FULL, REFUSES, TORN = "full", "refuses", "torn"
DEATHS: Final = ("before write", "half written", "before install", "after install")
#: Answers that a server may give in the place of its own: status, body, whether it acts first.
#: Those that are lost have no status.
ANSWERS: Final[dict[str, tuple[int, str, bool]]] = {
    "500": (500, "oops", False),
    "503": (503, '{"error": "temporarily_unavailable"}', False),
    "429": (429, "", False),
    "502": (502, "<html>", False),
    "html": (200, "<html>log in to the wireless network</html>", False),
    "portal": (401, "<html>", False),
    "unreachable": (-1, "", False),
    "lost before": (0, "", False),
    "lost after": (0, "", True),
    "502 after": (502, "<html>", True),
    "refused": (400, '{"error": "invalid_grant"}', False),
}
#: Turns of the event loop after which whoever can go on without the clock has done so.
TURNS: Final = 40


class Killed(BaseException):
    """The process has ended here; nothing of it tidies up."""


class Inline(concurrent.futures.ThreadPoolExecutor):
    """Does what is meant for a thread at once, so that time is in the hand of the test."""

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> concurrent.futures.Future[Any]:
        """Run it and return what came of it."""
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - whoever awaits it gets it
            future.set_exception(error)
        return future


class ServersClock:
    """The clock of the server: it is right, however that of the machine jumps."""

    def __init__(self, machine: FakeClock) -> None:
        self._machine = machine
        self._began = machine.monotonic()

    def now(self) -> float:
        """Return the true time."""
        return EPOCH + self._machine.monotonic() - self._began

    monotonic = now

    async def sleep(self, seconds: float) -> None:
        """Wait with the machine."""
        await self._machine.sleep(seconds)

    def pause(self, seconds: float) -> None:
        """Wait with the machine."""
        self._machine.pause(seconds)


class _Odd(Successor):
    """A successor whose disk fails, or whose process dies, as *fate* says."""

    fate = ""

    def write(self, token: Token) -> None:
        """Write it, or fail."""
        if self.fate == TORN:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if self.fate == "before write":
            raise Killed
        if self.fate == "half written":
            os.pwrite(self._descriptor, json.dumps(token.document()).encode()[:300], 0)
            raise Killed
        super().write(token)
        if self.fate == "before install":
            raise Killed

    def install(self) -> os.stat_result:
        """Take the place, or fail."""
        if self.fate in {REFUSES, TORN}:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        status = super().install()
        if self.fate == "after install":
            raise Killed
        return status


class Disk(Store):
    """A store on a disk in some *state*: good when empty."""

    state = ""

    def reserve(self, predecessor: Token) -> Successor:
        """Make room where there is some."""
        if self.state == FULL:
            raise CredentialUnreadable(f"{self.path} cannot be written (no space left)")
        successor = _Odd.reserve(self.path, predecessor)
        assert isinstance(successor, _Odd)
        successor.fate = self.state
        return successor

    def recover(self) -> bool:
        """Finish what was cut short, where the disk lets it."""
        if self.state in {REFUSES, TORN} and self.interrupted():
            raise CredentialUnreadable(f"{self.path} cannot be written (Input/output error)")
        return super().recover()


class Presented(NamedTuple):
    """A *refresh* token sent *at* a moment: *spent* before, or refused before and sent *again*."""

    refresh: str
    at: float
    spent: bool
    again: bool


class Wire:
    """Carries grants to *authority*; *answers* are given first, *meanwhile* happens in between.

    *presented* are the refresh tokens that were sent to it, in order; *refused* those that it will
    not take again, as it said.
    """

    def __init__(self, authority: Authority, clock: Clock) -> None:
        self.authority = authority
        self.clock = clock
        self.answers: list[str] = []
        self.meanwhile: Callable[[], None] | None = None
        self.dies = ""
        self.presented: list[Presented] = []
        self.refused: set[str] = set()

    async def send(self, request: GrantRequest) -> GrantReply:
        """Carry *request*, or lose it, as the next of *answers* says."""
        if self.dies == "before sending":
            raise Killed
        name = self.answers.pop(0) if self.answers and "refresh_token" in request.form else ""
        status, body, acts = ANSWERS.get(name, (0, "", True))
        if status < 0:
            raise AuthorizationServerError("no connection: try again")
        self._notes(request.form.get("refresh_token", ""))
        if acts:
            answer = self._acts(request)
            status, body = (status, body) if name else (answer[0], json.dumps(answer[1]))
        if (meanwhile := self.meanwhile) is not None:
            self.meanwhile = None
            meanwhile()
        if self.dies == "after rotation":
            raise Killed
        if not status:
            raise AnswerLost("the answer was lost: try again")
        reply = GrantReply(status, body.encode())
        if reply.error == "invalid_grant" and "refresh_token" in request.form:
            self.refused.add(request.form["refresh_token"])
        return reply

    def _notes(self, refresh: str) -> None:
        if refresh:
            known = self.authority.refresh.get(refresh)
            spent = known is None or known.spent
            again = refresh in self.refused
            self.presented.append(Presented(refresh, self.clock.now(), spent=spent, again=again))

    def _acts(self, request: GrantRequest) -> tuple[int, dict[str, Any]]:
        if request.url.endswith("device_authorization"):
            return self.authority.device_authorization(request.form, "https://a.example/code")
        return self.authority.token(request.form)


class Box:
    """One bridge on the share folder, from its start to its end."""

    def __init__(self, share: Path, authority: Authority, clock: Clock) -> None:
        self.wire = Wire(authority, clock)
        self.disk = Disk(credential_file(share), clock)
        self.device = Device(share / "device_id")
        self.oauth = OAuth(host="https://a.example", client_id=KIMI_CLIENT_ID)
        self.clock = clock
        self.refresh = Refresh(
            store=self.disk,
            oauth=self.oauth,
            endpoint=self.wire,
            clock=clock,
            headers=self.device.grant_headers,
            journal=Journal(share / "journal.json", clock),
        )
        self.source = OAuthSource(store=self.disk, refresh=self.refresh, clock=clock)

    def login(self) -> Login:
        """Return a new device flow."""
        return Login(
            store=self.disk,
            oauth=self.oauth,
            endpoint=self.wire,
            clock=self.clock,
            device=self.device,
        )


class Dwelling:
    """A person's share folder, the server that knows their login, and one bridge at a time."""

    def __init__(self, share: Path, *, stern: bool) -> None:
        self.share = share
        self.clock = FakeClock()
        self.authority = Authority(ServersClock(self.clock))
        self.authority.stern, self.authority.auto_approve = stern, 1
        self._runner = asyncio.Runner()
        self._runner.get_loop().set_default_executor(Inline())
        self.neighbour_logs_in()
        self.box = Box(share, self.authority, self.clock)

    def close(self) -> None:
        """End whatever still runs."""
        self._runner.close()

    def runs(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what *work* returns; the clock moves as far as it has to."""
        return self._runner.run(self._driven(work))

    def restarts(self) -> None:
        """End the bridge where it stands, and start another, as the daemon starts it."""

        async def ends() -> None:
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
                await asyncio.wait([task])

        state = self.box.disk.state
        self._runner.run(ends())
        self.box = Box(self.share, self.authority, self.clock)
        self.box.disk.state = "" if state in DEATHS else state
        self.runs(self.box.source.recover())

    async def settled(self) -> None:
        """Return when no refresh is under way."""
        while self.box.source._task is not None:
            await asyncio.wait([self.box.source._task])

    @property
    def credential(self) -> dict[str, Any] | None:
        """What the file holds, read by foreign code."""
        return read_credential(self.share)

    def neighbour_logs_in(self) -> None:
        """Write a new login, as the official CLI does."""
        write_credential(self.share, self.authority.seed(), self.clock.now())

    def neighbour_refreshes(self) -> None:
        """Rotate what is in the file, as the official CLI does; a refusal changes nothing."""
        if (found := self.credential) is None:
            return
        refresh = found["refresh_token"]
        form = {"client_id": KIMI_CLIENT_ID, "grant_type": "refresh_token"}
        status, answer = self.authority.token({**form, "refresh_token": refresh})
        if status == 200:
            write_credential(self.share, answer, self.clock.now())

    def recoverable(self) -> bool:
        """Say whether a refresh token that the server would take is on disk or in memory."""
        return any(self._lives(refresh) for refresh in self._held())

    def _lives(self, refresh: str) -> bool:
        token = self.authority.refresh.get(refresh)
        return token is not None and not token.spent and not token.family.revoked

    def _held(self) -> set[str]:
        held = set()
        if (found := self.credential) is not None and (token := stored(found)) is not None:
            held.add(token.refresh)
            path = successor_path(credential_file(self.share), token)
            if path in set(leftovers(credential_file(self.share))):
                held |= {written["refresh_token"] for written in _document(path)}
            if (unsaved := self.box.source._unsaved) is not None:
                held.add(unsaved.token.refresh)
        return held

    async def _driven(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.create_task(work)
        while not task.done():
            for _ in range(TURNS):
                await asyncio.sleep(0)  # noqa: TID251 - nothing but the clock is waited for
            if not task.done():
                assert self.clock.deadlines, "this waits for nothing that will come"
                self.clock.advance(self.clock.deadlines[0])
        return task.result()


def _document(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(path.read_text())]
    except ValueError:
        return []
