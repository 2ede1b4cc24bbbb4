"""How rounds go: interleaved, repeated when disturbed, and over every failure but one."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.generator import LoadFailed, Result, WrongCredentials
from benchmarks.phases import Phase
from benchmarks.rounds import Bench, turned, undisturbed, wear
from benchmarks.subjects import Subject, Upstream, direct


class ScriptedRig:
    """A generator that loads nothing and answers as *answer* does.

    *asked* is whom it was to load; its upstreams listen on *port*, if anything does.
    """

    def __init__(self, answer: Callable[[str, str], Result], port: int = 1) -> None:
        self.asked: list[str] = []
        self.plain = Upstream(port)
        self.secure = Upstream(port, "/authority")
        self._answer = answer

    def load(self, phase: Phase, subject: Subject) -> Result:
        """Answer as scripted."""
        self.asked.append(f"{phase.name} {subject.name}")
        return self._answer(phase.name, subject.name)

    def worked(self) -> float:
        """Return no seconds: there is no upstream."""
        return 0.0


def results(*foreign: float, seconds: float = 1.0) -> Callable[[], Result]:
    """Return a load that was disturbed as much as each of *foreign*, one after the other."""
    rest = iter(foreign)
    return lambda: {"foreign_cores": next(rest), "seconds": seconds}


def test_quiet_load_is_put_on_once() -> None:
    """Nobody disturbs: one load, one wait for quiet."""
    waits: list[int] = []
    found = undisturbed(results(0.1, 0.0), lambda: waits.append(1), 3)
    assert (found["foreign_cores"], found["disturbed"], found["tries"]) == (0.1, 0.0, 1.0)
    assert len(waits) == 1


def test_disturbed_load_is_repeated() -> None:
    """Somebody disturbs twice: the third one counts."""
    found = undisturbed(results(1.5, 0.2, 0.0), lambda: None, 3)
    assert (found["foreign_cores"], found["disturbed"], found["tries"]) == (0.0, 0.0, 3.0)


def test_repeats_are_bounded() -> None:
    """Somebody never stops: the least disturbed one counts, and is marked."""
    found = undisturbed(results(1.5, 0.3, 0.9), lambda: None, 2)
    assert (found["foreign_cores"], found["disturbed"], found["tries"]) == (0.3, 1.0, 3.0)


def test_short_load_tells_nothing_about_others() -> None:
    """In a few ticks of the kernel's counter nobody can be made out."""
    assert undisturbed(results(1.9, seconds=0.05), lambda: None, 2)["disturbed"] == 0.0


def test_turns() -> None:
    """Each round begins with another one, and has all of them."""
    assert [turned("abc", number) for number in range(4)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
        ["a", "b", "c"],
    ]
    assert turned([], 1) == []


def bench(rig: ScriptedRig, folder: Path) -> tuple[Bench, dict[str, Subject]]:
    """Return a bench that cares for nobody, and two subjects that are not there."""
    subjects = {name: direct(Upstream(1), folder) for name in ("nginx", "bridge")}
    for name, subject in subjects.items():
        subject.name = name
    return Bench(rig, folder, list(subjects), lambda _: None, repeats=0), subjects


def test_round_is_interleaved(tmp_path: Path) -> None:
    """A phase goes through all subjects before the next one begins."""
    rig = ScriptedRig(lambda _, name: {"p50_us": float(len(name))})
    measuring, subjects = bench(rig, tmp_path)
    found = measuring.round(1, ["small", "first", "streams50"], subjects)
    assert rig.asked == [*("small bridge", "small nginx", "first bridge", "first nginx")]
    assert found["small"]["nginx"]["p50_us"] == 5.0
    assert set(found) == {"small", "first"}


def test_failure_is_written_down(tmp_path: Path) -> None:
    """One subject's failure is kept in words, and the others are measured all the same."""

    def fails(phase: str, name: str) -> Result:
        if name == "bridge":
            raise LoadFailed("3 failed, the first so: EOF")
        return {"p50_us": 1.0}

    measuring, subjects = bench(ScriptedRig(fails), tmp_path)
    assert set(measuring.round(0, ["small"], subjects)["small"]) == {"nginx"}
    assert measuring.failures == ["bridge: small: 3 failed, the first so: EOF"]


def test_wrong_credential_ends_everything(tmp_path: Path) -> None:
    """If a credential went where it must not, there is nothing more to measure."""

    def fails(phase: str, name: str) -> Result:
        raise WrongCredentials("x-api-key")

    measuring, subjects = bench(ScriptedRig(fails), tmp_path)
    with pytest.raises(WrongCredentials):
        measuring.round(0, ["small"], subjects)


def test_nothing_is_direct_over_tls(tmp_path: Path) -> None:
    """Where TLS is measured, the direct way is left out."""
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        rig = ScriptedRig(lambda *_: {}, upstream.getsockname()[1])
        measuring = Bench(rig, tmp_path, ["direct"], lambda _: None)
        with measuring.running(tls=True) as running:
            assert running == {}
        with measuring.running() as running:
            assert list(running) == ["direct"]
            assert wear(running) == {}
