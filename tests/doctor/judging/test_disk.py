"""Files of ours that others own, may read or change, and disks that are full, are told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.doctor.judging.disk import NONE_LEFT, SCARCE, Item, Room, judge
from tests.doctor.rows import levels, only

LOG = Item("log", "/home/me/.local/state/bridge/bridge.log", writable=True, mode=0o600)
KEY = Item("caller key", "/home/me/k", writable=True, mode=0o600, private=True)
CONFIG = Item("configuration", "/home/me/c", writable=True, mode=0o644, steering=True)
DISK = Room("/home/me", SCARCE)


def test_all_well() -> None:
    """Files of ours and room enough: one line says so."""
    assert levels(judge([LOG, KEY, CONFIG], [DISK])) == ["ok"]


@pytest.mark.parametrize(("writable", "level"), [(False, "fail"), (True, "warn")])
def test_files_of_others(writable: bool, level: str) -> None:
    """What root left behind fails where it cannot be written, and goes back with chown."""
    finding = only(judge([replace(LOG, owner="root", writable=writable)], []))
    assert finding.level == level
    assert finding.text == f"{LOG.path} (log) belongs to root, not to you"
    assert finding.mend == f'sudo chown -R "$(id -un)" {LOG.path}'


def test_files_that_cannot_be_written() -> None:
    """A file of ours that is read-only fails."""
    finding = only(judge([replace(LOG, writable=False)], []))
    assert (finding.level, "cannot be written" in finding.text) == ("fail", True)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o777])
def test_secrets_that_others_may_read(mode: int) -> None:
    """The caller key must be for its owner alone, or the daemon does not start."""
    finding = only(judge([replace(KEY, mode=mode)], []))
    assert (finding.level, finding.mend) == ("fail", "chmod 600 /home/me/k")
    assert levels(judge([replace(LOG, mode=mode)], [])) == ["ok"]


@pytest.mark.parametrize(("mode", "level"), [(0o664, "warn"), (0o646, "warn"), (0o644, "ok")])
def test_a_configuration_that_others_may_change(mode: int, level: str) -> None:
    """Who may write the configuration decides where credentials go."""
    assert only(judge([replace(CONFIG, mode=mode)], [])).level == level


@pytest.mark.parametrize(
    ("free", "level"),
    [(0, "fail"), (NONE_LEFT - 1, "fail"), (NONE_LEFT, "warn"), (SCARCE - 1, "warn")],
)
def test_disks(free: int, level: str) -> None:
    """A disk without room loses a login at the next refresh: it is told before."""
    finding = only(judge([], [Room("/home/me", free)]))
    assert finding.level == level
    assert "MiB are free" in finding.text


def test_paths_are_quoted() -> None:
    """A command that is offered works with a path of several words."""
    strange = replace(LOG, path="/home/me/my files/log", owner="root", writable=False)
    assert "'/home/me/my files/log'" in only(judge([strange], [])).mend
