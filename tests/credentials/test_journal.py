"""What is noted of a refresh is durable, private, true after a crash, and never in its way."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.credentials.chronicle import KEPT, Outcome, Suspicion, decoded, digest
from bridge.credentials.journal import LIMIT, Journal
from bridge.oauth.token import Token
from tests.fakes.clock import EPOCH, FakeClock


def token(number: int) -> Token:
    """Return one of the tokens of a login."""
    return Token(f"ACCESSsecret{number}", f"REFRESHsecret{number}", EPOCH + 900, 900)


def noted(path: Path) -> Journal:
    """Return the journal as a process sees it that has just been started."""
    journal = Journal(path, FakeClock())
    journal.look()
    return journal


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    """A journal in a folder that does not exist yet."""
    return tmp_path / "state" / "bridge" / "journal"


@pytest.fixture(name="journal")
def _journal(path: Path, clock: FakeClock) -> Journal:
    """A journal of which nothing is on disk."""
    return Journal(path, clock)


# --- what it holds


def test_what_is_noted_is_there_for_the_next(path: Path, journal: Journal) -> None:
    """Each note is on disk when the call returns, and what is open was cut short for the next."""
    journal.resume(token(1))
    journal.begun(token(1))
    assert noted(path).chronicle == journal.chronicle
    after = noted(path)
    after.resume(token(1))
    assert after.chronicle.suspicion(digest(token(1).refresh)) == (Suspicion.CUT_SHORT, EPOCH)
    assert after.suspects(token(1))
    journal.ended(token(1), Outcome.ROTATED, token(2))
    assert not noted(path).suspects(token(2))
    assert noted(path).chronicle.issued_at(digest(token(2).refresh)) == EPOCH


def test_no_secret_and_private(path: Path, journal: Journal) -> None:
    """No token or part of one is in the file; file and folder are their owner's alone."""
    previous = os.umask(0)
    try:
        for number in range(3):
            journal.resume(token(number))
            journal.begun(token(number))
            for outcome in Outcome:
                journal.ended(token(number), outcome, token(number + 1))
    finally:
        os.umask(previous)
    content = path.read_bytes()
    assert b"secret" not in content
    assert b"REFRESH" not in content
    assert b"ACCESS" not in content
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_bounded(path: Path, journal: Journal) -> None:
    """However often it rotates, the file stays small enough to be read."""
    for number in range(3 * KEPT):
        journal.begun(token(number))
        journal.ended(token(number), Outcome.ROTATED, token(number + 1))
    assert len(journal.chronicle.entries) == KEPT
    assert path.stat().st_size < LIMIT / 4


def test_adopts_what_it_has_not_seen(path: Path, journal: Journal) -> None:
    """A token that somebody else got is known from then on, with its issue; a known one is not."""
    journal.resume(token(1))
    assert journal.chronicle.issued_at(digest(token(1).refresh)) == EPOCH
    before = path.stat()
    journal.resume(token(1))
    journal.resume(None)
    journal.resume(Token("access", "", EPOCH, 900))
    assert path.stat() == before


def test_a_refresh_that_only_left_a_file(journal: Journal, tmp_path: Path) -> None:
    """What was cut short before it was noted is noted, with the time of what it left."""
    left = tmp_path / "left"
    left.touch()
    os.utime(left, (EPOCH - 60, EPOCH - 60))
    journal.cut_short(token(1), left)
    expected = (Suspicion.CUT_SHORT, EPOCH - 60)
    assert journal.chronicle.suspicion(digest(token(1).refresh)) == expected
    journal.cut_short(token(2), tmp_path / "gone")
    assert journal.suspects(token(2))


@pytest.mark.parametrize("seconds", [-EPOCH - 5, 1e15])
def test_clocks_that_cannot_be(path: Path, seconds: float) -> None:
    """A clock before the epoch or beyond all years leaves a journal that can be read."""
    clock = FakeClock()
    clock.jump(seconds)
    journal = Journal(path, clock)
    journal.begun(token(1))
    journal.ended(token(1), Outcome.LOST)
    assert decoded(path.read_bytes()) == (journal.chronicle, True)
    assert noted(path).suspects(token(1))


# --- what stands in its place


@pytest.mark.parametrize("content", [b"garbage\n", b"\0" * 4096 + b"\n", b"{}\n", b"x" * LIMIT])
def test_garbage_is_set_aside(
    path: Path, journal: Journal, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """What is no journal is kept beside, said in the log, and not believed to be the whole."""
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    journal.look()
    assert path.read_bytes() == content
    journal.resume(token(1))
    assert not journal.complete
    assert path.with_name("journal.damaged").read_bytes() == content
    assert "refresh journal set aside provider=kimi" in caplog.text
    assert noted(path).chronicle.knows(digest(token(1).refresh))


def test_good_lines_of_a_damaged_one_count(path: Path, journal: Journal) -> None:
    """What can be read of a damaged journal is believed."""
    journal.begun(token(1))
    path.write_bytes(b"garbage\n" + path.read_bytes())
    after = Journal(path, FakeClock())
    after.resume(token(1))
    assert after.suspects(token(1))
    assert not after.complete


def test_torn_by_a_power_cut(path: Path, journal: Journal) -> None:
    """A journal cut at any byte is gone on with, and is not set aside."""
    journal.begun(token(1))
    content = path.read_bytes()
    for cut in range(0, len(content), 7):
        path.write_bytes(content[:cut])
        after = Journal(path, FakeClock())
        after.resume(token(1))
        after.begun(token(1))
        assert after.complete
        assert decoded(path.read_bytes()) == (after.chronicle, True)


def _symlink(path: Path) -> None:
    path.symlink_to(path.with_name("victim"))


def _folder(path: Path) -> None:
    (path / "full").mkdir(parents=True)


@pytest.mark.parametrize("plant", [_symlink, _folder, os.mkfifo])
def test_planted_in_its_place(path: Path, journal: Journal, plant: object) -> None:
    """A link is not followed, a pipe not waited for, a folder moved: a file takes its place."""
    path.parent.mkdir(parents=True)
    victim = path.with_name("victim")
    victim.write_bytes(b"somebody else's")
    assert callable(plant)
    plant(path)
    journal.look()
    journal.resume(token(1))
    journal.begun(token(1))
    assert victim.read_bytes() == b"somebody else's"
    assert stat.S_ISREG(path.lstat().st_mode)
    assert noted(path).suspects(token(1))


def test_what_a_link_says_is_not_believed(path: Path, journal: Journal) -> None:
    """A link to a good journal of somebody's making is none of ours."""
    elsewhere = path.parent.parent / "elsewhere" / "journal"
    Journal(elsewhere, FakeClock()).begun(token(1))
    path.parent.mkdir(parents=True)
    path.symlink_to(elsewhere)
    journal.look()
    journal.resume(token(1))
    assert not journal.suspects(token(1))
    assert not journal.complete


def test_planted_in_the_place_of_its_draft(path: Path, journal: Journal) -> None:
    """A link where the file is drafted is not followed either."""
    path.parent.mkdir(parents=True)
    victim = path.with_name("victim")
    victim.write_bytes(b"somebody else's")
    path.with_name(".journal.draft").symlink_to(victim)
    journal.begun(token(1))
    assert victim.read_bytes() == b"somebody else's"
    assert noted(path).suspects(token(1))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_of_somebody_else(path: Path, journal: Journal) -> None:
    """A file of another user is not believed, whatever it says."""
    journal.begun(token(1))
    os.chown(path, 65534, 65534)
    after = Journal(path, FakeClock())
    after.resume(token(1))
    assert not after.suspects(token(1))
    assert not after.complete


# --- where it cannot be written


def test_unwritable_is_loud_and_no_obstacle(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once for each reason; what was noted counts in memory, and is written later."""
    (tmp_path / "state").touch()
    path = tmp_path / "state" / "journal"
    journal = Journal(path, clock)
    journal.begun(token(1))
    journal.ended(token(1), Outcome.LOST)
    assert caplog.text.count("refresh journal not written provider=kimi reason=") == 1
    journal.resume(token(1))
    journal.look()
    assert journal.suspects(token(1))
    assert not journal.complete
    (tmp_path / "state").unlink()
    journal.begun(token(1))
    assert noted(path).chronicle == journal.chronicle
    assert noted(path).suspects(token(1))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can leave root's files behind")
def test_root_leaves_nothing_in_the_home_of_another(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """In a folder of another user root makes no folder, and says so."""
    os.chown(tmp_path, 65534, 65534)
    Journal(tmp_path / "state" / "journal", clock).begun(token(1))
    assert "and this is root" in caplog.text
    assert list(tmp_path.iterdir()) == []


# --- whatever happens


@dataclass
class Truth:
    """What really happened to the tokens of one login, kept by other means than the journal's."""

    held: int = 0
    begun: float | None = None
    doubts: dict[int, dict[Suspicion, float]] = field(default_factory=dict)

    def doubt(self, suspicion: Suspicion, *, last: bool = False) -> None:
        """Remember that the token at hand may have been spent by the refresh under way."""
        assert self.begun is not None
        mine = self.doubts.setdefault(self.held, {})
        mine[suspicion] = self.begun if last else mine.get(suspicion, self.begun)

    def suspicion(self) -> tuple[Suspicion, float] | None:
        """Return what is to be said of the token at hand."""
        if self.begun is not None:
            self.doubt(Suspicion.CUT_SHORT)
        mine = self.doubts.get(self.held, {})
        return next(((each, mine[each]) for each in Suspicion if each in mine), None)


ENDS = {
    "refused": (Outcome.REFUSED, None),
    "failed": (Outcome.FAILED, None),
    "lost": (Outcome.LOST, Suspicion.LOST),
}
#: Few enough that nothing is forgotten.
EVENTS = st.lists(
    st.sampled_from([*ENDS, "begin", "begin", "begin", "rotated", "crash", "neighbour", "restore"])
    | st.floats(min_value=-1e6, max_value=1e6),
    max_size=KEPT // 2,
)


class Bridge:
    """One bridge after the other on one journal, and the truth beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = FakeClock()
        self.truth = Truth()
        self.tokens = 1
        self.journal = Journal(path, self.clock)

    def does(self, event: str | float) -> None:
        """Let *event* happen, where it can."""
        truth = self.truth
        if isinstance(event, float):
            self.clock.jump(event)
        elif event == "crash":
            truth.suspicion()  # what was under way is nobody's to end
            truth.begun = None
            self.journal = Journal(self.path, self.clock)
        elif event == "begin":
            truth.suspicion()  # another process, which never said how it ended
            self.journal.resume(token(truth.held))
            self.journal.begun(token(truth.held))
            truth.begun = self.clock.now()
        elif truth.begun is None:
            truth.held = self._elsewhere(event)
        elif event == "rotated":
            self.journal.ended(token(truth.held), Outcome.ROTATED, token(self.tokens))
            truth.doubt(Suspicion.SPENT)
            truth.held, truth.begun = self._new(), None
        elif event in ENDS:
            outcome, suspicion = ENDS[event]
            self.journal.ended(token(truth.held), outcome)
            if suspicion is not None:
                truth.doubt(suspicion)
            truth.begun = None

    def _elsewhere(self, event: str) -> int:
        """Return the token in the file after a neighbour's rotation, or from an old copy."""
        if event == "neighbour":
            return self._new()
        return 0 if event == "restore" else self.truth.held

    def _new(self) -> int:
        self.tokens += 1
        return self.tokens - 1


@pytest.fixture(name="folder", scope="module")
def _folder_of_all() -> Iterator[Path]:
    """A folder for all examples, which keep apart by their names."""
    with TemporaryDirectory() as folder:
        yield Path(folder)


@example(events=["begin", "begin", "crash", "refused"], cut=0.0)
@given(events=EVENTS, cut=st.floats(0, 1))
def test_the_words_are_right_whatever_happened(
    folder: Path, events: list[str | float], cut: float
) -> None:
    """After any events, the next start knows whether its token may be spent, and since when."""
    path = folder / "journal"
    path.unlink(missing_ok=True)
    bridge = Bridge(path)
    for event in events:
        bridge.does(event)
        on_disk = path.read_bytes() if path.exists() else b""
        assert decoded(on_disk)[1]
        assert decoded(on_disk[: int(cut * len(on_disk))])[1]
    after = Journal(path, bridge.clock)
    held = token(bridge.truth.held)
    after.resume(held)
    assert after.chronicle.suspicion(digest(held.refresh)) == bridge.truth.suspicion()
    assert after.complete
