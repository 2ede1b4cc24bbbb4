"""Which program ``bridge`` is, is told with what to say instead."""

from __future__ import annotations

from bridge.doctor.judging.program import Found, Kind, Programs, judge
from tests.doctor.rows import levels, said

OURS = Found("/opt/venv/bin/bridge", Kind.OURS)
OURS_TOO = Found("/opt/venv/bin/kimi-bridge", Kind.OURS)
IPROUTE = Found("/usr/sbin/bridge", Kind.STRANGER)
SIBLING = Found("/home/me/.local/bin/bridge", Kind.SIBLING)


def programs(
    bridge: Found | None = OURS, kimi_bridge: Found | None = OURS_TOO, *, runs: bool = True
) -> Programs:
    """Return what is installed."""
    return Programs("/opt/venv/bin/bridge", runs, bridge, kimi_bridge)


def test_all_is_ours() -> None:
    """Both names lead to this program, which is said with the path that functions use."""
    findings = list(judge(programs()))
    assert levels(findings) == ["ok", "ok", "ok"]
    assert "/opt/venv/bin/bridge" in findings[0].text


def test_another_bridge_comes_first() -> None:
    """iproute2's is named as such, and the other name is there to be used."""
    finding = list(judge(programs(IPROUTE)))[-1]
    assert finding.level == "warn"
    assert finding.text == "another bridge comes first in PATH: /usr/sbin/bridge (iproute2's)"
    assert finding.mend == "put /opt/venv/bin first in PATH, or say kimi-bridge instead"


def test_without_kimi_bridge_the_absolute_path_is_left() -> None:
    """Where neither name works, the mend names the program by its path, and says what to add."""
    findings = list(judge(programs(IPROUTE, None)))
    assert levels(findings) == ["ok", "warn", "warn"]
    assert 'export PATH="/opt/venv/bin:$PATH"' in findings[1].mend
    assert findings[2].mend.endswith("say /opt/venv/bin/bridge instead")


def test_a_stranger_of_that_name() -> None:
    """Any other program is said not to be ours."""
    findings = list(judge(programs(Found("/usr/local/bin/bridge", Kind.STRANGER))))
    assert "(not ours)" in findings[-1].text


def test_a_second_installation() -> None:
    """Another installation of bridge is told apart: the two may be of different versions."""
    finding = list(judge(programs(SIBLING)))[-1]
    assert finding.level == "warn"
    assert "another installation" in finding.text
    assert "remove one" in finding.mend


def test_no_bridge_but_kimi_bridge() -> None:
    """That nothing is called bridge is no trouble as long as kimi-bridge is there."""
    assert levels(judge(programs(None))) == ["ok", "ok"]


def test_functions_that_would_run_nothing() -> None:
    """A path that cannot be executed fails: every generated function would."""
    finding = next(judge(programs(runs=False)))
    assert finding.level == "fail"
    assert "pipx reinstall" in finding.mend
    assert "/opt/venv/bin/bridge" in said([finding])
