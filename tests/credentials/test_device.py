"""This machine as Kimi knows it: one id for ever, and headers that no host name can break."""

from __future__ import annotations

import platform
import stat
import threading
from pathlib import Path

import pytest

from bridge import __version__
from bridge.credentials.device import Device, _ascii, _model


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    """Where the official CLI keeps the id; nothing is there yet."""
    return tmp_path / "share" / "device_id"


def test_id_of_the_official_cli(path: Path) -> None:
    """An id that is there is used, and never written again."""
    path.parent.mkdir()
    path.write_text("0123456789abcdef0123456789abcdef\n")
    device = Device(path)
    device.persist()
    assert device.device_id == "0123456789abcdef0123456789abcdef"
    assert path.read_text() == "0123456789abcdef0123456789abcdef\n"


def test_id_before_it_is_written(path: Path) -> None:
    """Without a file the id is the same at each look, and nothing is written."""
    device = Device(path)
    assert device.device_id == device.device_id
    assert not path.parent.exists()


def test_id_is_written_as_the_official_cli_writes_it(path: Path) -> None:
    """The id that was used before is written: 32 hex digits, no newline, mode 0600, no litter."""
    device = Device(path)
    before = device.device_id
    device.persist()
    assert path.read_text() == before == device.device_id
    assert len(before) == 32
    int(before, 16)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["device_id"]
    assert Device(path).device_id == before


def test_id_of_two_that_start_together(path: Path) -> None:
    """Whoever writes first wins, and all others go by what was written."""
    devices = [Device(path) for _ in range(8)]
    together = threading.Barrier(len(devices))

    def persists(device: Device) -> None:
        together.wait()
        device.persist()

    threads = [threading.Thread(target=persists, args=[device]) for device in devices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {device.device_id for device in devices} == {path.read_text()}
    assert [p.name for p in path.parent.iterdir()] == ["device_id"]


def test_empty_file_is_filled(path: Path) -> None:
    """A file that a crash left empty does not mean another id at every start."""
    path.parent.mkdir()
    path.touch()
    device = Device(path)
    device.persist()
    assert path.read_text() == device.device_id == Device(path).device_id


def test_unreadable_file_is_left_alone(path: Path) -> None:
    """What cannot be read is not overwritten; an id of the process's own serves meanwhile."""
    path.mkdir(parents=True)
    device = Device(path)
    assert len(device.device_id) == 32
    with pytest.raises(OSError, match="directory"):
        device.persist()


@pytest.mark.parametrize(
    ("system", "model"), [("Linux", "Linux 6.18.44 x86_64"), ("Darwin", "macOS 15.1 x86_64")]
)
def test_model_of_the_machine(system: str, model: str) -> None:
    """The model has the shape that the official CLI gives it, on either system."""
    host = platform.uname()._replace(system=system, release="6.18.44", machine="x86_64")
    assert _model(host, "15.1") == model


def test_headers_say_what_this_is(path: Path) -> None:
    """The identity headers are bridge's own, with the id in the file."""
    headers = Device(path).headers()
    assert list(headers) == [
        "X-Msh-Platform",
        "X-Msh-Version",
        "X-Msh-Device-Name",
        "X-Msh-Device-Model",
        "X-Msh-Os-Version",
        "X-Msh-Device-Id",
    ]
    assert headers["X-Msh-Platform"] == "bridge"
    assert headers["X-Msh-Version"] == __version__
    assert Device(path).grant_headers()["User-Agent"] == f"bridge/{__version__}"


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("laptop", "laptop"),
        ("kühlschrank", "khlschrank"),
        ("冰箱", "unknown"),
        ("", "unknown"),
        (" a \r\nX-Evil: 1 ", "a X-Evil: 1"),
        ("tab\there", "tabhere"),
    ],
)
def test_header_values_are_plain(value: str, sent: str) -> None:
    """Whatever a host is called, the header is printable ASCII on one line and never empty."""
    assert _ascii(value) == sent


def test_id_with_something_else_in_it(path: Path) -> None:
    """A file that somebody else filled cannot break a header."""
    path.parent.mkdir()
    path.write_bytes(b"id\r\nX-Evil: \xc3\xbc1\n")
    assert Device(path).headers()["X-Msh-Device-Id"] == "idX-Evil: 1"


def test_id_of_a_file_that_cannot_be_read_for_a_while(path: Path) -> None:
    """An id that was read once stays the id, whatever becomes of the file's folder or disk."""
    path.parent.mkdir()
    path.write_text("0123456789abcdef0123456789abcdef")
    device = Device(path)
    assert device.device_id == "0123456789abcdef0123456789abcdef"
    path.unlink()
    path.mkdir()
    assert device.device_id == "0123456789abcdef0123456789abcdef"
