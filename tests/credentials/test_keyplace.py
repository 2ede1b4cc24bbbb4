"""A key in a variable or a file: what counts, from when on, and what is said of what does not."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MappingProxyType

import pytest

from bridge.credentials.keyplace import SETTLING_SECONDS, File, Key, Variable
from bridge.errors import BridgeError, CredentialUnreadable, KeyRequired
from bridge.providers import Auth, Models, Provider
from tests.fakes.clock import FakeClock
from tests.world import NOBODY

PROVIDER = Provider(
    name="minimax",
    auth=Auth.KEY,
    surfaces=MappingProxyType({}),
    models=Models("m", "m"),
    key_prefixes=("sk-cp-", "sk-api-"),
)
ONE, TWO = "sk-cp-FILEsecret1", "sk-cp-FILEsecret2"
NAME = "~/.minimax.key"


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    """Where the key file is."""
    return tmp_path / ".minimax.key"


@pytest.fixture(name="file")
def _file(path: Path, clock: FakeClock) -> File:
    """The place that looks there; by the clock of these tests nothing was written just now."""
    return File(NAME, str(path), PROVIDER, clock)


def put(path: Path, content: str | bytes = ONE, mode: int = 0o600) -> Path:
    """Write *content*, for its owner alone."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return path


def access(place: File | Variable) -> str | None:
    """Return the key of *place*."""
    key = place.at_once()
    return None if key is None else key.access


def refusal(place: File | Variable, kind: type[BridgeError] = KeyRequired) -> str:
    """Return what is said of what *place* holds, which is no key."""
    with pytest.raises(kind) as caught:
        place.at_once()
    assert "secret" not in str(caught.value)
    return str(caught.value)


# --- variables


@pytest.mark.parametrize("value", [ONE, f" {ONE}\n", f"\t{ONE}\r\n"])
def test_a_variable(value: str) -> None:
    """A variable holds a key, whatever white space is around it."""
    place = Variable("MINIMAX_API_KEY", {"MINIMAX_API_KEY": value}, PROVIDER)
    assert place.at_once() == Key(ONE, "MINIMAX_API_KEY")


@pytest.mark.parametrize("value", [None, "", " \n"])
def test_no_variable(value: str | None) -> None:
    """A variable that is not set, or set to nothing, is no place where a key stands."""
    environment = {} if value is None else {"MINIMAX_API_KEY": value}
    assert Variable("MINIMAX_API_KEY", environment, PROVIDER).at_once() is None


def test_a_placeholder_in_a_variable() -> None:
    """A placeholder is refused each time, with the name of the variable and what to do."""
    place = Variable("MINIMAX_API_KEY", {"MINIMAX_API_KEY": "your-api-key"}, PROVIDER)
    depths = set()
    for _ in range(3):
        with pytest.raises(KeyRequired) as caught:
            place.at_once()
        assert str(caught.value) == (
            "MINIMAX_API_KEY holds a placeholder and no key: set it to the key alone"
        )
        depths.add(len(caught.traceback))
    assert len(depths) == 1  # nothing is piled up on the way


def test_a_key_of_another_service() -> None:
    """A wrong-looking beginning is pointed out, without the key, and the key is used."""
    key = Variable("K", {"K": "sk-ant-FOREIGNsecret"}, PROVIDER).at_once()
    assert key is not None
    assert key.access == "sk-ant-FOREIGNsecret"
    (oddity,) = key.oddities
    assert oddity == (
        "the key in K does not begin with sk-cp- or sk-api-, as those of minimax do: "
        "see that it is not another service's"
    )
    assert "secret" not in repr(key)


# --- files


@pytest.mark.parametrize(
    "content",
    [ONE, f"{ONE}\n", f"  {ONE}\r\n\r\n", f"\ufeff{ONE}\n", f"\n\n{ONE}"],
    ids=["bare", "line", "crlf", "byte order mark", "empty lines before"],
)
def test_a_file(path: Path, file: File, content: str) -> None:
    """A file holds a key, whatever white space an editor has put around it."""
    put(path, content)
    assert file.at_once() == Key(ONE, NAME)


def test_no_file(path: Path, file: File) -> None:
    """A file that is not there holds no key; one that is made or removed counts at once."""
    assert access(file) is None
    put(path)
    assert access(file) == ONE
    path.unlink()
    assert access(file) is None


def test_a_folder_above_that_is_none(tmp_path: Path, clock: FakeClock) -> None:
    """Where a file stands in place of a folder above, there is no key either."""
    put(tmp_path / "above")
    assert access(File(NAME, str(tmp_path / "above" / "key"), PROVIDER, clock)) is None


def written_over(path: Path) -> None:
    """Write the second key over the first, in place."""
    put(path, TWO)


def replaced(path: Path) -> None:
    """Replace the file, as careful programs do, with its times kept."""
    before = path.stat()
    new = put(path.with_suffix(".new"), TWO)
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    new.replace(path)


def copied_over(path: Path) -> None:
    """Write over the file and set its times back, as ``cp -p`` may."""
    before = path.stat()
    put(path, TWO)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [written_over, replaced, copied_over])
def test_a_changed_file(path: Path, file: File, change: Callable[[Path], None]) -> None:
    """A changed key counts from the next look on, however it was changed."""
    put(path)
    os.utime(path, ns=(1, 1))
    assert access(file) == ONE
    change(path)
    assert access(file) == TWO


def test_an_unchanged_file_is_not_read(path: Path, file: File) -> None:
    """As long as nothing has changed the very same key comes back: one look, no reading."""
    put(path)
    first = file.at_once()
    assert file.at_once() is first
    assert first is not None


def test_a_file_that_has_just_been_written(path: Path) -> None:
    """Within the tick of a file system's clock two versions look the same: both are seen."""
    put(path)
    status = path.stat()
    clock = FakeClock(status.st_ctime + SETTLING_SECONDS / 2)
    file = File(NAME, str(path), PROVIDER, clock)
    assert access(file) == ONE
    assert file._seen is None  # what it looked like is not trusted yet
    first = file.at_once()
    clock.advance(SETTLING_SECONDS)
    assert file.at_once() is first
    assert file._seen is not None


def test_a_file_that_is_being_written(path: Path) -> None:
    """A file that was emptied a moment ago keeps its key: a shell empties it before it writes."""
    put(path)
    clock = FakeClock(path.stat().st_ctime)
    file = File(NAME, str(path), PROVIDER, clock)
    assert access(file) == ONE
    put(path, "")
    clock.jump(path.stat().st_ctime - clock.now() + 0.1)
    assert access(file) == ONE
    put(path, TWO)
    assert access(file) == TWO
    put(path, "")
    clock.jump(path.stat().st_ctime - clock.now() + SETTLING_SECONDS)
    assert refusal(file) == f"{NAME} is empty: write the key alone into it"


def test_a_file_that_was_spoilt_before_it_is_written(path: Path) -> None:
    """A key that was replaced by something else does not come back while the file is empty."""
    put(path)
    clock = FakeClock(path.stat().st_ctime)
    file = File(NAME, str(path), PROVIDER, clock)
    assert access(file) == ONE
    put(path, "<your key>")
    clock.jump(path.stat().st_ctime - clock.now() + 0.1)
    assert "holds a placeholder" in refusal(file)
    put(path, "")
    assert "is empty" in refusal(file)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is empty: write the key alone into it"),
        (" \n", "is empty: write"),
        (f"{ONE}\n{TWO}\n", "has 2 lines, and a key is one: write the key alone into it"),
        (f"MINIMAX_API_KEY={ONE}", "holds an assignment and not the key alone: write"),
        ("<your key>", "holds a placeholder and no key: write the key alone into it"),
        (b"sk-cp-\x00FILEsecret", "has a character that no key has"),
        (b"sk-cp-\xe4FILEsecret", "has a character that no key has"),
        (ONE.encode("utf-16"), "has a character that no key has"),
        (b"x" * 20_000, "is too large for a key: write the key alone into it"),
    ],
)
def test_a_file_without_a_key(path: Path, file: File, content: str | bytes, reason: str) -> None:
    """What is wrong with a file is told with its name; a key that was there before is over."""
    put(path)
    assert access(file) == ONE
    put(path, content)
    for _ in range(2):
        assert refusal(file).startswith(f"{NAME} {reason}")
    put(path, TWO)
    assert access(file) == TWO


def test_a_folder(path: Path, file: File) -> None:
    """A folder in its place is told to be one."""
    path.mkdir()
    told = refusal(file, CredentialUnreadable)
    assert told == f"{NAME} is a folder: put a file with the key alone in its place"


def test_a_pipe(path: Path, file: File) -> None:
    """A pipe is not waited for: nobody may ever write into it."""
    os.mkfifo(path)
    assert "is no regular file" in refusal(file, CredentialUnreadable)


def test_a_link(path: Path, file: File, tmp_path: Path) -> None:
    """A link is followed, also when it comes to point elsewhere; one to nowhere is no file."""
    one, two = put(tmp_path / "one", ONE), put(tmp_path / "two", TWO)
    path.symlink_to(one)
    assert access(file) == ONE
    path.unlink()
    path.symlink_to(two)
    assert access(file) == TWO
    two.unlink()
    assert access(file) is None
    two.symlink_to(path)
    assert "cannot be read (Too many levels" in refusal(file, CredentialUnreadable)


@contextlib.contextmanager
def somebody() -> Iterator[None]:
    """Be somebody whom file modes bind, for the length of the block."""
    me = os.geteuid()
    try:
        if me == 0:
            os.seteuid(NOBODY)
        yield
    finally:
        os.seteuid(me)


def test_an_unreadable_file(path: Path, file: File) -> None:
    """A file that may not be read is told with the reason, and counts once it may."""
    put(path, mode=0)
    with somebody():
        told = refusal(file, CredentialUnreadable)
    assert told.startswith(f"{NAME} cannot be read (Permission denied): make it readable for")
    path.chmod(0o600)
    assert access(file) == ONE


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_file_that_others_can_read(path: Path, file: File, mode: int) -> None:
    """A mode that lets others read is pointed out with its mend, and once mended is forgotten."""
    put(path, mode=mode)
    key = file.at_once()
    assert key is not None
    assert key.oddities == (f"{NAME} can be read by other users: run: chmod 600 {NAME}",)
    path.chmod(0o600)
    assert file.at_once() == Key(ONE, NAME)
