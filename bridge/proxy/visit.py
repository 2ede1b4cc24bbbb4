"""Leads one request from the guard to its last byte, and writes the one line in the log about it.

Whatever goes wrong on the way becomes, here and nowhere else, an error in the client's dialect, or
a reset where part of an answer is already out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any

from bridge.eager import start
from bridge.errors import BridgeError, LoginRequired, Refused
from bridge.providers import Auth
from bridge.proxy import dialect, estimate
from bridge.proxy.body import Body
from bridge.proxy.connection import Connection
from bridge.proxy.fault import AnswerCut, Uncounted
from bridge.proxy.forward import Exchange
from bridge.proxy.framing import Request
from bridge.proxy.guard import check_caller, check_origin
from bridge.proxy.head import answer_lines
from bridge.proxy.means import Means
from bridge.proxy.passage import Passage
from bridge.proxy.reply import Reply
from bridge.proxy.rewrite import Route, choose, dialect_of
from bridge.proxy.tally import Outcome
from bridge.proxy.trace import Trace
from bridge.wire.framing import Incoming

log = logging.getLogger("bridge")


class Visit:
    """One request and its answer.

    *connection* is where it came in, *passage* what is in force for it, *number* its name in the
    log. Runs in the turn of the event loop in which something comes; a task is made only where
    something has to be waited for, and of these there is one at most.
    """

    __slots__ = (
        "_body",
        "_connection",
        "_exchange",
        "_is_counted",
        "_is_over",
        "_means",
        "_passage",
        "_route",
        "_task",
        "_trace",
        "reply",
        "request",
    )

    def __init__(
        self, request: Request, connection: Connection, passage: Passage, means: Means, number: str
    ) -> None:
        self.request = request
        self.reply = Reply(connection.transport, connection.outbox, request)
        self._connection = connection
        self._passage = passage
        self._means = means
        self._trace = Trace(means.clock, number, request.head)
        self._route: Route | None = None
        self._body = Body(request, connection, means.budget, passage.limits, means.clock)
        self._exchange: Exchange | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_counted = self._is_over = False

    # What the client's connection tells.

    def begin(self) -> None:
        """Lead the request through as far as it goes without waiting."""
        self.go_on(self._serve())

    def leave(self) -> None:
        """Give up what is under way: the client has gone, and every token more would cost."""
        if not self._is_over:
            log.info("request abandoned %s", self._measured())
            self._enter(Outcome.ABANDONED)
            self._settle()

    def pause(self) -> None:
        """Let no more of the answer come: the client does not read."""
        if self._exchange is not None:
            self._exchange.pause()

    def resume(self) -> None:
        """Let it come again."""
        if self._exchange is not None:
            self._exchange.resume()

    # What the exchange tells.

    def asked(self) -> None:
        """Note when the request went out."""
        self._trace.asked()

    def answered(self, answer: Incoming, heard_at: float) -> None:
        """Make the head of the answer; no replay can come now."""
        self._body.release()
        self._trace.answered(answer.status, heard_at)
        mark = b"" if self._route is None else self._route.manner.mark
        lines = answer_lines(answer.headers, mark, bare=answer.status == 204)
        lines.append(b"server-timing: bridge;dur=%.2f\r\n" % (self._trace.added * 1000))
        self.reply.open(answer.status, answer.reason, lines, sized=answer.sized)

    def take(self, pieces: Sequence[bytes], *, last: bool) -> None:
        """Pass content on; the *last* ends the visit."""
        if last:
            self._exchange = None  # its connection is another's now, and not to be paused
        self.reply.take(pieces, last=last)
        if last:
            self._trace.ended()
            self._means.ledger.enter(self._tell)
            self._done()

    def flush(self) -> None:
        """Send the head, as there is no content yet."""
        self.reply.flush()
        if self._connection.is_full and self._exchange is not None:
            self._exchange.pause()

    def go_on(self, work: Coroutine[Any, Any, None]) -> None:
        """Run *work* as far as it goes, the rest in a task; what it raises ends the visit."""
        try:
            self._task = task = start(work)
        except Exception as error:  # noqa: BLE001 - a bug must cost one request, not the daemon
            self.fail(error)
            return
        if task is not None:
            task.add_done_callback(self._waited)

    def fail(self, error: Exception) -> None:
        """End the visit because of *error*."""
        if self._is_over:
            return
        route = self._route
        if isinstance(error, AnswerCut):
            log.warning("request cut %s reason=%s", self._measured(), error)
            self._enter(Outcome.CUT, str(error))
            self.reply.abort()
            self._settle()
        elif isinstance(error, Uncounted) and route:
            self.go_on(self._estimate(route))
        elif not isinstance(error, BridgeError):
            self._stumble(error)
        elif isinstance(error, LoginRequired) and route and route.provider.auth is Auth.OAUTH:
            self.go_on(self._invite(error, route))
        else:
            self._refuse(error, str(error))

    def _waited(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self.fail(error)

    # Its way through the house.

    async def _serve(self) -> None:
        head, passage = self.request.head, self._passage
        check_origin(head, passage.policy)
        route = self._route = choose(head, passage.routes)
        self._trace.provider = route.provider.name
        if page := self._means.pages.find(head, route):
            if page.later is not None:
                page = await page.later()
            self._close_if_unread()
            self._trace.status = 200
            self.reply.whole(200, page.headers, page.content)
            log.debug("request answered %s", self._measured())
            self._done()
            return
        check_caller(head, passage.policy, self._connection.uid)
        if head.has(b"upgrade") and "websocket" in head.value("upgrade").lower():
            raise Refused("bridge speaks no WebSocket: use HTTP streaming", status=426)
        route.check()
        self._count()
        if not self._body.take_at_once():
            await self._take_in()
        if route.is_estimated:
            await self._estimate(route)
            return
        self._exchange = Exchange(
            self,
            self._means.client,
            head,
            self._body,
            route,
            source=passage.sources.get(route.provider.name),
            caller_key=passage.policy.key,
            idle_seconds=passage.limits.idle_seconds,
        )
        await self._exchange.begin()

    async def _take_in(self) -> None:
        await self._body.announce()
        waits = self.request.head.value("expect").lower() == "100-continue"
        if waits and not self.request.whole:
            self.reply.proceed()
        await self._body.receive()
        self._trace.received()

    async def _estimate(self, route: Route) -> None:
        """Answer how many tokens there are about, without asking any further."""
        body = b"".join(self._body.pieces)
        headers, content = await asyncio.to_thread(estimate.answer, body)
        self._trace.answered(200)
        mark = (b"x-bridge-provider", route.provider.name.encode())
        self.reply.whole(200, [*headers, mark], content)
        self._means.ledger.enter(self._tell)
        self._done()

    def _count(self) -> None:
        tally = self._means.tally
        tally.requests += 1
        tally.live += 1
        tally.last_request = self._means.clock.now()
        self._is_counted = True

    # How it ends.

    async def _invite(self, error: LoginRequired, route: Route) -> None:
        provider = route.provider
        invitation = await self._means.invite(provider.name)
        self._refuse(error, f"{provider.title or provider.name} login needed: {invitation}")

    def _refuse(self, error: BridgeError, message: str) -> None:
        self._send_error(error, message)
        log.warning(
            "request failed %s error=%s reason=%s", self._measured(), type(error).__name__, error
        )
        self._enter(Outcome.FAILED, str(error))
        self._done()

    def _stumble(self, error: Exception) -> None:
        # The text of an exception that nobody foresaw may quote the request: only its kind and
        # the way it took are logged.
        nameless = RuntimeError(type(error).__name__)
        self._trace.status = self._trace.status or BridgeError.status
        log.error(
            "request failed %s error=%s reason=bug",
            self._measured(),
            type(error).__name__,
            exc_info=(RuntimeError, nameless, error.__traceback__),
        )
        self._enter(Outcome.FAILED, f"a bug ({type(error).__name__})")
        message = f"bridge made a mistake (id={self._trace.number}): see its log, and report it"
        self._send_error(BridgeError(message), message)
        self._done()

    def _send_error(self, error: BridgeError, message: str) -> None:
        if self.reply.begun:
            self.reply.abort()
            return
        self._trace.status = error.status
        self._close_if_unread()
        spoken = dialect_of(self.request.head, self._route)
        content = dialect.document(spoken, error.kind, message, type(error).__name__)
        self.reply.whole(error.status, dialect.error_headers(error), content)

    def _close_if_unread(self) -> None:
        if not self.request.whole:
            self.reply.stays = False

    def _tell(self) -> None:
        self._means.tell(f"request answered {self._measured()}")
        self._enter(Outcome.ANSWERED)

    def _enter(self, outcome: Outcome, error: str = "") -> None:
        self._trace.count(self._means.tally, outcome, self.reply.sent, error)

    def _done(self) -> None:
        self._settle()
        self._connection.done(self)

    def _settle(self) -> None:
        """Let go of everything that is held for this request."""
        self._is_over = True
        self._body.release()
        if self._exchange is not None:
            self._exchange.close()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        if self._is_counted:
            self._means.tally.live -= 1

    def _measured(self) -> str:
        return self._trace.words(self.reply.sent)
