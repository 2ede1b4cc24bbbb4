"""Judges whether the servers that requests go to can be reached, and if not, what stands between.

Pure. Any HTTP answer counts as reached: what was asked carried no credential, so most refuse it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bridge.doctor.finding import Finding, fail, ok, warn

SUBJECT: Final = "network"


class Outcome(enum.Enum):
    """How far a request came."""

    ANSWERED = enum.auto()
    NO_NAME = enum.auto()
    NO_CONNECTION = enum.auto()
    NO_ANSWER = enum.auto()
    PROXY = enum.auto()
    CERTIFICATE = enum.auto()
    BROKEN = enum.auto()


#: What a machine without any network sees.
OFFLINE: Final = frozenset({Outcome.NO_NAME, Outcome.NO_CONNECTION, Outcome.NO_ANSWER})


@dataclass(frozen=True, slots=True)
class Goal:
    """A server that requests of *provider* go to: *host* as it is shown, *url* to ask.

    *local* says that it is on this machine.
    """

    provider: str
    host: str
    url: str
    local: bool = False


@dataclass(frozen=True, slots=True)
class Reached:
    """How asking *goal* went: *detail* says more, *ahead* by how much its clock is before ours."""

    goal: Goal
    outcome: Outcome
    detail: str = ""
    ahead: float | None = None


def judge(all_reached: Sequence[Reached]) -> Iterator[Finding]:
    """Yield what is to be said of *all_reached*, one for each server that was asked.

    Where nobody outside of this machine can be reached, that is the network's state of the moment.
    """
    outside = [each for each in all_reached if not each.goal.local]
    offline = bool(outside) and all(each.outcome in OFFLINE for each in outside)
    if offline:
        hosts = ", ".join(each.goal.host for each in outside)
        text = f"there seems to be none: nobody can be reached of those asked ({hosts})"
        yield warn(SUBJECT, text, "connect to the network, then: bridge doctor")
    yield from (_judged(each) for each in all_reached if not offline or each.goal.local)


def _judged(reached: Reached) -> Finding:
    goal, outcome = reached.goal, reached.outcome
    if outcome is Outcome.ANSWERED:
        return ok(SUBJECT, f"{goal.host} ({goal.provider}) can be reached")
    why, mend = _REASONS[outcome]
    detail = f" ({reached.detail})" if reached.detail else ""
    text = f"{goal.host} ({goal.provider}) cannot be reached: {why}{detail}"
    return fail(SUBJECT, text, mend)


_REASONS: Final = {
    Outcome.NO_NAME: (
        "its name is not known",
        "see that the network and its DNS work, and that the host is spelt right",
    ),
    Outcome.NO_CONNECTION: (
        "no connection comes about",
        "see that the network works; behind a company's proxy, set HTTPS_PROXY or network.proxy",
    ),
    Outcome.NO_ANSWER: (
        "nobody answers in time",
        "see that the network works; behind a company's proxy, set HTTPS_PROXY or network.proxy",
    ),
    Outcome.PROXY: (
        "the outbound proxy does not let it through",
        "mend HTTPS_PROXY or network.proxy (host, port, user, password)",
    ),
    Outcome.CERTIFICATE: (
        "its certificate is not trusted",
        "behind a company's proxy, name its authorities in network.ca_file or SSL_CERT_FILE",
    ),
    Outcome.BROKEN: (
        "what answers does not speak HTTP",
        "see what stands between: a proxy, a captive portal, or a wrong port in the URL",
    ),
}
