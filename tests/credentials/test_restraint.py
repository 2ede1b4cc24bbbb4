"""What must not be tried now: refused tokens, spent ones, and servers that need a moment."""

from __future__ import annotations

import pytest

from bridge.credentials.refresh import Spared
from bridge.credentials.restraint import (
    COOL_DOWN,
    FORCED_INTERVAL,
    LONGEST_PAUSE,
    UNCERTAIN_REFUSAL_SECONDS,
    Restraint,
)
from bridge.errors import AnswerLost, AuthorizationServerError, CredentialUnreadable, LoginRequired
from bridge.oauth.grant import RefreshRefused
from bridge.oauth.token import Token
from tests.fakes.clock import EPOCH, FakeClock

TOKEN = Token("access-1", "refresh-1", EPOCH + 900, 900)
NEXT = Token("access-2", "refresh-2", EPOCH + 1800, 900)


@pytest.fixture(name="restraint")
def _restraint(clock: FakeClock) -> Restraint:
    """A restraint that has seen nothing yet."""
    return Restraint(clock)


def refused(*, certain: bool) -> RefreshRefused:
    """Return the refusal of the token."""
    return RefreshRefused("refused", token=TOKEN, certain=certain)


def test_nothing_is_held_against_a_new_login(restraint: Restraint) -> None:
    """A token of which nothing is known may be refreshed and has no problem."""
    restraint.check(TOKEN)
    assert not restraint.ended(TOKEN)
    assert restraint.problem(TOKEN) is None


def test_token_without_successor(restraint: Restraint) -> None:
    """An access token without a refresh token ends without one more question."""
    lonely = Token("access", "", EPOCH + 900, 900)
    with pytest.raises(LoginRequired, match="the login has ended: run: bridge login"):
        restraint.check(lonely)


def test_refused_token_is_never_presented_again(restraint: Restraint, clock: FakeClock) -> None:
    """A certain refusal counts for ever, for that value only."""
    restraint.failed(TOKEN, refused(certain=True))
    clock.advance(365 * 86400)
    with pytest.raises(LoginRequired):
        restraint.check(TOKEN)
    with pytest.raises(LoginRequired):
        restraint.check(TOKEN, living=False)
    assert restraint.problem(TOKEN) == "the login has ended: run: bridge login"
    restraint.check(NEXT)
    assert restraint.problem(NEXT) is None


def test_uncertain_refusal_is_believed_for_a_while(restraint: Restraint, clock: FakeClock) -> None:
    """A bare 401, which a captive portal may have sent, is asked again after five minutes."""
    restraint.failed(TOKEN, refused(certain=False))
    clock.advance(UNCERTAIN_REFUSAL_SECONDS - 1)
    with pytest.raises(LoginRequired):
        restraint.check(TOKEN)
    clock.advance(1)
    restraint.check(TOKEN)


def test_failures_cool_down(restraint: Restraint, clock: FakeClock) -> None:
    """Pauses grow from failure to failure up to a minute, and are told to who asks meanwhile."""
    for pause in (*COOL_DOWN, COOL_DOWN[-1]):
        restraint.failed(TOKEN, AuthorizationServerError("unwell"))
        with pytest.raises(AuthorizationServerError, match="unwell") as caught:
            restraint.check(TOKEN)
        assert caught.value.retry_after == pause
        assert restraint.problem(TOKEN) == "unwell"
        clock.advance(pause)
        restraint.check(TOKEN)
    restraint.succeeded()
    restraint.failed(TOKEN, AuthorizationServerError("unwell"))
    clock.advance(COOL_DOWN[0])
    restraint.check(TOKEN)


@pytest.mark.parametrize(
    ("asked", "pause"), [(1.0, COOL_DOWN[0]), (120.0, 120.0), (1e9, LONGEST_PAUSE)]
)
def test_server_asks_for_a_pause(
    restraint: Restraint, clock: FakeClock, asked: float, pause: float
) -> None:
    """``Retry-After`` is obeyed, within reason."""
    restraint.failed(TOKEN, AuthorizationServerError("busy", retry_after=asked))
    clock.advance(pause - 0.5)
    with pytest.raises(AuthorizationServerError):
        restraint.check(TOKEN)
    clock.advance(0.5)
    restraint.check(TOKEN)


def test_failures_are_of_one_login(restraint: Restraint) -> None:
    """A new login is tried at once, whatever went wrong with the last."""
    restraint.failed(TOKEN, AuthorizationServerError("unwell"))
    restraint.failed(TOKEN, AnswerLost("lost"))
    restraint.check(NEXT)
    assert restraint.problem(NEXT) is None
    restraint.failed(NEXT, CredentialUnreadable("disk full"))
    assert restraint.problem(NEXT) == "disk full"
    restraint.check(TOKEN)


def test_lost_answer_is_waited_out(restraint: Restraint, clock: FakeClock) -> None:
    """A token that may be spent is not presented while its access token lives."""
    restraint.failed(TOKEN, AnswerLost("lost"))
    clock.advance(900 - 61)
    with pytest.raises(AnswerLost, match="lost"):
        restraint.check(TOKEN)
    clock.advance(2)
    restraint.check(TOKEN)


def test_lost_answer_after_a_sleep_of_the_machine(restraint: Restraint, clock: FakeClock) -> None:
    """The wait ends by the wall clock: no timer outlives the token in a machine that slept."""
    restraint.failed(TOKEN, AnswerLost("lost"))
    clock.advance(COOL_DOWN[0])
    clock.jump(900)
    restraint.check(TOKEN)


def test_lost_answer_of_a_token_refused_by_the_upstream(
    restraint: Restraint, clock: FakeClock
) -> None:
    """Where the access token is refused as well there is nothing left to spare."""
    restraint.failed(TOKEN, AnswerLost("lost"))
    clock.advance(COOL_DOWN[0])
    with pytest.raises(AnswerLost):
        restraint.check(TOKEN)
    restraint.check(TOKEN, living=False)


def test_forced_once_for_a_token_and_once_a_minute(restraint: Restraint, clock: FakeClock) -> None:
    """A 401 forces one refresh for each access token, and one a minute."""
    assert restraint.may_force(TOKEN)
    restraint.forced(TOKEN)
    assert not restraint.may_force(TOKEN)
    assert not restraint.may_force(NEXT)
    clock.advance(FORCED_INTERVAL)
    assert not restraint.may_force(TOKEN)
    assert restraint.may_force(NEXT)


def test_forced_refresh_that_failed_may_be_repeated(restraint: Restraint, clock: FakeClock) -> None:
    """One that did not come about waits for its pause alone, one that may have for the minute."""
    restraint.forced(TOKEN)
    restraint.failed(TOKEN, AuthorizationServerError("unwell"))
    assert restraint.may_force(TOKEN)
    with pytest.raises(AuthorizationServerError):
        restraint.check(TOKEN, living=False)
    clock.advance(COOL_DOWN[0])
    restraint.check(TOKEN, living=False)
    restraint.forced(TOKEN)
    restraint.failed(TOKEN, AnswerLost("nobody knows"))
    assert not restraint.may_force(TOKEN)
    clock.advance(FORCED_INTERVAL)
    assert restraint.may_force(TOKEN)


def test_unforeseen_error_is_named_by_its_kind(restraint: Restraint) -> None:
    """The text of an error that nobody foresaw is not shown, as nobody knows what is in it."""
    restraint.failed(TOKEN, KeyError("REFRESHsecret"))
    assert restraint.problem(TOKEN) == "KeyError"


def test_how_long_to_wait(restraint: Restraint, clock: FakeClock) -> None:
    """The pause that is left is told, of the token that failed and of no other."""
    restraint.failed(TOKEN, AuthorizationServerError("unwell"))
    clock.advance(COOL_DOWN[0] / 2)
    assert (restraint.wait(TOKEN), restraint.wait(NEXT)) == (COOL_DOWN[0] / 2, 0)
    clock.advance(COOL_DOWN[0])
    assert restraint.wait(TOKEN) == 0


def test_a_token_that_was_spared(restraint: Restraint, clock: FakeClock) -> None:
    """Who was not asked needs no moment: once the access token is used up, it is tried at once."""
    restraint.failed(TOKEN, Spared("may be spent"))
    with pytest.raises(AnswerLost):
        restraint.check(TOKEN)
    assert restraint.problem(TOKEN) == "may be spent"
    clock.jump(900)
    restraint.check(TOKEN)
