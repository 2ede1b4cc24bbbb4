"""Passed sockets are taken if they are a door on loopback, by the process they are meant for."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.errors import ConfigError
from bridge.service.activation import taken


@contextlib.contextmanager
def passed(*sockets: socket.socket) -> Iterator[int]:
    """Put *sockets* at descriptors in a row, as a manager does, and return the first of them."""
    first = 200
    for number, each in enumerate(sockets, first):
        os.dup2(each.fileno(), number, inheritable=True)
        each.close()
    try:
        yield first
    finally:
        for number in range(first, first + len(sockets)):
            with contextlib.suppress(OSError):
                os.close(number)


def variables(count: int | str, pid: int | None = None) -> dict[str, str]:
    """What a manager sets."""
    own = os.getpid() if pid is None else pid
    return {"LISTEN_PID": str(own), "LISTEN_FDS": str(count), "LISTEN_FDNAMES": "x", "HOME": "/"}


def door(address: str = "127.0.0.1", port: int = 0) -> socket.socket:
    """A socket that listens."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, port), family=family)


def test_doors_are_taken() -> None:
    """IPv4 comes first; they never block, no child inherits them, the variables are gone."""
    four = door()
    port = four.getsockname()[1]
    environment = variables(2)
    with passed(door("::1", port), four) as first:
        sockets = taken(environment, first)
        assert [each.getsockname()[:2] for each in sockets] == [("127.0.0.1", port), ("::1", port)]
        for each in sockets:
            assert not each.get_inheritable()
            assert each.gettimeout() == 0
            each.close()
    assert environment == {"HOME": "/"}


@pytest.mark.parametrize("pid", [1, 0])
def test_what_is_meant_for_another_is_left(pid: int) -> None:
    """A shell's child that inherited the variables takes nothing, and hands nothing on."""
    environment = variables(1, pid)
    with passed(door()) as first:
        assert taken(environment, first) == []
        os.fstat(first)
    assert environment == {"HOME": "/"}


def test_nothing_is_passed() -> None:
    """Without a manager, or with one that passes nothing, there are no sockets."""
    assert taken({}) == []
    assert taken(variables(0)) == []


@pytest.mark.parametrize("count", ["", "many", "-1"])
def test_a_number_that_is_none(count: str) -> None:
    """A number of sockets that cannot be read is a wrong configuration."""
    with pytest.raises(ConfigError, match="LISTEN_FDS="):
        taken(variables(count))


def test_what_is_no_socket(tmp_path: Path) -> None:
    """A descriptor that is none, or a file's, is named."""
    with pytest.raises(ConfigError, match="descriptor 199 from the service manager is no socket"):
        taken(variables(1), 199)
    with (tmp_path / "file").open("w") as file:
        os.dup2(file.fileno(), 199)
    with pytest.raises(ConfigError, match="is no socket"):
        taken(variables(1), 199)
    os.close(199)


def test_what_is_no_door(tmp_path: Path) -> None:
    """Each that is not a listening TCP socket on loopback is refused, and closed with the rest."""
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(tmp_path / "unix"))
    unix.listen()
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    cases = [
        (unix, "is no TCP socket"),
        (datagrams, "is no TCP socket"),
        (silent, "does not listen"),
        (door("0.0.0.0"), "listens on 0.0.0.0, not on 127.0.0.1 or ::1: mend ListenStream="),
        (door("::"), "listens on ::, not on"),
        (door("127.0.0.2"), "listens on 127.0.0.2, not on"),
    ]
    for unfit, words in cases:
        with passed(door(), unfit) as first:
            with pytest.raises(ConfigError, match=words) as refusal:
                taken(variables(2), first)
            assert refusal.value.exit_code == 78
            for number in (first, first + 1):
                with pytest.raises(OSError, match="Bad file descriptor"):
                    os.fstat(number)


def test_two_ports() -> None:
    """Clients have one port in their settings: two are refused."""
    with (
        passed(door(), door()) as first,
        pytest.raises(ConfigError, match=r"sockets on ports \d+ and \d+"),
    ):
        taken(variables(2), first)
