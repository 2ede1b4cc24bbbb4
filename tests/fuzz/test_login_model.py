"""Whatever befalls a login, in whatever order: a model that hypothesis drives.

Login, logout, refreshes, a neighbour, an unwell server, a failing disk, a clock that jumps and
processes that die at every step, over the real store, refresh and source. What holds throughout:

- the file is whole and private, and what is in it was issued;
- as long as nobody has ended it, and no answer was lost after a rotation, a token from which the
  login can go on is on disk or in memory;
- a spent refresh token is sent only where nothing better is left, and a refused one never again;
- whatever a request gets was issued, is the newest there is, and has not run out;
- when all is well again, the login works again by itself.

BRIDGE_TEST_FULL=1 makes the stories longer and more of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bridge.errors import BridgeError, LoginRequired
from bridge.oauth.token import CRITICAL_SECONDS, Token
from tests import verdicts
from tests.fakes.credential import KEYS, credential_file, lock_file
from tests.fuzz.dwelling import ANSWERS, DEATHS, FULL, REFUSES, TORN, Dwelling

#: Seconds by which sums of the same times may differ.
INSTANT = 0.001
LONG = os.environ.get("BRIDGE_TEST_FULL") == "1"
STORIES, STEPS = (600, 60) if LONG else (25, 30)
#: Deaths after which the only copy of a rotated token is gone.
FATAL = {"after rotation", "before write", "half written"}


class Household(RuleBasedStateMachine):
    """One login, one bridge at a time, and the world around them."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="bridge-model-"))
        self.home = Dwelling(self.folder, stern=True)
        self.skewed = False
        #: Access tokens that the server has revoked, and refresh tokens whose successor nobody
        #: has, with the end of the access token beside them.
        self.revoked: set[str] = set()
        self.lost: dict[str, float] = {}
        self.seen = 0

    @initialize(stern=st.booleans())
    def begins(self, stern: bool) -> None:
        """Choose the temper of the server."""
        self.home.authority.stern = stern

    def teardown(self) -> None:
        """See that all is well in the end, where it can be."""
        try:
            self.recovers()
        finally:
            self.home.close()
            shutil.rmtree(self.folder)

    # What requests and the keeper do.

    @rule(number=st.integers(1, 3))
    def asks(self, number: int) -> None:
        """So many requests want a token at once."""

        async def together() -> list[Token | BaseException]:
            asked = [self.home.box.source.current() for _ in range(number)]
            return await asyncio.gather(*asked, return_exceptions=True)

        before = self.newest()
        with self.kept():
            results = self.home.runs(together())
        for result in results:
            if isinstance(result, Token):
                self.is_good(result, before)
            else:
                assert isinstance(result, BridgeError), result

    @rule()
    def keeper_looks(self) -> None:
        """The keeper refreshes what is due."""
        self.home.box.source.held()
        self._beside(self.home.box.source.refresh_if_due)

    @rule()
    def keeper_renews(self) -> None:
        """The keeper refreshes what is not due."""
        self._beside(self.home.box.source.renew)

    @rule()
    def saves(self) -> None:
        """The keeper tries once more to save what the disk refused."""
        with self.kept():
            self.home.runs(self.home.box.source.save())

    @rule()
    def upstream_refuses(self) -> None:
        """The upstream answers 401 to the token at hand."""
        token = self.home.box.source.held()
        if token is None or token.access not in self.home.authority.access:
            return
        self.home.authority.revoke(token.access)
        self.revoked.add(token.access)
        if token.refresh in self.lost:
            self.lost[token.refresh] = 0.0  # there is nothing left to be spared
        with self.kept(), contextlib.suppress(LoginRequired):
            self.home.runs(self.home.box.source.rejected(token))

    # What else happens.

    @rule(answer=st.sampled_from([name for name in ANSWERS if not name.endswith("after")]))
    def server_is_unwell(self, answer: str) -> None:
        """The next refresh gets that answer."""
        self.home.box.wire.answers.append(answer)

    @rule(answer=st.sampled_from(["lost after", "502 after"]))
    def answer_is_lost(self, answer: str) -> None:
        """A refresh is done and its answer never comes: that is the end, and nobody's fault."""
        self.home.box.wire.answers[:] = [answer]
        self._beside(self.home.box.source.renew, ends=True)
        self.home.box.wire.answers.clear()

    @rule(state=st.sampled_from(["", FULL, REFUSES, TORN]))
    def disk_changes(self, state: str) -> None:
        """The disk gets better or worse."""
        self.home.box.disk.state = state

    @rule(where=st.sampled_from(["", "before sending", "after rotation", *DEATHS]))
    def dies(self, where: str) -> None:
        """The process dies at rest, or at that step of a refresh, and is started again."""
        box = self.home.box
        if where in DEATHS:
            box.disk.state = where
        else:
            box.wire.dies = where
        if where:
            self._beside(self.home.box.source.renew, ends=where in FATAL)
        ends = box.source._unsaved is not None  # a disk that failed has it in memory alone
        with self.kept(ends=ends):
            self.home.restarts()

    @rule(seconds=st.sampled_from([1.0, 70.0, 500.0, 870.0, 4000.0, 3 * 86400.0]))
    def time_passes(self, seconds: float) -> None:
        """Time passes, for machine and server alike."""
        self.home.clock.advance(seconds)

    @rule(seconds=st.sampled_from([-4000.0, -600.0, 600.0, 4000.0]))
    def clock_jumps(self, seconds: float) -> None:
        """The machine's clock is set, and is wrong from then on, or right again."""
        self.home.clock.jump(seconds)
        self.skewed = True

    @rule()
    def neighbour_refreshes(self) -> None:
        """The official CLI rotates what is in the file; where that is spent, it ends the login."""
        with self.kept(ends=True):
            self.home.neighbour_refreshes()

    @rule()
    def neighbour_logs_in(self) -> None:
        """The official CLI logs in anew."""
        self.home.neighbour_logs_in()

    @rule()
    def logs_in(self) -> None:
        """The person logs in through bridge, if the disk takes it."""

        async def flow() -> None:
            login = self.home.box.login()
            await login.begin()
            await login.finish()

        with contextlib.suppress(BridgeError):
            self.home.runs(flow())

    @rule()
    def logs_out(self) -> None:
        """The person logs out: nothing is handed out from then on."""
        with self.kept(ends=True):
            self._logs_out()
        with pytest.raises(LoginRequired):
            self.home.runs(self.home.box.source.current())

    @rule(what=st.sampled_from(["logs out", "logs in", "refreshes"]))
    def in_between(self, what: str) -> None:
        """Somebody acts between the server's rotation and the file; what they did stays done."""
        act = {
            "logs out": self._logs_out,
            "logs in": self.home.neighbour_logs_in,
            "refreshes": self.home.neighbour_refreshes,
        }[what]
        found: list[dict[str, Any] | None] = []

        def acts() -> None:
            act()
            found.append(self.home.credential)

        self.home.box.wire.meanwhile = acts
        self._beside(self.home.box.source.renew, ends=True)
        self.home.box.wire.meanwhile = None
        if found and what != "refreshes":
            assert self.home.credential == found[0]

    @precondition(lambda self: lock_file(self.folder).exists())
    @rule()
    def asks_while_locked(self) -> None:
        """A neighbour holds the lock all the time: whoever asks is told in bounded time."""
        with lock_file(self.folder).open("r+") as held, self.kept():
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            before, began = self.newest(), self.home.clock.monotonic()
            with contextlib.suppress(BridgeError):
                self.is_good(self.home.runs(self.home.box.source.current()), before)
            assert self.home.clock.monotonic() - began <= 31
        self.home.runs(self.home.settled())

    # What holds.

    @invariant()
    def the_file_is_whole(self) -> None:
        """It is there or it is not; if it is, all of it is, for its owner alone."""
        path = credential_file(self.folder)
        if path.exists():
            document = json.loads(path.read_text())
            assert set(KEYS) <= set(document)
            assert document["access_token"] in self.home.authority.access
            assert document["refresh_token"] in self.home.authority.refresh
            assert path.stat().st_mode & 0o777 == 0o600

    @invariant()
    def nothing_is_sent_in_vain(self) -> None:
        """A spent token goes only where nothing else is left, a refused one does not go again."""
        for each in self.home.box.wire.presented[self.seen :]:
            assert not each.again, "a refresh token was sent again after it had been refused"
            if each.spent:
                assert each.refresh in self.lost, "a spent token was sent without need"
                end = self.lost[each.refresh]
                assert each.at >= end - CRITICAL_SECONDS or end == 0, "it was sent too early"
        self.seen = len(self.home.box.wire.presented)

    def newest(self) -> set[str]:
        """Return the access tokens in the file, and in memory where the disk has refused them."""
        unsaved, credential = self.home.box.source._unsaved, self.home.credential
        newest = {unsaved.token.access} if unsaved else set()
        return newest | ({credential["access_token"]} if credential else set())

    def is_good(self, token: Token, before: set[str]) -> None:
        """Check what a request was handed; a refresh beside it may have ended after that."""
        home = self.home
        issued = home.authority.access[token.access]
        assert token.access in before | self.newest()
        remaining = token.remaining(home.clock.now())
        assert remaining > 0
        if remaining < INSTANT:
            return  # the server's clock adds up its seconds in another order
        if not self.skewed and not issued.family.revoked and token.access not in self.revoked:
            assert home.authority.valid(token.access)

    def recovers(self) -> None:
        """Let all be well: a login that can go on does so."""
        home = self.home
        home.box.disk.state, home.box.wire.dies = "", ""
        home.box.wire.answers.clear()
        home.clock.advance(400)  # whatever was put off is due
        if not home.recoverable() or home._held() <= home.box.wire.refused:
            return
        token = home.runs(home.box.source.current())
        if not home.authority.valid(token.access):
            home.runs(home.settled())
            home.clock.advance(61)
            token = home.runs(home.box.source.rejected(token))
        assert home.authority.valid(token.access)
        home.runs(home.settled())

    @contextlib.contextmanager
    def kept(self, *, ends: bool = False) -> Iterator[None]:
        """See that a login that could go on before can do so afterwards, unless this *ends* it."""
        wire, before = self.home.box.wire, self.home.recoverable()
        sent, held = len(wire.presented), self.home.credential
        yield
        if self.home.recoverable():
            return
        assert ends or not before, "the login is lost"
        for each in wire.presented[sent:]:
            end = held["expires_at"] if held and held["access_token"] not in self.revoked else 0.0
            self.lost.setdefault(each.refresh, end)

    def _beside(self, begin: Callable[[], Any], *, ends: bool = False) -> None:
        async def work() -> None:
            begin()
            await self.home.settled()

        with self.kept(ends=ends):
            self.home.runs(work())

    def _logs_out(self) -> None:
        credential_file(self.folder).unlink(missing_ok=True)


@pytest.mark.timeout(1200 if LONG else 60)
def test_a_login_survives_whatever_happens() -> None:
    """See the top of this file."""
    run_state_machine_as_test(
        Household,
        settings=settings(
            max_examples=STORIES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    verdicts.record("fuzz", "a login in any story", f"{STORIES} stories of up to {STEPS} steps")
