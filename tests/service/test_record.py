"""A record names one process in the world, and no other is ever taken for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.service.record import Record, ourselves, parse

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc here")
OWN_WORDS = {"keeper", "sockets"}
WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="="))


def us() -> Record:
    """The record of the test's own process."""
    return ourselves(address="127.0.0.1", port=18462, instance="ab" * 16, version="1.2.3")


def other(record: Record, **fields: object) -> Record:
    """The record with some fields exchanged."""
    return Record(**{**{name: getattr(record, name) for name in Record.__slots__}, **fields})


@pytest.fixture(name="child")
def _child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with code 0 at the end of its input, unless a signal comes first."""
    command = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        yield child
        child.communicate()


def record_of(pid: int) -> Record:
    """A record of the process *pid* of this machine."""
    stat = Path(f"/proc/{pid}/stat").read_text("ascii")
    return other(us(), pid=pid, start=stat.rpartition(")")[2].split()[19])


@given(
    pid=st.integers(1, 2**22),
    port=st.integers(1, 65535),
    instance=WORDS.filter(bool),
    host=WORDS,
    version=WORDS,
)
def test_what_is_written_is_read(
    pid: int, port: int, instance: str, host: str, version: str
) -> None:
    """The text of any record is parsed to the same record."""
    record = Record(pid=pid, port=port, instance=instance, host=host, version=version)
    read = parse(record.text().encode("ascii"))
    assert read is not None
    assert all(getattr(read, name) == getattr(record, name) for name in Record.__slots__)


def test_the_first_line_is_the_number_alone() -> None:
    """A script finds the process id in the first line; the rest is key=value."""
    first, *rest = us().text().splitlines()
    assert first == str(os.getpid())
    assert "port=18462" in rest
    assert all("=" in line for line in rest)


def test_who_keeps_it_and_whose_its_sockets_are() -> None:
    """Keeper and sockets are told; a record of a version that knew neither is read all the same."""
    record = other(us(), keeper="systemd", sockets="passed")
    read = parse(record.text().encode())
    assert read is not None
    assert (read.keeper, read.sockets) == ("systemd", "passed")
    old = [line for line in us().text().splitlines() if line.split("=")[0] not in OWN_WORDS]
    read = parse("\n".join(old).encode())
    assert read is not None
    assert (read.port, read.keeper, read.sockets) == (18462, "", "own")
    assert (us().keeper, us().sockets) == ("hand", "own")


def test_keys_of_later_versions_are_passed_over() -> None:
    """A record with an unknown key is read without it."""
    read = parse(us().text().encode() + b"colour=blue\n")
    assert read is not None
    assert read.port == 18462


@given(st.binary())
def test_any_content_is_read_without_an_error(content: bytes) -> None:
    """Whatever stands in the file, it is a record or it is none."""
    record = parse(content)
    assert record is None or record.pid > 0


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"1\n", b"1\nport=1\n", b"1\ninstance=a\n", b"x\nport=1\ninstance=a\n"),
        *(b"0\nport=1\ninstance=a\n", b"-1\nport=1\ninstance=a\n"),
        b"1\nport=99999999999\ninstance=a",
    ],
)
def test_half_a_record_is_none(content: bytes) -> None:
    """A record needs a process, a port and an instance."""
    assert parse(content) is None


def test_the_place_is_worded_as_in_a_url() -> None:
    """An IPv6 address is put in brackets."""
    assert us().place() == "127.0.0.1:18462"
    assert other(us(), address="::1").place() == "[::1]:18462"


def test_we_are_alive() -> None:
    """The record of this process is of a living process, and here."""
    assert us().alive()
    assert not us().elsewhere()


@linux_only
@pytest.mark.parametrize("field", ["start", "boot", "pidns"])
def test_a_recycled_number_is_not_alive(field: str) -> None:
    """A process of another start time, boot or namespace is not the one that is meant."""
    assert not other(us(), **{field: "1"}).alive()


def test_without_a_start_time_the_number_counts(child: subprocess.Popen[bytes]) -> None:
    """Where the kernel tells no start time, a process with that number is alive."""
    record = other(us(), pid=child.pid, start="")
    assert record.alive()
    child.communicate()
    assert not record.alive()


@linux_only
def test_a_signal_reaches_the_process_that_is_meant(child: subprocess.Popen[bytes]) -> None:
    """SIGTERM ends the child."""
    record_of(child.pid).signal(signal.SIGTERM)
    assert child.wait(5) == -signal.SIGTERM


@linux_only
def test_a_signal_needs_no_descriptor(child: subprocess.Popen[bytes]) -> None:
    """Where the system has no process descriptors (macOS), the signal arrives all the same."""
    program = (
        "import os, signal, sys; from bridge.service.record import parse; del os.pidfd_open\n"
        "parse(sys.stdin.buffer.read()).signal(signal.SIGTERM)"
    )
    record = record_of(child.pid).text().encode()
    subprocess.run([sys.executable, "-c", program], input=record, check=True)
    assert child.wait(5) == -signal.SIGTERM


@linux_only
def test_no_signal_reaches_a_process_with_a_recycled_number(
    child: subprocess.Popen[bytes],
) -> None:
    """A living process that merely has the number is left alone."""
    with pytest.raises(ProcessLookupError):
        other(record_of(child.pid), start="1").signal(signal.SIGKILL)
    child.communicate()
    assert child.returncode == 0


@linux_only
def test_no_signal_reaches_a_process_that_has_ended(child: subprocess.Popen[bytes]) -> None:
    """A process that is gone is said to be gone."""
    record = record_of(child.pid)
    child.communicate()
    with pytest.raises(ProcessLookupError):
        record.signal(signal.SIGTERM)
