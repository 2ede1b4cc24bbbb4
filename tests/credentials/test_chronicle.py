"""What befell a refresh token is remembered in order, bounded, and read back from any torn file."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.credentials.chronicle import (
    KEPT,
    Chronicle,
    Entry,
    Outcome,
    Suspicion,
    decoded,
    digest,
)

A, B, C = digest("a"), digest("b"), digest("c")
NOW = 1_800_000_000.0

moments = st.floats(min_value=1, max_value=9e10)
digests = st.sampled_from([A, B, C])


@st.composite
def chronicles(draw: st.DrawFn) -> Chronicle:
    """Anything that can have befallen three tokens, at times in any order."""
    chronicle = Chronicle()
    for _ in range(draw(st.integers(0, 2 * KEPT))):
        token, now = draw(digests), draw(moments)
        step = draw(st.sampled_from(["begun", "ended", "adopted", "settled"]))
        if step == "begun":
            chronicle = chronicle.begun(token, now)
        elif step == "ended":
            new = draw(digests)
            chronicle = chronicle.ended(token, draw(st.sampled_from(list(Outcome))), now, new)
        elif step == "adopted":
            chronicle = chronicle.adopted(token, now)
        else:
            chronicle = chronicle.settled(now)
    return chronicle


@given(chronicles())
def test_reads_back_what_it_wrote(chronicle: Chronicle) -> None:
    """Written and read, it is the same, and it never grows beyond its bound."""
    assert decoded(chronicle.encoded()) == (chronicle, True)
    assert len(chronicle.entries) <= KEPT


@given(chronicles(), st.data())
def test_cut_anywhere(chronicle: Chronicle, data: st.DataObject) -> None:
    """A file that a power cut tore is read up to the tear, and is not taken for damaged."""
    text = chronicle.encoded()
    cut = data.draw(st.integers(0, len(text)))
    found, whole = decoded(text[:cut])
    assert whole
    lines = text[:cut].count(b"\n")
    assert found.entries[:lines] == chronicle.entries[:lines]
    assert chronicle.entries[: len(found.entries)] == found.entries


def test_cut_at_each_byte() -> None:
    """The same at every byte of one file, so that none is left to chance."""
    chronicle = Chronicle().adopted(A, NOW).begun(A, NOW).ended(A, Outcome.ROTATED, NOW, B)
    text = chronicle.begun(B, NOW + 1).encoded()
    for cut in range(len(text) + 1):
        found, whole = decoded(text[:cut])
        assert whole
        assert len(found.entries) - text[:cut].count(b"\n") in {0, 1}


@given(st.binary() | st.text().map(str.encode))
def test_garbage_is_no_crash(data: bytes) -> None:
    """Whatever stands in the file, it is read or said to be damaged."""
    found, whole = decoded(data)
    assert found == Chronicle()
    assert whole or b"\n" in data


GOOD = {"token": A, "begun_at": NOW, "outcome": "lost", "ended_at": NOW}


@pytest.mark.parametrize(
    "change",
    [
        {"token": "short"},
        {"token": "g" * 64},
        {"token": [A]},
        {"token": list(A)},
        {"token": "", "successor": ""},
        {"begun_at": 0},
        {"begun_at": True},
        {"begun_at": "soon"},
        {"begun_at": 1e300},
        {"begun_at": None},
        {"outcome": "eaten"},
        {"ended_at": -1},
        {"successor": 7},
    ],
)
def test_a_line_that_is_none(change: dict[str, object]) -> None:
    """A line that says what cannot be is left out, and the file is damaged; the others count."""
    good = json.dumps(GOOD).encode() + b"\n"
    assert decoded(good)[1]
    found, whole = decoded(good + json.dumps({**GOOD, **change}).encode() + b"\n" + good)
    assert not whole
    assert [entry.token for entry in found.entries] == [A, A]
    assert decoded(b"[]\n" + good)[1] is False
    assert decoded(b"\0" * 512 + b"\n")[1] is False


def test_a_rotation() -> None:
    """After a rotation the old token is known as spent, the new one by its issue."""
    chronicle = Chronicle().begun(A, NOW)
    assert chronicle.under_way
    assert chronicle.suspicion(A) == (Suspicion.UNDER_WAY, NOW)
    chronicle = chronicle.ended(A, Outcome.ROTATED, NOW + 2, B)
    assert not chronicle.under_way
    assert chronicle.suspicion(A) == (Suspicion.SPENT, NOW)
    assert (chronicle.suspicion(B), chronicle.issued_at(B)) == (None, NOW + 2)
    assert chronicle.knows(A)
    assert chronicle.knows(B)
    assert not chronicle.knows(C)


def test_a_token_that_does_not_rotate() -> None:
    """A server that leaves the refresh token as it is spends nothing, and issues none."""
    chronicle = Chronicle().adopted(A, NOW).begun(A, NOW + 5)
    chronicle = chronicle.ended(A, Outcome.ROTATED, NOW + 6, A)
    assert (chronicle.suspicion(A), chronicle.issued_at(A)) == (None, NOW)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome.LOST, (Suspicion.LOST, NOW)),
        (Outcome.CUT_SHORT, (Suspicion.CUT_SHORT, NOW)),
        (Outcome.UNSAVED, (Suspicion.UNSAVED, NOW + 99)),
        (Outcome.REFUSED, None),
        (Outcome.FAILED, None),
    ],
)
def test_a_suspicion_stays(outcome: Outcome, expected: tuple[Suspicion, float] | None) -> None:
    """What made a token suspect is not forgotten over later tries, however many fail."""
    chronicle = Chronicle().begun(A, NOW).ended(A, outcome, NOW + 1)
    for later in range(100):
        chronicle = chronicle.begun(A, NOW + later).ended(A, Outcome.FAILED, NOW + later)
        chronicle = chronicle.begun(A, NOW + later).ended(A, outcome, NOW + later)
    assert chronicle.suspicion(A) == expected
    assert len(chronicle.entries) <= 2


def test_who_was_refused() -> None:
    """A token counts as refused until it is presented again."""
    chronicle = Chronicle().begun(A, NOW).ended(A, Outcome.REFUSED, NOW)
    assert chronicle.refused(A)
    assert not chronicle.refused(B)
    assert not chronicle.begun(A, NOW).refused(A)
    failure = chronicle.adopted(B, NOW).last_failure()
    assert failure is not None
    assert failure.outcome is Outcome.REFUSED
    assert Chronicle().adopted(A, NOW).last_failure() is None


def test_an_end_without_a_beginning() -> None:
    """Where the beginning was not written, the end is noted all the same."""
    ended = Chronicle().ended(A, Outcome.LOST, NOW)
    assert ended.entries == (Entry(A, NOW, Outcome.LOST, NOW),)


def test_digest_is_one_way_and_ours() -> None:
    """The digest shows no part of the token, and is not the plain one that others might keep."""
    assert len(A) == 64
    assert digest("a") != digest("b")
    assert "secret" not in digest("secret")
    assert digest("\udcff")
