"""A login is judged by its file, its lock and its end, and no token is among the facts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.credentials.forecast import Forecast
from bridge.doctor.judging.login import Device, Life, Lock, Login, judge, life
from bridge.oauth.token import Token
from tests.doctor.rows import levels, only, said, troubles

NOW = 1_800_000_000.0
DAY = 86400.0
PATH = "/home/me/.kimi/credentials/kimi-code.json"
UNKNOWN = Forecast(None, None)
GOOD = Login(
    provider="kimi",
    path=PATH,
    now=NOW,
    mode=0o600,
    life=Life(remaining=600, renewable=True, forecast=UNKNOWN),
    device=Device.WRITTEN,
    device_path="/home/me/.kimi/device_id",
)


def test_a_good_one() -> None:
    """A whole file of mode 0600 with a refresh token is well, even with an old access token."""
    assert only(judge(GOOD)).text == f"{PATH} holds one that can be renewed"
    expired = replace(GOOD, life=Life(remaining=-9999, renewable=True, forecast=UNKNOWN))
    assert levels(judge(expired)) == ["ok"]


def test_none() -> None:
    """Without a login, the mend is to log in; a device id is then nobody's concern."""
    none = replace(GOOD, life=None, mode=None, device=Device.ABSENT)
    finding = only(judge(none))
    assert (finding.level, finding.mend) == ("warn", "bridge login kimi")


def test_a_file_that_cannot_be_used() -> None:
    """What the store says of its file is the finding, with its own mend."""
    broken = replace(GOOD, life=None, problem=(f"{PATH} is corrupt", "restore it"))
    finding = only(judge(broken))
    assert (finding.level, finding.mend) == ("fail", "restore it")


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604])
def test_modes(mode: int) -> None:
    """A file that others may read is told with the command that closes it."""
    finding = only(troubles(judge(replace(GOOD, mode=mode))))
    assert (finding.level, finding.mend) == ("warn", f"chmod 600 {PATH}")
    assert f"{mode:04o}" in finding.text


@pytest.mark.parametrize(
    ("days", "certain", "level", "words"),
    [
        (30, True, "ok", "good for 30 days"),
        (5.1, False, "ok", "good for 5 days"),
        (4.9, True, "warn", "it ends in 5 days"),
        (2, False, "warn", "it ends in 2 days"),
        (0.1, True, "warn", "it ends in 2 hours"),
        (-1, True, "fail", "it has ended"),
        (-1, False, "warn", "it was not renewed for 31 days and has ended, most likely"),
    ],
)
def test_the_end_of_a_login(days: float, certain: bool, level: str, words: str) -> None:
    """When a login ends is told in time, and as certain as it is."""
    ending = replace(
        GOOD,
        life=Life(100, renewable=True, forecast=Forecast(None, NOW + days * DAY, certain=certain)),
    )
    finding = only(judge(ending))
    assert finding.level == level
    assert words in finding.text
    assert level == "ok" or "bridge login kimi" in finding.mend


@pytest.mark.parametrize(("remaining", "level"), [(100, "warn"), (-1, "fail")])
def test_a_login_that_cannot_be_renewed(remaining: float, level: str) -> None:
    """Without a refresh token a login ends with its access token."""
    finding = only(judge(replace(GOOD, life=Life(remaining, renewable=False, forecast=UNKNOWN))))
    assert (finding.level, finding.mend) == (level, "bridge login kimi")


def test_locks() -> None:
    """A lock that is not to be had fails; one that a neighbour does not let go of is told."""
    unusable = only(
        troubles(judge(replace(GOOD, lock=Lock.UNUSABLE, lock_problem="Permission denied")))
    )
    assert (unusable.level, "(Permission denied)" in unusable.text) == ("fail", True)
    busy = only(troubles(judge(replace(GOOD, lock=Lock.BUSY))))
    assert (busy.level, "fuser -v" in busy.mend) == ("warn", True)
    assert "kimi-code.lock" in busy.mend


def test_a_renewal_cut_short() -> None:
    """What a crash left is told: the next start finishes it."""
    finding = only(troubles(judge(replace(GOOD, cut_short=True))))
    assert (finding.level, "bridge" in finding.mend) == ("warn", True)


@pytest.mark.parametrize("device", [Device.ABSENT, Device.EMPTY, Device.UNREADABLE])
def test_devices(device: Device) -> None:
    """Beside a login there must be a device id, for Kimi knows the login by it."""
    finding = only(troubles(judge(replace(GOOD, device=device))))
    assert finding.level == "warn"
    assert "device_id" in finding.text


def test_what_the_journal_knows() -> None:
    """A refresh token that may be spent is told with what to do about it."""
    note = (
        "a refresh begun at 14:03:12 was cut short: so; if the next is refused, run: bridge login"
    )
    finding = only(troubles(judge(replace(GOOD, note=note))))
    assert (finding.level, finding.text) == (
        "warn",
        "a refresh begun at 14:03:12 was cut short: so",
    )
    assert finding.mend == "if the next is refused, run: bridge login"
    odd = replace(GOOD, note="odd")
    assert only(troubles(judge(odd))).mend == "if it goes on: bridge login kimi"
    assert only(troubles(judge(replace(odd, cut_short=True)))).text == "odd"


def test_life_holds_no_secret() -> None:
    """Of a token only numbers are kept."""
    token = Token("ACCESSsecret", "REFRESHsecret", NOW + 60, 900)
    found = life(token, NOW, UNKNOWN)
    assert found == Life(60, renewable=True, forecast=UNKNOWN)
    assert "secret" not in repr(found)
    assert not life(replace(token, refresh=""), NOW, UNKNOWN).renewable
    assert "secret" not in said(judge(replace(GOOD, life=found)))
