"""Logins and keys are looked at where they are kept; nothing is made, and no secret handed on."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.credentials.chronicle import Outcome
from bridge.credentials.forecast import DAY, REFRESH_LIFETIME
from bridge.credentials.journal import Journal
from bridge.doctor.judging.login import Device, Lock
from bridge.doctor.looking.credentials import login, places
from bridge.providers import KeyPlace
from tests.doctor.rows import row
from tests.fakes.clock import EPOCH, FakeClock
from tests.fakes.credential import credential_file, lock_file, write_credential
from tests.world import NOBODY

ANSWER = {
    "access_token": "ACCESSsecret",
    "refresh_token": "REFRESHsecret",
    "expires_in": 900,
    "scope": "kimi-code",
    "token_type": "Bearer",
}
#: No journal: nothing has been refreshed yet.
NONE = Path("/nonexistent/journal")
SECRET = "sk-x-SECRET9f3b1c77"


@pytest.fixture(name="share")
def _share(tmp_path: Path) -> Path:
    """A share folder with a login and a device id, as the official CLI leaves them."""
    share = tmp_path / ".kimi"
    write_credential(share, ANSWER, EPOCH)
    (share / "device_id").write_text("d" * 32)
    lock_file(share).touch(mode=0o600)
    return share


# --- logins


def test_a_login(share: Path) -> None:
    """A whole login is told without its tokens; the token itself comes beside it."""
    found, token = login("kimi", share, FakeClock(), journal=NONE)
    assert (found.mode, found.problem, found.lock, found.cut_short) == (
        0o600,
        None,
        Lock.FREE,
        False,
    )
    assert found.life is not None
    assert (found.life.remaining, found.life.renewable) == (900, True)
    assert found.device is Device.WRITTEN
    assert token is not None
    assert token.access == "ACCESSsecret"
    assert "secret" not in repr((found, token))


def test_what_the_journal_knows(share: Path, tmp_path: Path) -> None:
    """The journal is looked at and left alone: its issue counts, and what it suspects is told."""
    clock, path = FakeClock(), tmp_path / "state" / "journal"
    journal = Journal(path, clock)
    journal.resume(None)
    _, token = login("kimi", share, clock, journal=path)
    assert token is not None
    clock.jump(-DAY)
    journal.begun(replace(token, refresh="REFRESHsecret0"))
    journal.ended(replace(token, refresh="REFRESHsecret0"), Outcome.ROTATED, token)
    content = path.read_bytes()
    found, _ = login("kimi", share, clock, journal=path)
    assert found.life is not None
    assert found.life.forecast.ends_at == EPOCH - DAY + REFRESH_LIFETIME
    assert found.note == ""
    journal.begun(token)
    found, _ = login("kimi", share, clock, journal=path)
    assert "has not ended" in found.note
    assert "secret" not in repr(found)
    assert path.read_bytes() != content
    with lock_file(share).open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        clock.pause(0)
        assert login("kimi", share, clock, journal=path)[0].note == ""


def test_no_login_is_not_made(tmp_path: Path) -> None:
    """Looking for a login leaves nothing behind: no folder, no lock, no device id."""
    found, token = login("kimi", tmp_path / ".kimi", FakeClock(), journal=NONE)
    assert (found.life, found.mode, token) == (None, None, None)
    assert (found.lock, found.device) == (Lock.FREE, Device.ABSENT)
    assert list(tmp_path.iterdir()) == []


def test_a_login_leaves_the_files_as_they_are(share: Path) -> None:
    """Looking changes neither content nor time of any file."""
    before = {path: path.stat() for path in share.rglob("*")}
    login("kimi", share, FakeClock(), journal=NONE)
    assert {path: path.stat().st_mtime_ns for path in share.rglob("*")} == {
        path: status.st_mtime_ns for path, status in before.items()
    }


@pytest.mark.parametrize("text", ["{", "[]", "", '{"access_token": "ACCESSsecret'])
def test_a_corrupt_login(share: Path, text: str) -> None:
    """What the store refuses is told in its words, and shown by nobody."""
    credential_file(share).write_text(text)
    found, _ = login("kimi", share, FakeClock(), journal=NONE)
    assert found.problem is not None
    assert "is corrupt" in found.problem[0]
    assert "bridge login" in found.problem[1]
    assert "secret" not in repr(found)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_login_of_somebody_else(share: Path) -> None:
    """A credential of another user is told with that user's name."""
    os.chown(credential_file(share), NOBODY, NOBODY)
    found, _ = login("kimi", share, FakeClock(), journal=NONE)
    assert found.problem is not None
    assert "belongs to" in found.problem[0]


def test_a_busy_lock(share: Path) -> None:
    """A lock that a neighbour holds for a second is told; nobody waits longer."""
    clock = FakeClock()
    with lock_file(share).open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        found, _ = login("kimi", share, clock, journal=NONE)
    assert found.lock is Lock.BUSY
    assert sum(clock.slept) == pytest.approx(1.0)
    assert login("kimi", share, clock, journal=NONE)[0].lock is Lock.FREE


def test_a_lock_that_is_none(share: Path) -> None:
    """What cannot be opened for locking is told with the system's reason."""
    lock_file(share).unlink()
    lock_file(share).mkdir()
    found, _ = login("kimi", share, FakeClock(), journal=NONE)
    assert (found.lock, found.lock_problem) == (Lock.UNUSABLE, "Is a directory")


def test_a_renewal_cut_short(share: Path) -> None:
    """What a crash left beside the file is seen, and left there; under the lock it is not one."""
    left = credential_file(share).with_name(f".kimi-code.json.{'a' * 16}.tmp")
    left.touch()
    assert login("kimi", share, FakeClock(), journal=NONE)[0].cut_short
    assert left.exists()
    with lock_file(share).open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert not login("kimi", share, FakeClock(), journal=NONE)[0].cut_short


def test_devices(share: Path) -> None:
    """A device id is written, empty, unreadable or not there."""
    path = share / "device_id"
    seen = []
    for make in (lambda: path.write_text(" \n"), path.unlink, path.mkdir):
        make()
        seen.append(login("kimi", share, FakeClock(), journal=NONE)[0].device)
    assert seen == [Device.EMPTY, Device.ABSENT, Device.UNREADABLE]


# --- keys

ROW = row("x", keys=(KeyPlace(env="X_API_KEY"), KeyPlace(file="~/.x.key")), key_prefixes=("sk-x-",))


def test_a_key_of_a_variable(tmp_path: Path) -> None:
    """The first place that yields is named, and the key is not among the facts."""
    environment = {"HOME": str(tmp_path), "X_API_KEY": f" {SECRET}\n"}
    found = places(ROW, environment, FakeClock(), wanted=False)
    assert (found.found, found.wrong, found.odd) == ("X_API_KEY", (), ())
    assert SECRET not in repr(found)


def test_a_key_file(tmp_path: Path) -> None:
    """A file yields where the variable does not; one that others can read is odd."""
    path = tmp_path / ".x.key"
    path.write_text(SECRET)
    path.chmod(0o600)
    environment = {"HOME": str(tmp_path)}
    assert places(ROW, environment, FakeClock(), wanted=False).found == "~/.x.key"
    path.chmod(0o644)
    found = places(ROW, environment, FakeClock(), wanted=False)
    [(text, mend)] = found.odd
    assert ("can be read by other users" in text, "chmod 600" in mend) == (True, True)
    assert SECRET not in repr(found)


def test_a_key_of_another_host(tmp_path: Path) -> None:
    """A key that begins otherwise than those of that host is odd."""
    environment = {"HOME": str(tmp_path), "X_API_KEY": "sk-other-SECRET9f3b1c77"}
    found = places(ROW, environment, FakeClock(), wanted=False)
    [(text, mend)] = found.odd
    assert "does not begin with sk-x-" in text
    assert mend
    assert "SECRET" not in repr(found)


@pytest.mark.parametrize("content", ["your-api-key", "a\nb", "", "é"])
def test_what_is_no_key(tmp_path: Path, content: str) -> None:
    """A placeholder and its like are told with the place, and no other place hides them."""
    (tmp_path / ".x.key").write_text(content)
    found = places(ROW, {"HOME": str(tmp_path)}, FakeClock(), wanted=True)
    assert (found.found, found.wanted) == (None, True)
    [(text, mend)] = found.wrong
    assert ("~/.x.key" in text, bool(mend)) == (True, True)
    environment = {"HOME": str(tmp_path), "X_API_KEY": "your-key"}
    assert len(places(ROW, environment, FakeClock(), wanted=True).wrong) == 2


def test_no_key(tmp_path: Path) -> None:
    """Without a key, the places where one could be are named."""
    found = places(ROW, {"HOME": str(tmp_path)}, FakeClock(), wanted=False)
    assert (found.found, found.names) == (None, ("X_API_KEY", "~/.x.key"))


def test_commands_are_not_run(tmp_path: Path) -> None:
    """A command is looked for and not run; its arguments may be secrets and are not told."""
    mark = tmp_path / "ran"
    words = ("touch", str(mark), SECRET)
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    found = places(row("x", keys=(KeyPlace(command=words),)), environment, FakeClock(), wanted=True)
    assert found.found == "the command touch (not run for this)"
    assert not mark.exists()
    gone = row("x", keys=(KeyPlace(command=("no-such-program", SECRET)),))
    found = places(gone, environment, FakeClock(), wanted=True)
    assert found.found is None
    [(text, mend)] = found.wrong
    assert ("no-such-program cannot be run" in text, "absolute path" in mend) == (True, True)
    assert SECRET not in json.dumps([found.wrong, found.names])
