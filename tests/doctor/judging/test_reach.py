"""Whether servers can be reached is told, and what stands between."""

from __future__ import annotations

import pytest

from bridge.doctor.judging.reach import OFFLINE, Goal, Outcome, Reached, judge
from tests.doctor.rows import levels, only

HERE = Goal("kimi", "127.0.0.1:1", "http://127.0.0.1:1", local=True)
AUTH = Goal("kimi", "auth.example", "https://auth.example")
API = Goal("minimax", "api.example", "https://api.example")


def test_answered() -> None:
    """Any answer is good."""
    finding = only(judge([Reached(AUTH, Outcome.ANSWERED, ahead=1.0)]))
    assert (finding.level, finding.text) == ("ok", "auth.example (kimi) can be reached")


@pytest.mark.parametrize("outcome", [each for each in Outcome if each is not Outcome.ANSWERED])
def test_each_way_to_fail(outcome: Outcome) -> None:
    """Where another server answers, one that does not fails, with the reason and a mend."""
    findings = list(judge([Reached(AUTH, Outcome.ANSWERED), Reached(API, outcome, "because")]))
    assert levels(findings) == ["ok", "fail"]
    assert findings[1].text.startswith("api.example (minimax) cannot be reached: ")
    assert findings[1].text.endswith("(because)")
    assert findings[1].mend


@pytest.mark.parametrize("outcome", sorted(OFFLINE, key=str))
def test_no_network(outcome: Outcome) -> None:
    """Where nobody outside can be reached there is no network, which is told once."""
    for reached in ([Reached(AUTH, outcome)], [Reached(AUTH, outcome), Reached(API, outcome)]):
        finding = only(judge(reached))
        assert finding.level == "warn"
        assert "auth.example" in finding.text


def test_a_proxy_or_certificate_is_no_missing_network() -> None:
    """What stands between and refuses is told for each server."""
    for outcome in (Outcome.PROXY, Outcome.CERTIFICATE, Outcome.BROKEN):
        assert levels(judge([Reached(AUTH, outcome), Reached(API, outcome)])) == ["fail", "fail"]


def test_a_server_on_this_machine() -> None:
    """A server of this machine needs no network: not to be reached, it fails."""
    assert levels(judge([Reached(HERE, Outcome.NO_CONNECTION)])) == ["fail"]
    both = [Reached(HERE, Outcome.ANSWERED), Reached(AUTH, Outcome.NO_NAME)]
    assert levels(judge(both)) == ["warn", "ok"]


def test_nobody_asked() -> None:
    """Where nobody was asked there is nothing to tell."""
    assert list(judge([])) == []
