"""No planted secret is in any sink, and where one is on purpose, it is found."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from tests import verdicts
from tests.secrets import marks
from tests.secrets.life import Life, indiscreet
from tests.secrets.marks import leaks
from tests.secrets.sabotage import CODE, SHOWS
from tests.secrets.session import spilt
from tests.world import world

pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="processes are looked at through /proc"),
]


def lived(folder: Path, sabotage: str = "") -> Life:
    """Return a life that has been lived in *folder*; *sabotage* is code that breaks the daemon."""
    with indiscreet() as url, world(folder, interval=0.1, auto_approve=2) as machine:
        if sabotage:
            place = folder / "sabotage"
            place.mkdir()
            (place / "sitecustomize.py").write_text(sabotage)
            machine.variables["PYTHONPATH"] = str(place)
        life = Life(machine, url)
        life.lives_briefly() if sabotage else life.lives()
        return life


@pytest.fixture(name="life", scope="module")
def _life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """A life in which nothing was sabotaged."""
    return lived(tmp_path_factory.mktemp("secrets"))


def test_no_secret_is_in_any_sink(life: Life) -> None:
    """Log, outputs, pages, errors, files, processes: nothing of any secret, nor a token's tail."""
    assert len(life.sinks) > 80
    assert "request answered" in life.sinks["log and stderr"].decode()
    assert leaks(life.sinks, life.secrets) == []
    verdicts.record("secrets", "no secret in any sink", f"{len(life.sinks)} sinks")


def test_the_life_was_busy(life: Life) -> None:
    """Requests were answered, refused and broken: the sinks were there to be spilt into."""
    seen = set(life.statuses.values())
    assert {0, 200, 400, 401, 403, 429, 500, 502} <= seen
    names = " ".join(life.sinks)
    for sink in ("bridge status", "bridge doctor", "GET /metrics", "GET /health", "bridge.log"):
        assert sink in names, sink


def test_every_file_is_private(life: Life) -> None:
    """What bridge has written is for its owner alone, and no draft of anything is left."""
    home = life.machine.home
    tops = [home / ".local/state/bridge", home / ".kimi", home / ".local/run"]
    for path in (each for top in tops for each in (top, *top.rglob("*"))):
        if path.name != "run":
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
        assert path.suffix not in {".tmp", ".draft"}, path


@pytest.fixture(name="sabotaged", scope="module")
def _sabotaged(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """The same life, with redaction broken on purpose in eight places."""
    return lived(tmp_path_factory.mktemp("sabotage"), CODE)


@pytest.mark.parametrize("broken", SHOWS)
def test_a_leak_is_found(sabotaged: Life, broken: str) -> None:
    """With redaction broken, the scan names the sink: the tripwire is awake."""
    part, mark = SHOWS[broken]
    sinks = {k: v for k, v in sabotaged.sinks.items() if part in k and mark.encode() in v}
    assert sinks, broken
    assert leaks(sinks) == list(sinks)
    verdicts.record("secrets", f"sabotage: {broken}", f"found in {min(sinks)}")


def test_a_planted_secret_is_a_leak() -> None:
    """Any of the marks, anywhere in a sink, is one."""
    for mark in (*marks.CLIENT.values(), *marks.ENVIRONMENT.values(), marks.PROXY, *marks.MARKS):
        assert leaks({"clean": b"abc", "spilt": f"x={mark}\n".encode()}) == ["spilt"]
    assert leaks({"tail": b"..qwertzuiop"}, {"qwertzuiop"}) == ["tail"]


def test_what_a_sabotaged_run_leaves(tmp_path: Path) -> None:
    """A secret in any log below the folder of a run is found, but where it was put on purpose."""
    for name in ("one/bridge.log.2", "two/home/bridge.pid", "sabotage0/bridge.log", "three/key"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(f"x {marks.PROMPT}\n")
    (tmp_path / "bridge.log").write_text("request answered\n")
    assert spilt(tmp_path) == [
        str(tmp_path / n) for n in ("one/bridge.log.2", "two/home/bridge.pid")
    ]
