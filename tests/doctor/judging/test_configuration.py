"""What is wrong with the configuration has its place among the findings."""

from __future__ import annotations

import pytest

from bridge.doctor.finding import Finding
from bridge.doctor.judging.configuration import judge, refused
from tests.doctor.rows import levels, only, troubles

FILE = "/home/me/.config/bridge/config.toml"


def judged(*warnings: str, clients: str | None = None, can_tell: bool = True) -> list[Finding]:
    """Return what is found in a good configuration."""
    return list(judge(FILE, exists=True, warnings=warnings, clients=clients, can_tell=can_tell))


def test_refused() -> None:
    """Each line of a complaint is a failure, with the file or the variable to set right."""
    complaint = f"{FILE}:2: server.prot: unknown key\nBRIDGE_PORT: expected a whole number"
    one, other = refused(complaint, FILE)
    assert levels([one, other]) == ["fail", "fail"]
    assert one.text == f"{FILE}:2: server.prot: unknown key"
    assert one.mend == f"mend {FILE}, then: bridge config check"
    assert other.mend == "set it right, or leave it out, then: bridge config check"


@pytest.mark.parametrize("exists", [True, False])
def test_a_good_one(exists: bool) -> None:
    """A good file is said to be good, and none at all is good as well."""
    finding = only(judge(FILE, exists=exists, warnings=(), clients=None, can_tell=True))
    assert (finding.level, FILE in finding.text) == ("ok", True)
    assert ("does not exist" in finding.text) is not exists


def test_warnings() -> None:
    """What may not be meant is told as it is."""
    finding = only(troubles(judged("BRIDGE_PRT: unknown variable")))
    assert (finding.level, finding.text) == ("warn", "BRIDGE_PRT: unknown variable")


@pytest.mark.parametrize(
    ("clients", "can_tell", "found"),
    [
        (None, True, []),
        (None, False, []),
        ("same-user", True, []),
        ("same-user", False, ["fail"]),
        ("key", False, []),
        ("any", True, ["warn"]),
        ("any", False, ["warn"]),
    ],
)
def test_who_may_call(clients: str | None, can_tell: bool, found: list[str]) -> None:
    """A rule that this system cannot keep fails; an open door is told."""
    assert levels(troubles(judged(clients=clients, can_tell=can_tell))) == found
