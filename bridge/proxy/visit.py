"""Leads one request from the guard to its last byte, and writes the one line in the log about it.

Whatever goes wrong on the way becomes, here and nowhere else, an error in the client's dialect, or
a reset where part of an answer is already out.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

from aiohttp import web

from bridge.clock import Clock
from bridge.errors import BridgeError, LoginRequired, Refused
from bridge.network import Client
from bridge.providers import Auth
from bridge.proxy import dialect
from bridge.proxy.body import Body, Budget
from bridge.proxy.connection import Connection
from bridge.proxy.forward import AnswerCut, Errand, ask
from bridge.proxy.guard import check_caller, check_origin
from bridge.proxy.head import Head
from bridge.proxy.pages import Pages
from bridge.proxy.passage import Passage
from bridge.proxy.reply import Reply
from bridge.proxy.rewrite import Route, choose, dialect_of

log = logging.getLogger("bridge")


@dataclass(slots=True)
class Totals:
    """What has gone through since the start.

    *live* is how many exchanges are under way, *last_request* when the last one began (wall clock,
    0 for never), *sent* the bytes of content sent to clients.
    """

    requests: int = 0
    sent: int = 0
    live: int = 0
    last_request: float = 0.0


@dataclass(frozen=True, slots=True)
class Means:
    """What every visit needs: the way out, the clock, the budget, and who invites to log in."""

    client: Client
    clock: Clock
    budget: Budget
    pages: Pages
    invite: Callable[[str], Awaitable[str]]
    totals: Totals


class Visit:
    """One request and its answer.

    *peer_uid* is whose connection it is, *passage* what is in force for it, *number* its name in
    the log; *last* closes the connection afterwards.
    """

    def __init__(
        self,
        request: web.BaseRequest,
        peer_uid: int | None,
        passage: Passage,
        means: Means,
        *,
        number: str,
        last: bool,
    ) -> None:
        self.reply = Reply(request, last=last)
        self._request = request
        self._head = Head.of(request.method, request.raw_path, request.raw_headers)
        self._peer_uid = peer_uid
        self._passage = passage
        self._means = means
        self._number = number
        self._route: Route | None = None
        self._body = Body(means.budget, passage.limits, means.clock)
        self._status = 0
        self._began = means.clock.monotonic()
        self._head_at = self._began

    async def run(self) -> Reply:
        """Answer the request; what is returned has been sent, or its connection reset.

        Raises nothing but ``CancelledError``, when the client has left.
        """
        try:
            await self._answer()
        except ConnectionError:
            self.reply.abort()
            self._log_left()
        except BaseException:  # cancelled: the client has left, and the log has a line for it too
            self._log_left()
            raise
        finally:
            self._body.release()
        return self.reply

    async def _answer(self) -> None:
        try:
            await self._serve()
        except AnswerCut as error:
            self.reply.abort()
            log.warning("request cut %s reason=%s", self._measured(), error)
        except BridgeError as error:
            await self._fail(error)
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001 - a bug must cost one request and not the daemon
            await self._stumble(error)

    async def _serve(self) -> None:
        head, passage = self._head, self._passage
        check_origin(head, passage.policy)
        route = self._route = choose(head, passage.routes)
        if page := self._means.pages.find(head, route):
            self._close_if_unread()
            self._status = 200
            await self.reply.whole(200, page.headers, page.content)
            log.debug("request answered %s", self._measured())
            return
        check_caller(head, passage.policy, self._peer_uid)
        if "websocket" in head.value("upgrade").lower():
            raise Refused("bridge speaks no WebSocket: use HTTP streaming", status=426)
        totals = self._means.totals
        totals.requests += 1
        totals.live += 1
        totals.last_request = self._means.clock.now()
        try:
            await self._take_in()
            await self._forward(route)
        finally:
            totals.live -= 1
            totals.sent += self.reply.sent

    async def _take_in(self) -> None:
        request = self._request
        await self._body.announce(request.content_length)
        if self._head.value("expect").lower() == "100-continue" and not request.content.is_eof():
            self.reply.proceed()
        await self._body.receive(request.content)

    async def _forward(self, route: Route) -> None:
        passage = self._passage
        errand = Errand(
            head=self._head,
            route=route,
            source=passage.sources.get(route.provider.name),
            caller_key=passage.policy.key,
            idle_seconds=passage.limits.idle_seconds,
        )
        connection = cast("Connection", self._request.protocol)
        answer = await ask(self._means.client, errand, self._body.data)
        try:
            self._body.release()
            self._status, self._head_at = answer.status, self._means.clock.monotonic()
            await self.reply.open(answer.status, answer.reason, answer.headers)
            connection.source = answer
            await answer.relay(self.reply)
        finally:
            connection.source = None
            answer.close()
        log.info("request answered %s", self._measured())

    async def _fail(self, error: BridgeError) -> None:
        message = str(error)
        route = self._route
        if isinstance(error, LoginRequired) and route and route.provider.auth is Auth.OAUTH:
            provider = route.provider
            invitation = await self._means.invite(provider.name)
            message = f"{provider.title or provider.name} login needed: {invitation}"
        await self._send_error(error, message)
        log.warning(
            "request failed %s error=%s reason=%s", self._measured(), type(error).__name__, error
        )

    async def _stumble(self, error: Exception) -> None:
        # The text of an exception that nobody foresaw may quote the request: only its kind and
        # the way it took are logged.
        nameless = RuntimeError(type(error).__name__)
        self._status = self._status or BridgeError.status
        log.error(
            "request failed %s error=%s reason=bug",
            self._measured(),
            type(error).__name__,
            exc_info=(RuntimeError, nameless, error.__traceback__),
        )
        message = f"bridge made a mistake (id={self._number}): see `bridge logs`, and report it"
        await self._send_error(BridgeError(message), message)

    async def _send_error(self, error: BridgeError, message: str) -> None:
        if self.reply.begun:
            self.reply.abort()
            return
        self._status = error.status
        self._close_if_unread()
        spoken = dialect_of(self._head)
        content = dialect.document(spoken, error.kind, message, type(error).__name__)
        await self.reply.whole(error.status, dialect.error_headers(error), content)

    def _close_if_unread(self) -> None:
        if not self._request.content.is_eof():
            self.reply.close_after()

    def _log_left(self) -> None:
        log.info("request abandoned %s", self._measured())

    def _measured(self) -> str:
        now = self._means.clock.monotonic()
        path = self._head.target.partition("?")[0][:200].encode("ascii", "backslashreplace")
        return (
            f"id={self._number} provider={self._route.provider.name if self._route else '-'} "
            f"method={self._head.method} path={path.decode()} status={self._status or '-'} "
            f"bytes={self.reply.sent} head_ms={(self._head_at - self._began) * 1000:.1f} "
            f"total_ms={(now - self._began) * 1000:.1f}"
        )
