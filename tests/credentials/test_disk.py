"""Disks and owners that are against us: real full disks, read-only ones, and a second user."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from bridge.clock import SystemClock
from bridge.credentials.chronicle import Outcome
from bridge.credentials.journal import Journal
from bridge.errors import CredentialUnreadable
from bridge.oauth.token import Token
from tests.credentials.program import BridgeProcess
from tests.credentials.strongbox import at_once, household
from tests.fakes.authorization import AuthorizationProcess
from tests.fakes.clock import FakeClock
from tests.fakes.credential import credential_file, lock_file, write_credential

NOBODY = 65534
STALE = 451
PAGE = 4096


def _mounts() -> bool:
    """Say whether this process may mount a disk of its own."""
    unshare = shutil.which("unshare")
    return unshare is not None and not subprocess.call(
        [unshare, "-m", "true"], stderr=subprocess.DEVNULL
    )


pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(120),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts disks and becomes other users"),
]
mounted = pytest.mark.skipif(not _mounts(), reason="no mount namespace may be made here")


# --- disks


class Disk:
    """A disk of 64 KiB, mounted where nobody else sees it, as a context manager.

    *path* is where it is seen from here, through the process that holds its namespace.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ballast = 0

    def __enter__(self) -> Self:
        script = 'mount -t tmpfs -o size=64k,mode=755 tmpfs "$0" && echo mounted && read line'
        self._holder = subprocess.Popen(
            ["unshare", "-m", "--propagation", "private", "sh", "-c", script, str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"mounted\n"
        self.path = Path(f"/proc/{self._holder.pid}/root{self._folder}")
        return self

    def __exit__(self, *reason: object) -> None:
        with self._holder:  # its input is closed, and it ends
            pass

    def fill(self, *, but: int = 0) -> None:
        """Take all the room there is, *but* some bytes."""
        free = os.statvfs(self.path)
        (self.path / "ballast").write_bytes(b"x" * (free.f_bavail * free.f_frsize - but))

    def empty(self) -> None:
        """Give the room back."""
        (self.path / "ballast").unlink()

    def turn(self, mode: str) -> None:
        """Mount the disk again, as ``ro`` or ``rw``."""
        subprocess.run(
            ["nsenter", "-t", str(self._holder.pid), "-m",
             "mount", "-o", f"remount,{mode}", str(self._folder)],
            check=True,
        )  # fmt: skip


@pytest.fixture(name="disk")
def _disk(tmp_path: Path) -> Iterator[Disk]:
    """A small disk."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with Disk(folder) as disk:
        yield disk


@mounted
@pytest.mark.parametrize("room", [0, PAGE, 2 * PAGE])
async def test_disk_full_before_a_refresh(disk: Disk, clock: FakeClock, room: int) -> None:
    """Without enough room nothing is spent: the token is used on, and works when there is room."""
    async with household(disk.path, clock) as home:
        old = home.credential
        async with home.elsewhere.lock():
            pass
        disk.fill(but=room)
        clock.advance(STALE)
        assert at_once(home.source.current()).document() == old
        await home.source.settle()
        assert home.server.requests == []
        assert home.litter == []
        problem = home.source.condition().problem
        assert problem is not None
        assert "kimi-code.json cannot be written (No space left on device): make room" in problem
        disk.empty()
        clock.advance(60)
        at_once(home.source.current())
        await home.source.settle()
        assert home.credential["refresh_token"] != old["refresh_token"]
        assert home.source.condition().problem is None


@mounted
async def test_disk_full_before_the_lock_exists(disk: Disk, clock: FakeClock) -> None:
    """A disk too full for anything is told in one line, too."""
    async with household(disk.path, clock) as home:
        disk.fill()
        clock.advance(STALE)
        assert at_once(home.source.current()).document() == home.credential
        await home.source.settle()
        assert home.server.requests == []


@mounted
async def test_disk_that_fills_up_during_a_refresh(disk: Disk, clock: FakeClock) -> None:
    """The room was made before, so the new token is saved on a disk that is full by then."""
    async with household(disk.path, clock) as home:
        old = home.credential
        home.server.hold_before = True
        clock.advance(STALE)
        at_once(home.source.current())
        await home.server.request_arrived()
        disk.fill()
        home.server.release()
        await home.source.settle()
        assert home.credential["refresh_token"] != old["refresh_token"]
        assert home.source.condition().problem is None
        assert home.litter == []


@mounted
async def test_disk_full_before_a_login(disk: Disk, clock: FakeClock) -> None:
    """Nobody is asked to approve what could not be stored."""
    async with household(disk.path, clock) as home:
        old = home.credential
        disk.fill(but=PAGE)
        with pytest.raises(CredentialUnreadable, match="No space left on device"):
            await home.box.login().begin()
        assert home.server.requests == []
        assert home.credential == old


@mounted
async def test_disk_read_only(disk: Disk, clock: FakeClock) -> None:
    """On a read-only disk the token is used to its end, and login and logout say why they fail."""
    async with household(disk.path, clock) as home:
        old = home.credential
        async with home.elsewhere.lock():
            pass
        disk.turn("ro")
        clock.advance(STALE)
        assert at_once(home.source.current()).document() == old
        await home.source.settle()
        problem = home.source.condition().problem
        assert problem is not None
        assert "Read-only file system" in problem
        with pytest.raises(CredentialUnreadable, match="Read-only file system"):
            await home.box.login().begin()
        with pytest.raises(CredentialUnreadable, match="Read-only file system"):
            home.store.remove()
        assert home.server.requests == []
        assert home.credential == old
        disk.turn("rw")
        clock.advance(60)
        at_once(home.source.current())
        await home.source.settle()
        assert home.server.refreshes == 1


@mounted
@pytest.mark.parametrize("trouble", ["full", "ro"])
def test_disk_of_the_journal(
    disk: Disk, clock: FakeClock, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    """A journal that cannot be written is one line, loses nothing, and is written when it can."""
    path = disk.path / "state" / "journal"
    journal, token = Journal(path, clock), Token("ACCESSsecret", "REFRESHsecret", 0, 900)
    journal.begun(token)
    before = path.read_bytes()
    if trouble == "full":
        disk.fill()
    else:
        disk.turn("ro")
    journal.ended(token, Outcome.LOST)
    journal.resume(token)
    journal.begun(token)
    reason = "No space left on device" if trouble == "full" else "Read-only file system"
    assert caplog.messages == [f"refresh journal not written provider=kimi reason={reason}"]
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["journal"]
    assert journal.suspects(token)
    if trouble == "full":
        disk.empty()
    else:
        disk.turn("rw")
    journal.ended(token, Outcome.LOST)
    after = Journal(path, clock)
    after.look()
    assert after.chronicle == journal.chronicle


# --- users


@pytest.fixture(name="server")
def _server() -> Iterator[AuthorizationProcess]:
    """The authorization server, as a process."""
    with AuthorizationProcess() as server:
        yield server


@pytest.fixture(name="share_dir")
def _share_dir(server: AuthorizationProcess) -> Iterator[Path]:
    """The share folder of a second user, who is logged in."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        write_credential(home, server.seed(), SystemClock().now())
        for path in (home, home / "credentials", credential_file(home)):
            os.chown(path, NOBODY, NOBODY)
        yield home


@contextlib.contextmanager
def second_user(
    share_dir: Path, server: AuthorizationProcess, *, due: bool = True
) -> Iterator[BridgeProcess]:
    """Run a bridge as the second user, for whom a refresh is *due*."""
    with BridgeProcess(share_dir, server.url, ahead=460 if due else 0, uid=NOBODY) as bridge:
        yield bridge


def refused(answer: dict[str, Any]) -> str:
    """Return the text of the one clear line that *answer* is."""
    assert answer["error"] == "CredentialUnreadable", answer
    text: str = answer["text"]
    assert "\n" not in text
    assert "secret" not in text
    assert ": " in text
    return text


def test_second_user_is_served(share_dir: Path, server: AuthorizationProcess) -> None:
    """Any user's bridge refreshes that user's login, and the file stays that user's."""
    with second_user(share_dir, server) as bridge:
        assert "access" in bridge.does("current")
    status = credential_file(share_dir).stat()
    assert (status.st_uid, status.st_mode & 0o777) == (NOBODY, 0o600)
    assert server.state()["refreshes"] == 1


def test_unreadable_file(share_dir: Path, server: AuthorizationProcess) -> None:
    """A file without read permission is named; made readable, it works without a restart."""
    path = credential_file(share_dir)
    path.chmod(0)
    with second_user(share_dir, server) as bridge:
        text = refused(bridge.does("current"))
        assert text.startswith(f"{path} cannot be read (Permission denied): make it readable")
        path.chmod(0o600)
        assert "access" in bridge.does("current")


@pytest.mark.parametrize(
    ("mode", "reason"),
    [(0o600, "cannot be read (Permission denied)"), (0o644, "belongs to root, not to nobody")],
)
def test_foreign_file(
    share_dir: Path, server: AuthorizationProcess, mode: int, reason: str
) -> None:
    """A file that a careless sudo left to root is named, readable or not, and not replaced."""
    path = credential_file(share_dir)
    os.chown(path, 0, 0)
    path.chmod(mode)
    with second_user(share_dir, server) as bridge:
        assert reason in refused(bridge.does("current"))
    assert path.stat().st_uid == 0
    assert server.state()["refreshes"] == 0


def test_foreign_lock(share_dir: Path, server: AuthorizationProcess) -> None:
    """A lock that was left to root is named; the token is used on, and nothing is refreshed."""
    lock = lock_file(share_dir)
    lock.touch(0o600)
    with second_user(share_dir, server) as bridge:
        text = refused(bridge.does("lock"))
        assert text.startswith(f"{lock} cannot be locked (Permission denied): mend that")
        assert "access" in bridge.does("current")
    assert server.state()["refreshes"] == 0


def test_folder_without_write_permission(share_dir: Path, server: AuthorizationProcess) -> None:
    """Where nothing can be written nothing is spent, and no login is begun."""
    lock_file(share_dir).touch(0o600)
    os.chown(lock_file(share_dir), NOBODY, NOBODY)
    (share_dir / "credentials").chmod(0o500)
    with second_user(share_dir, server) as bridge:
        assert "access" in bridge.does("current")
        assert "cannot be written (Permission denied)" in refused(bridge.does("login"))
    assert server.state()["refreshes"] == 0
    assert server.state()["device_flows"] == 0


@pytest.mark.parametrize("folder", [".", "credentials"])
def test_folder_that_cannot_be_entered(
    share_dir: Path, server: AuthorizationProcess, folder: str
) -> None:
    """A folder without search permission is one clear line for request, lock and login alike."""
    (share_dir / folder).chmod(0)
    with second_user(share_dir, server) as bridge:
        assert "cannot be read (Permission denied)" in refused(bridge.does("current"))
        assert "Permission denied" in refused(bridge.does("lock"))
        assert "Permission denied" in refused(bridge.does("login"))
        (share_dir / folder).chmod(0o700)
        assert "access" in bridge.does("current")


def test_folder_that_loses_its_permission_during_a_refresh(
    share_dir: Path, server: AuthorizationProcess
) -> None:
    """A token that cannot be renamed is kept, told, and saved in the end."""
    before = credential_file(share_dir).read_bytes()
    server.set(hold_after=1)
    folder = share_dir / "credentials"
    with second_user(share_dir, server) as bridge:
        bridge.tell("current")
        server.ask("arrived")
        folder.chmod(0o500)
        server.ask("release")
        old = bridge.said()["access"]
        assert credential_file(share_dir).read_bytes() == before
        told = bridge.does("save")
        assert told["ready"]
        assert "only in memory; make room at once" in told["problem"]
        new = bridge.does("current")["access"]
        assert server.valid(new)
        assert new != old
        folder.chmod(0o700)
        saved = bridge.does("save")
        assert (saved["ready"], saved["problem"], saved["note"]) == (True, None, None)
        assert bridge.does("current")["access"] == new
    assert new in credential_file(share_dir).read_text()
    assert sorted(p.name for p in folder.iterdir()) == ["kimi-code.json", "kimi-code.lock"]
    assert (server.state()["refreshes"], server.state()["spent_presented"]) == (1, 0)


def test_unsaved_token_is_found_by_the_next_start(
    share_dir: Path, server: AuthorizationProcess
) -> None:
    """What could be written and not renamed outlives the process that had it in memory."""
    server.set(hold_after=1)
    folder = share_dir / "credentials"
    with second_user(share_dir, server) as bridge:
        bridge.tell("current")
        server.ask("arrived")
        folder.chmod(0o500)
        server.ask("release")
        bridge.said()
        new = bridge.does("current")["access"]
        bridge.dies()
    folder.chmod(0o700)
    with second_user(share_dir, server) as bridge:
        bridge.does("current")
        assert bridge.does("current")["access"] == new
    assert (server.state()["refreshes"], server.state()["spent_presented"]) == (1, 0)
