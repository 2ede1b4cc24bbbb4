"""The authorization server of Kimi on a loopback port: real grants, and every known bad habit.

In a test: ``async with AuthorizationServer() as server``. As a process, for real daemons and
neighbours: ``python -m tests.fakes.authorization --port 0``, driven by
:class:`AuthorizationProcess`. What it grants is authlib's doing (``grants``); here it is decided
whether, when and how broken an answer comes back.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge.clock import Clock, SystemClock
from tests.fakes.child import LoopbackProcess, serve
from tests.fakes.credential import write_credential
from tests.fakes.exchange import Exchange, Request
from tests.fakes.grants import ACCESS_MARK, REFRESH_MARK, Authority
from tests.fakes.loopback import LoopbackServer
from tests.fakes.steering import steer

__all__ = [
    "ACCESS_MARK",
    "REFRESH_MARK",
    "Answer",
    "AuthorizationProcess",
    "AuthorizationServer",
    "write_credential",
]


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent; *body* is bytes, or a document sent as JSON. See ``next_answer``."""

    status: int
    body: bytes | Mapping[str, Any] = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    acts: bool = False


class AuthorizationServer(Authority, LoopbackServer):
    """Kimi's authorization server, to be steered by attributes and verbs.

    *answers_to_come* are given instead of the true ones. *hold_before* and *hold_after* stop the
    world around the server's own act (the rotation), for token requests: :meth:`request_arrived`,
    then :meth:`release`. *lose* so many token answers are never given, and the connection is
    reset; the act is done first unless *loses_before*. *delay* in seconds passes after the act.
    """

    def __init__(self, clock: Clock | None = None, *, stern: bool = False, port: int = 0) -> None:
        Authority.__init__(self, clock or SystemClock())
        LoopbackServer.__init__(self, port)
        self.stern = stern
        self.answers_to_come: deque[Answer] = deque()
        self.hold_before = False
        self.hold_after = False
        self.lose = 0
        self.loses_before = False
        self.delay = 0.0
        self._held: asyncio.Queue[Request] = asyncio.Queue()
        self._released = asyncio.Event()

    async def request_arrived(self) -> Request:
        """Return the next token request that is held, once it is."""
        return await self._held.get()

    def release(self) -> None:
        """Let go what is held, and hold no more."""
        self.hold_before = self.hold_after = False
        self._released.set()
        self._released = asyncio.Event()

    def lose_answers(self, times: int = 1, *, after_rotation: bool = True) -> None:
        """Reset the connection of the next token requests, after or before acting on them."""
        self.lose, self.loses_before = times, not after_rotation

    def next_answer(
        self,
        status: int,
        body: bytes | Mapping[str, Any] = b"",
        headers: Mapping[str, str] | None = None,
        *,
        acts: bool = False,
    ) -> None:
        """Give this answer to the next request, of either kind, that has none waiting for it yet.

        With *acts* the server first does what it was asked: a 500 after a rotation.
        """
        self.answers_to_come.append(Answer(status, body, headers or {}, acts))

    async def answer(self, exchange: Exchange) -> None:
        """Answer either endpoint; nothing else is there."""
        request = exchange.request
        if request.method != "POST":
            await exchange.answers_json(404, {"error": "not_found"})
        elif request.path == "/api/oauth/device_authorization":
            page = f"{self.url}/code/authorize_device"
            await _send(
                exchange, self._given(lambda: self.device_authorization(_form(request), page))
            )
        elif request.path == "/api/oauth/token":
            await self._token(exchange)
        else:
            await exchange.answers_json(404, {"error": "not_found"})

    async def administer(self, request: Request) -> object:
        """Do what ``/admin/VERB?…`` says (see ``steering``)."""
        return await steer(self, request.path.removeprefix("/admin/"), request.query)

    async def _token(self, exchange: Exchange) -> None:
        request = exchange.request
        lost = self.lose > 0
        self.lose -= lost
        await self._stops(self.hold_before, request)
        if lost and self.loses_before:
            exchange.breaks()
            return
        given = self._given(lambda: self.token(_form(request)))
        await self._stops(self.hold_after, request)
        if self.delay:
            await self.clock.sleep(self.delay)
        if lost:
            exchange.breaks()
        else:
            await _send(exchange, given)

    async def _stops(self, held: bool, request: Request) -> None:
        if held:
            released = self._released
            self._held.put_nowait(request)
            await released.wait()

    def _given(self, act: Callable[[], tuple[int, dict[str, Any]]]) -> Answer:
        given = self.answers_to_come.popleft() if self.answers_to_come else None
        if given is None:
            return Answer(*act())
        if given.acts:
            act()
        return given


def _form(request: Request) -> dict[str, str]:
    """Return the posted form, which is empty when it came as JSON or as anything else."""
    form = "application/x-www-form-urlencoded"
    return request.form if request.header("content-type").startswith(form) else {}


async def _send(exchange: Exchange, given: Answer) -> None:
    if isinstance(given.body, bytes):
        await exchange.answers(given.status, given.headers, given.body)
    else:
        await exchange.answers_json(given.status, given.body, given.headers)


class AuthorizationProcess(LoopbackProcess):
    """The authorization server in a child process; its methods block.

    Verbs without a method here go through :meth:`ask`; ``steering`` lists them.
    """

    module = "tests.fakes.authorization"

    def __init__(
        self,
        *,
        stern: bool = False,
        expires_in: float = 900,
        interval: float = 5,
        auto_approve: int | None = None,
    ) -> None:
        arguments = ["--expires-in", str(expires_in), "--interval", str(interval)]
        arguments += ["--stern"] if stern else []
        arguments += [] if auto_approve is None else ["--auto-approve", str(auto_approve)]
        super().__init__(*arguments)

    def seed(self) -> dict[str, Any]:
        """Log in without a device flow and return the token answer."""
        answer: dict[str, Any] = self.ask("seed")
        return answer

    def state(self) -> dict[str, Any]:
        """Return the counters: refreshes, spent_presented, families, revoked and others."""
        answer: dict[str, Any] = self.ask("state")
        return answer

    def set(self, **attributes: object) -> None:
        """Set attributes of the server: numbers, switches, or *omit* as names with commas."""
        self.ask("set", **attributes)

    def valid(self, access: str) -> bool:
        """Say whether *access* is good at this moment."""
        try:
            self.ask("valid", token=access)
        except LookupError:
            return False
        return True


def main() -> None:
    """Serve as a process."""
    parser = argparse.ArgumentParser(description="a stand-in for Kimi's authorization server")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--stern", action="store_true", help="reuse revokes the whole family")
    parser.add_argument("--expires-in", type=float, default=900, metavar="SECONDS")
    parser.add_argument("--interval", type=float, default=5, metavar="SECONDS")
    parser.add_argument("--auto-approve", type=int, metavar="POLLS", help="approve at that poll")
    parser.add_argument("--until-eof", action="store_true")
    options = parser.parse_args()
    server = AuthorizationServer(stern=options.stern, port=options.port)
    server.expires_in, server.interval = options.expires_in, options.interval
    server.auto_approve = options.auto_approve
    asyncio.run(serve(server, until_eof=options.until_eof))


if __name__ == "__main__":
    main()
