"""The shared credential file: read by anyone's hand, locked with the neighbour, replaced whole."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import socket
import stat
from collections.abc import Coroutine
from pathlib import Path

import pytest

from bridge.credentials.store import LOCK_PATIENCE_SECONDS, LOCK_POLL_SECONDS, Store
from bridge.errors import CredentialBusy, CredentialUnreadable
from bridge.oauth.token import Token, stored
from tests.fakes.clock import EPOCH, FakeClock
from tests.fakes.credential import read_credential, write_credential

ANSWER = {
    "access_token": "ACCESSsecret-1",
    "refresh_token": "REFRESHsecret-1",
    "expires_in": 900,
    "scope": "kimi-code",
    "token_type": "Bearer",
}
NOBODY = 65534

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def token(number: int) -> Token:
    """Return the token with that number."""
    return Token(f"ACCESSsecret-{number}", f"REFRESHsecret-{number}", EPOCH + 900, 900, "kimi-code")


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    """The credential file of a user who has logged in with the official CLI."""
    return write_credential(tmp_path, ANSWER, EPOCH, theirs="kept")


# --- reading


def test_read_finds_what_the_official_cli_wrote(path: Path, store: Store) -> None:
    """A file of the official CLI's own writing is read, unknown keys included."""
    credential = store.read()
    assert credential is not None
    assert credential.token == stored(json.loads(path.read_text()))
    assert credential.token.extra == {"theirs": "kept"}
    assert credential.identity == store.identity()


def test_read_without_a_file(store: Store, tmp_path: Path) -> None:
    """No file, no folder and a folder that is no folder all mean "not logged in"."""
    assert store.read() is None
    assert store.identity() is None
    (tmp_path / "credentials").write_text("in the way")
    assert store.read() is None
    assert store.identity() is None


def test_read_of_a_tombstone(tmp_path: Path, store: Store) -> None:
    """A file with empty tokens, as the newer CLI leaves after a refusal, is no login."""
    write_credential(tmp_path, ANSWER, EPOCH, access_token="", refresh_token="", expires_at=0)
    assert store.read() is None


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'"text"', b"null", b"\xff\xfe\x00\xd8", b"\0" * 500, b"[" * 100_000,
     b'{"access_token": "ACCESSsecret'],
    ids=["empty", "cut", "list", "text", "null", "binary", "zeros", "deep", "cut-in-a-token"],
)  # fmt: skip
def test_read_of_a_corrupt_file(path: Path, store: Store, content: bytes) -> None:
    """Whatever is no JSON object is named as corrupt, with the way out, and is left as it is."""
    path.write_bytes(content)
    with pytest.raises(
        CredentialUnreadable, match=r"is corrupt .*: restore it, or run: bridge log"
    ):
        store.read()
    assert path.read_bytes() == content


def test_corrupt_text_quotes_nothing(path: Path, store: Store) -> None:
    """What a corrupt file holds is never repeated: it may be a token."""
    path.write_text('{"access_token": "ACCESSsecret-1", oops')
    with pytest.raises(CredentialUnreadable) as caught:
        store.read()
    assert "secret" not in str(caught.value)


def test_read_of_a_fifo(path: Path, store: Store) -> None:
    """A FIFO in the place of the file is refused and waits for no writer."""
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(CredentialUnreadable, match="is not a file: remove it"):
        store.read()


def test_read_of_a_folder(path: Path, store: Store) -> None:
    """A folder in the place of the file is refused by name."""
    path.unlink()
    path.mkdir()
    with pytest.raises(CredentialUnreadable, match="is not a file: remove it"):
        store.read()


def test_read_of_a_socket(path: Path, store: Store) -> None:
    """A socket in the place of the file is refused by name."""
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        with pytest.raises(CredentialUnreadable, match="cannot be read"):
            store.read()


def test_read_of_a_loop_of_links(path: Path, store: Store) -> None:
    """Symbolic links that lead nowhere are refused by name, for stat and for read."""
    path.unlink()
    path.symlink_to(path)
    with pytest.raises(CredentialUnreadable, match="cannot be read"):
        store.read()
    with pytest.raises(CredentialUnreadable, match="cannot be read"):
        store.identity()


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no such file to fail to read")
def test_read_that_fails(clock: FakeClock) -> None:
    """A file that opens and cannot be read is named with the system's reason."""
    with pytest.raises(CredentialUnreadable, match=r"cannot be read \(Input/output error\)"):
        Store(Path("/proc/self/mem"), clock).read()


def test_read_of_a_huge_file(path: Path, store: Store) -> None:
    """A file of a gigabyte is refused by its size and never read."""
    os.truncate(path, 1 << 30)
    with pytest.raises(CredentialUnreadable, match="larger than any credential"):
        store.read()


@as_root
def test_read_of_a_foreign_file(path: Path, store: Store) -> None:
    """A file of another user's is refused with that user's name, even by root."""
    os.chown(path, NOBODY, NOBODY)
    with pytest.raises(CredentialUnreadable, match="belongs to nobody, not to root: run bridge as"):
        store.read()


@as_root
def test_read_of_a_file_of_nobody_known(path: Path, store: Store) -> None:
    """An owner without a name is named by number."""
    os.chown(path, 54321, 54321)
    with pytest.raises(CredentialUnreadable, match="belongs to uid 54321"):
        store.read()


def test_identity_tells_versions_apart(path: Path, store: Store) -> None:
    """Each replacement gives the file another identity, though size and content may be equal."""
    first = store.identity()
    assert first == store.identity()
    content = path.read_bytes()
    path.with_name("copy").write_bytes(content)
    path.with_name("copy").replace(path)
    assert store.identity() not in {None, first}


# --- the lock


def flocked(path: Path) -> bool:
    """Say whether somebody holds the flock of *path*, by a try of foreign code."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


async def test_lock_is_the_neighbours(store: Store) -> None:
    """Inside the block a raw flock on the neighbour's lock file fails; behind it succeeds."""
    async with store.lock() as held:
        assert held
        assert flocked(store.lock_path)
    assert not flocked(store.lock_path)
    status = store.lock_path.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_size) == (0o600, 0)
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700


async def test_lock_keeps_its_file(store: Store) -> None:
    """The lock file is never removed or made anew: another inode would be another lock."""
    store.path.parent.mkdir()
    store.lock_path.touch(0o600)
    inode = store.lock_path.stat().st_ino
    async with store.lock():
        pass
    assert store.lock_path.stat().st_ino == inode


async def test_lock_waits_for_a_raw_flock(store: Store, clock: FakeClock) -> None:
    """While a neighbour holds its raw flock the block is not entered; then it is."""
    store.path.parent.mkdir()
    entered = asyncio.Event()

    async def enters() -> None:
        async with store.lock():
            entered.set()

    descriptor = os.open(store.lock_path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        task = asyncio.create_task(enters())
        for _ in range(20):
            await clock.sleepers()
            clock.advance(LOCK_POLL_SECONDS)
        await clock.sleepers()
        assert not entered.is_set()
    finally:
        os.close(descriptor)
    clock.advance(LOCK_POLL_SECONDS)
    await task


async def test_lock_excludes_other_tasks(store: Store, clock: FakeClock) -> None:
    """Two tasks of one process are never inside together."""
    inside = 0

    async def enters() -> None:
        nonlocal inside
        async with store.lock():
            inside += 1
            assert inside == 1
            await clock.sleep(1)
            inside -= 1

    both = asyncio.create_task(_all(enters(), enters(), enters()))
    await clock.run_until(both)


async def _all(*works: Coroutine[None, None, None]) -> None:
    await asyncio.gather(*works)


async def test_lock_loses_patience(store: Store, clock: FakeClock) -> None:
    """After the patience the error says which lock and what to look for."""
    async with store.lock():

        async def enters() -> None:
            async with store.lock():
                raise AssertionError("both are in")

        with pytest.raises(CredentialBusy, match=r"kimi-code.lock for 400 s: see which kimi"):
            await clock.run_until(asyncio.create_task(enters()))
    assert sum(clock.slept) == pytest.approx(LOCK_PATIENCE_SECONDS, abs=1)


async def test_lock_asks_whether_to_go_on_waiting(store: Store, clock: FakeClock) -> None:
    """A wait ends without the lock as soon as it has become pointless."""
    pointless = False
    async with store.lock():

        async def enters() -> bool:
            async with store.lock(enough=lambda: pointless) as held:
                return held

        task = asyncio.create_task(enters())
        await clock.sleepers()
        pointless = True
        assert await clock.run_until(task) is False


async def test_lock_is_not_touched_when_pointless_from_the_start(store: Store) -> None:
    """Nobody's lock is taken for nothing: a starving neighbour polls only each second or two."""
    async with store.lock(enough=lambda: True) as held:
        assert not held
        assert not store.lock_path.exists()


async def test_lock_wait_can_be_cancelled(store: Store, clock: FakeClock) -> None:
    """Cancelling who waits leaves the lock to who holds it, and free afterwards."""
    async with store.lock():

        async def enters() -> None:
            async with store.lock():
                raise AssertionError("both are in")

        task = asyncio.create_task(enters())
        await clock.sleepers()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert flocked(store.lock_path)
    assert not flocked(store.lock_path)


async def test_lock_is_freed_by_an_error(store: Store) -> None:
    """An error inside the block frees the lock."""
    with pytest.raises(ZeroDivisionError):
        async with store.lock():
            raise ZeroDivisionError
    assert not flocked(store.lock_path)


async def test_symlinked_lock_is_refused(store: Store, tmp_path: Path) -> None:
    """A lock file that is a link is refused by name: it would be another lock than it seems."""
    store.path.parent.mkdir()
    store.lock_path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CredentialUnreadable, match=r"kimi-code.lock cannot be locked"):
        async with store.lock():
            pass
    assert not (tmp_path / "elsewhere").exists()


async def test_folder_as_lock_is_refused(store: Store) -> None:
    """A folder in the place of the lock, as the newer CLI has it, is refused by name."""
    store.lock_path.mkdir(parents=True)
    with pytest.raises(CredentialUnreadable, match=r"kimi-code.lock cannot be locked"):
        async with store.lock():
            pass


async def test_file_as_folder_is_refused(store: Store, tmp_path: Path) -> None:
    """A file in the place of the credential folder is refused by name."""
    (tmp_path / "credentials").write_text("in the way")
    with pytest.raises(CredentialUnreadable, match="cannot be written"):
        async with store.lock():
            pass


@as_root
async def test_root_leaves_nothing_in_a_users_home(store: Store, tmp_path: Path) -> None:
    """Under sudo in somebody's home nothing is written and the text says who to be."""
    os.chown(tmp_path, NOBODY, NOBODY)
    with pytest.raises(CredentialUnreadable, match="this is root: run bridge as nobody"):
        async with store.lock():
            pass
    with pytest.raises(CredentialUnreadable, match="this is root: run bridge as nobody"):
        store.check_writable()
    assert os.listdir(tmp_path) == []  # noqa: PTH208 # pathlib is for code that may block


# --- writing


def test_replace_writes_what_the_neighbour_reads(path: Path, store: Store, tmp_path: Path) -> None:
    """A new login is one line with the six keys, mode 0600, whatever the umask and the old mode."""
    path.chmod(0o644)
    mask = os.umask(0)
    try:
        credential = store.replace(token(2))
    finally:
        os.umask(mask)
    assert read_credential(tmp_path) == token(2).document()
    assert "\n" not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert credential.identity == store.identity()
    assert sorted(p.name for p in path.parent.iterdir()) == ["kimi-code.json"]


def test_commit_installs_the_successor(path: Path, store: Store) -> None:
    """The successor takes the predecessor's place, and the folder is clean."""
    credential = store.commit(store.reserve(token(1)), token(2))
    assert credential == store.read()
    assert credential is not None
    assert credential.token == token(2)
    assert [p.name for p in path.parent.iterdir()] == ["kimi-code.json"]


def test_commit_does_not_undo_a_logout(path: Path, store: Store) -> None:
    """Where the file is gone since, nothing is written and nothing is left."""
    successor = store.reserve(token(1))
    path.unlink()
    assert store.commit(successor, token(2)) is None
    assert list(path.parent.iterdir()) == []


def test_commit_lets_another_login_stay(path: Path, store: Store) -> None:
    """Where somebody logged in anew since, that login stays and is what comes back."""
    successor = store.reserve(token(1))
    store.replace(token(7))
    credential = store.commit(successor, token(2))
    assert credential is not None
    assert credential.token == token(7)
    assert credential == store.read()
    assert [p.name for p in path.parent.iterdir()] == ["kimi-code.json"]


def test_commit_beside_a_spoilt_file(path: Path, store: Store) -> None:
    """Where the file has been spoilt since, the successor waits beside it until it is restored."""
    content = path.read_bytes()
    successor = store.reserve(token(1))
    path.write_bytes(b"spoilt")
    with pytest.raises(CredentialUnreadable, match="corrupt"):
        store.commit(successor, token(2))
    assert path.read_bytes() == b"spoilt"
    path.write_bytes(content)
    assert store.interrupted()
    assert not store.recover()
    credential = store.read()
    assert credential is not None
    assert credential.token == token(2)
    assert not store.interrupted()


def test_reserve_without_room(store: Store) -> None:
    """Where no room can be made the file and the reason are named, and nothing was spent."""
    with pytest.raises(CredentialUnreadable, match=r"kimi-code.json cannot be written \(No such"):
        store.reserve(token(1))


def test_recover_from_a_folder_in_the_way(path: Path, store: Store) -> None:
    """What cannot be cleared away is told, and the credential stays as it is."""
    content = path.read_bytes()
    path.with_name(".kimi-code.json.0123456789abcdef.tmp").mkdir()
    with pytest.raises(CredentialUnreadable, match="cannot be written"):
        store.recover()
    assert path.read_bytes() == content


def test_remove_forgets_the_login_and_its_traces(path: Path, store: Store) -> None:
    """A logout takes the file and what a crash left of the login, and tells if there was one."""
    store.reserve(token(1)).close()
    assert store.remove() is True
    assert list(path.parent.iterdir()) == []
    assert store.remove() is False


def test_remove_of_a_folder(path: Path, store: Store) -> None:
    """What is no file is not removed by force; the text names it."""
    path.unlink()
    path.mkdir()
    with pytest.raises(CredentialUnreadable, match="cannot be written"):
        store.remove()


def test_check_writable_leaves_no_trace(store: Store) -> None:
    """The check makes the folder, tries it, and leaves nothing in it but the lock."""
    store.check_writable()
    assert [p.name for p in store.path.parent.iterdir()] == ["kimi-code.lock"]
    assert not flocked(store.lock_path)


async def test_check_writable_while_a_neighbour_refreshes(store: Store) -> None:
    """A lock that is held at the moment is no obstacle to a login."""
    async with store.lock():
        store.check_writable()


def test_folder_in_the_way_of_a_login(path: Path, store: Store) -> None:
    """A folder in the place of the file is a clear refusal, not a traceback."""
    path.unlink()
    (path / "inside").mkdir(parents=True)
    with pytest.raises(CredentialUnreadable, match="cannot be written"):
        store.replace(token(1))
    assert [p.name for p in path.parent.iterdir()] == ["kimi-code.json"]
