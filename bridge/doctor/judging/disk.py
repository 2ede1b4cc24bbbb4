"""Judges files and folders of ours: owner, mode, and whether there is room.

Pure. A file that root left behind in a person's home is the usual reason for a daemon that does not
start.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Final

from bridge.doctor.finding import Finding, fail, ok, warn

SUBJECT: Final = "files"
#: Bytes; a log and a token need less than the first by far.
SCARCE: Final = 64 * 1024 * 1024
NONE_LEFT: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Item:
    """A file or folder of ours, or the nearest folder above one that is yet to be made.

    *role* says what it is for, *owner* whose it is where that is not us; *mode* counts where it is
    *private* (nobody else may read it) or *steering* (nobody else may write it).
    """

    role: str
    path: str
    writable: bool
    mode: int
    owner: str = ""
    private: bool = False
    steering: bool = False


@dataclass(frozen=True, slots=True)
class Room:
    """How many bytes are free for us where *path* is."""

    path: str
    free: int


def judge(items: Sequence[Item], rooms: Sequence[Room]) -> Iterator[Finding]:
    """Yield what is to be said of *items*, and of the *rooms* that they are in."""
    findings = [finding for item in items for finding in _item(item)]
    findings += [finding for room in rooms for finding in _room(room)]
    yield from findings or [ok(SUBJECT, "state, log and login can be written, and there is room")]


def _item(item: Item) -> Iterator[Finding]:
    if item.owner:
        text = f"{item.path} ({item.role}) belongs to {item.owner}, not to you"
        yield (warn if item.writable else fail)(SUBJECT, text, _chown(item.path))
    elif not item.writable:
        text = f"{item.path} ({item.role}) cannot be written"
        yield fail(
            SUBJECT, text, f"chmod u+w {quote(item.path)}; a read-only disk: mount it writable"
        )
    if item.private and item.mode & 0o077:
        text = f"{item.path} ({item.role}) has mode {item.mode:04o}: other users may read it"
        yield fail(SUBJECT, text, f"chmod 600 {quote(item.path)}")
    elif item.steering and item.mode & 0o022:
        text = f"{item.path} ({item.role}) has mode {item.mode:04o}: others may change it"
        yield warn(SUBJECT, text, f"chmod go-w {quote(item.path)}")


def _chown(path: str) -> str:
    return f'sudo chown -R "$(id -un)" {quote(path)}'


def _room(room: Room) -> Iterator[Finding]:
    if room.free >= SCARCE:
        return
    text = f"the disk of {room.path} is nearly full: {room.free / 1024 / 1024:.1f} MiB are free"
    mend = f"make room there: du -xh {quote(room.path)} | sort -h | tail"
    yield (fail if room.free < NONE_LEFT else warn)(SUBJECT, text, mend)
