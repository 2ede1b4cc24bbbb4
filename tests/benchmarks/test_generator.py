"""The rig, built and put to work: it measures what is there, and notices what is wrong."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.generator import LoadFailed, Rig, WrongCredentials, rig
from benchmarks.phases import LOADS, Phase
from benchmarks.subjects import NGINX, Upstream, bridge, direct, nginx

pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(120),
    pytest.mark.skipif(shutil.which("go") is None, reason="needs Go: apt-get install golang-go"),
]

SMALL = Phase("small", "-mode requests -streams 2 -seconds 0.2")


@pytest.fixture(name="generator", scope="module")
def _generator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("rig")) as generator:
        yield generator


def quick(name: str, words: str) -> Phase:
    """Return the phase *name*, shortened by *words*: of two that are alike, the last one counts."""
    return Phase(name, f"{LOADS[name].words} {words}")


@pytest.mark.parametrize(
    ("phase", "keys"),
    [
        (SMALL, {"p50_us", "p99_us", "per_second"}),
        (quick("body1m", "-seconds 0.2"), {"p50_us"}),
        (quick("first", "-seconds 0.2"), {"p50_us", "p99_us"}),
        (quick("paced50", "-seconds 0.3"), {"p50_us", "p99_us", "delivered"}),
        (quick("flat", "-megabytes 20"), {"mb_per_second"}),
        (quick("open500", "-streams 20 -seconds 0.1"), {"kb_per_stream", "resident_mb"}),
        (quick("stalled", "-megabytes 20"), {"growth_mb"}),
        (quick("idle", ""), {"started_mb", "resident_mb", "proportional_mb"}),
    ],
    ids=lambda value: value.name if isinstance(value, Phase) else "",
)
def test_loads(generator: Rig, tmp_path: Path, phase: Phase, keys: set[str]) -> None:
    """Each load ends and tells what it is for; nothing in between has no processor time."""
    found = generator.load(phase, direct(generator.plain, tmp_path))
    assert keys <= found.keys()
    assert found["errors"] == 0
    assert not [key for key in found if key.startswith("cpu")]
    if "p50_us" in keys:
        assert 0 < found["p50_us"] <= found["p99_us"]
    assert found.get("delivered", 1.0) == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_bridge(generator: Rig, tmp_path: Path, tls: bool) -> None:
    """The real bridge passes: nothing but the injected credential arrives, all of it comes back."""
    way = bridge(generator.secure if tls else generator.plain, tmp_path / "bridge")
    with way:
        small = generator.load(SMALL, way)
        paced = generator.load(quick("paced50", "-streams 5 -seconds 0.2"), way)
        memory = generator.load(LOADS["idle"], way)
    assert small["cpu_us"] > 0
    assert paced["cpu_us"] > 0
    assert memory["resident_mb"] >= memory["started_mb"] > 10
    assert generator.worked() > 0


@pytest.mark.skipif(not Path(NGINX).exists(), reason="needs nginx: apt-get install nginx")
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_nginx(generator: Rig, tmp_path: Path, tls: bool) -> None:
    """So does nginx, whose workers are counted with it."""
    way = nginx(generator.secure if tls else generator.plain, tmp_path / "nginx")
    with way:
        assert generator.load(SMALL, way)["cpu_us"] > 0
        assert len(way.pids) == 3  # once it has answered, all are there


def test_no_credential(generator: Rig, tmp_path: Path) -> None:
    """A client's own key that arrives at the upstream ends everything."""
    way = direct(generator.plain, tmp_path)
    way.credential = ""
    with pytest.raises(WrongCredentials, match="wrong credentials arrived"):
        generator.load(SMALL, way)


def test_wrong_credential(generator: Rig, tmp_path: Path) -> None:
    """So does another token than the one that was to be put in."""
    way = direct(generator.plain, tmp_path)
    way.credential = "stale"
    with pytest.raises(WrongCredentials, match="Authorization"):
        generator.load(SMALL, way)


def test_nobody_there(generator: Rig, tmp_path: Path) -> None:
    """Where nobody listens, the load has failed."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        way = direct(Upstream(unused.getsockname()[1]), tmp_path)
        with pytest.raises(LoadFailed, match="refused"):
            generator.load(SMALL, way)


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (STREAM + b"5\r\ndata:\r\n0\r\n\r\n", "cut or altered"),
        (STREAM + b"5\r\ndata:\r\n", "unexpected EOF"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\noops", "502 Bad Gateway: oops"),
    ],
    ids=["ends cleanly", "ends in the middle", "an error"],
)
def test_wrong_answer(generator: Rig, tmp_path: Path, answer: bytes, reason: str) -> None:
    """A stream that is cut, even if it ends in good order, is a failure and no measurement."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = threading.Thread(target=_answer, args=(listening, answer))
        serving.start()
        way = direct(Upstream(listening.getsockname()[1]), tmp_path)
        with pytest.raises(LoadFailed, match=reason):
            generator.load(quick("flat", "-megabytes 1"), way)
        serving.join()


def _answer(listening: socket.socket, answer: bytes) -> None:
    connection, _ = listening.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(answer)


def test_upstream_ends_with_us(tmp_path: Path) -> None:
    """The upstream does not outlive whoever started it."""
    with rig(tmp_path) as generator:
        assert Path(f"/proc/{generator.pid}").exists()
    assert not Path(f"/proc/{generator.pid}").exists()
