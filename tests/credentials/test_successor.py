"""A new token's way to disk: room first, and whatever a crash leaves is understood."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.credentials.successor import SPARE, Successor, leftovers, recover, successor_path
from bridge.oauth.token import Token, stored
from tests.fakes.clock import EPOCH

#: A text as a server might send it, lone surrogates included.
TEXT = st.text(st.characters(exclude_categories=[]), min_size=1, max_size=60)
#: RFC 6749 appendix A.12: what a token may consist of.
SECRETS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=60)
TOKENS = st.builds(
    Token,
    access=SECRETS,
    refresh=SECRETS,
    expires_at=st.floats(0, 4e9),
    expires_in=st.floats(0, 1e6),
    scope=TEXT,
    type=TEXT,
    extra=st.dictionaries(st.sampled_from(["x", "y"]), st.integers()).map(MappingProxyType),
)
same_folder = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def token(number: int) -> Token:
    """Return the token with that number."""
    return Token(f"access-{number}", f"refresh-{number}", EPOCH + 900 * number, 900)


@pytest.fixture(name="target")
def _target(tmp_path: Path) -> Path:
    """A credential file that holds token 1."""
    target = tmp_path / "kimi-code.json"
    target.write_text(json.dumps(token(1).document()))
    return target


def held(target: Path) -> Token | None:
    """Return the token in *target*."""
    return stored(json.loads(target.read_bytes()))


def names(target: Path) -> list[str]:
    """Return what is in the folder."""
    return [p.name for p in target.parent.iterdir()]


def test_reserve_takes_the_room_that_the_successor_needs(target: Path) -> None:
    """The room is on disk, private, and larger than any successor seen."""
    successor = Successor.reserve(target, token(1))
    status = successor_path(target, token(1)).stat()
    assert status.st_size >= len(json.dumps(token(1).document())) + SPARE
    assert status.st_blocks * 512 >= status.st_size
    assert stat.S_IMODE(status.st_mode) == 0o600
    successor.discard()
    assert names(target) == [target.name]


def test_reserve_replaces_a_planted_link(target: Path, tmp_path: Path) -> None:
    """A link in the place of the temporary file is removed, never followed."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    successor_path(target, token(1)).symlink_to(victim)
    Successor.reserve(target, token(1)).discard()
    assert victim.read_text() == "precious"


def test_reserve_without_a_folder(tmp_path: Path) -> None:
    """Where there is no room at all the caller is told before anything is spent."""
    with pytest.raises(FileNotFoundError):
        Successor.reserve(tmp_path / "nowhere" / "kimi-code.json", token(1))


def test_discard_and_close_are_harmless_twice(target: Path) -> None:
    """Whoever cleans up may do so again, and a file left behind is not taken back."""
    successor = Successor.reserve(target, token(1))
    successor.close()
    successor.close()
    successor.discard()
    assert list(leftovers(target)) == [successor_path(target, token(1))]


@same_folder
@given(new=TOKENS)
def test_written_is_read_back(target: Path, new: Token) -> None:
    """Whatever a server issues comes back from the file as it went in."""
    successor = Successor.reserve(target, new)
    successor.write(new)
    status = successor.install()
    successor.close()
    assert held(target) == new
    assert target.stat().st_ino == status.st_ino


@same_folder
@given(new=TOKENS, data=st.data())
def test_no_cut_passes_for_a_successor(target: Path, new: Token, data: st.DataObject) -> None:
    """Wherever a crash cuts the writing, the rest is either the whole token or a suspicion."""
    target.write_text(json.dumps(token(1).document()))
    whole = json.dumps(new.document()).encode()
    cut = data.draw(st.integers(0, len(whole)), label="cut")
    room = b" " * (len(whole) + SPARE - cut)
    successor_path(target, token(1)).write_bytes(whole[:cut] + room)
    suspect = recover(target, token(1))
    assert (suspect, held(target)) == ((False, new) if cut == len(whole) else (True, token(1)))


def test_recover_installs_the_true_successor(target: Path) -> None:
    """A crash between writing and renaming loses nothing: the rename is done by the next."""
    successor = Successor.reserve(target, token(1))
    successor.write(token(2))
    successor.close()
    assert not recover(target, token(1))
    assert held(target) == token(2)
    assert names(target) == [target.name]


def test_recover_keeps_a_suspicion_until_room_is_made_anew(target: Path) -> None:
    """An empty leftover says to every process that comes that the token may be spent."""
    Successor.reserve(target, token(1)).close()
    assert recover(target, token(1))
    assert recover(target, token(1))
    Successor.reserve(target, token(1)).discard()
    assert not recover(target, token(1))


def test_recover_clears_away_the_past(target: Path) -> None:
    """Leftovers of a token that somebody has since replaced mean nothing any more."""
    Successor.reserve(target, token(1)).close()
    assert not recover(target, token(5))
    assert names(target) == [target.name]


def test_recover_after_a_logout(target: Path) -> None:
    """What a crash left of a login does not bring it back after a logout."""
    successor = Successor.reserve(target, token(1))
    successor.write(token(2))
    successor.close()
    target.unlink()
    assert not recover(target, None)
    assert names(target) == []


def test_recover_prefers_what_was_issued_later(target: Path) -> None:
    """Where refresh tokens do not rotate, an old leftover does not replace a newer token."""
    older = Token("access-old", "refresh-1", EPOCH + 10, 900)
    successor = Successor.reserve(target, token(1))
    successor.write(older)
    successor.close()
    assert not recover(target, token(1))
    assert held(target) == token(1)
    assert names(target) == [target.name]


def test_recover_trusts_the_chain_more_than_the_clock(target: Path) -> None:
    """A rotated successor is installed though a clock that was set back dates it earlier."""
    earlier = Token("access-2", "refresh-2", EPOCH - 5_000, 900)
    successor = Successor.reserve(target, token(1))
    successor.write(earlier)
    successor.close()
    assert not recover(target, token(1))
    assert held(target) == earlier


def test_leftovers_of_others_are_left_alone(target: Path) -> None:
    """The official CLI's own temporary files are not ours to remove."""
    for name in ("tmpabc123.tmp", "kimi-code.json.tmp.77.0011aabb", ".kimi-code.json.short.tmp"):
        (target.parent / name).touch()
    assert not recover(target, token(1))
    assert len(names(target)) == 4


def test_recover_without_a_folder(tmp_path: Path) -> None:
    """Where there is no folder there is nothing to recover."""
    assert not recover(tmp_path / "nowhere" / "kimi-code.json", None)
