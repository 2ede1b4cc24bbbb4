"""The port is ours on every address, or one line says who has it."""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.errors import PortTaken, ServiceError
from bridge.service.listen import bind
from tests.fakes.standin import StandIn

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux names socket owners")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
V4, V6 = "127.0.0.1", "::1"


def _ipv6() -> bool:
    with contextlib.suppress(OSError), socket.create_server((V6, 0), family=socket.AF_INET6):
        return True
    return False


def _first_open_port() -> int:
    with contextlib.suppress(OSError):
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    return 1024


needs_ipv6 = pytest.mark.skipif(not _ipv6(), reason="no IPv6 loopback here")


@contextlib.contextmanager
def bound(port: int = 0, *addresses: str) -> Iterator[list[socket.socket]]:
    """The sockets of one bind, closed at the end."""
    sockets = bind(port, addresses or (V4, V6))
    with contextlib.ExitStack() as stack:
        for listening in sockets:
            stack.enter_context(listening)
        yield sockets


@needs_ipv6
def test_both_loopbacks_listen_on_one_port() -> None:
    """IPv4 and IPv6 get the same port, and connections are taken at once."""
    with bound() as sockets:
        places = [listening.getsockname()[:2] for listening in sockets]
        assert [host for host, _ in places] == [V4, V6]
        assert places[0][1] == places[1][1]
        for place in places:
            socket.create_connection(place).close()


def test_the_sockets_suit_a_daemon() -> None:
    """They never block, and no child inherits them."""
    with bound() as sockets:
        for listening in sockets:
            assert not listening.get_inheritable()
            assert listening.gettimeout() == 0


def test_a_restart_gets_its_port_back_at_once() -> None:
    """Connections of the last daemon that linger in TIME_WAIT do not matter."""
    with bound(0, V4) as (listening,):
        place = listening.getsockname()
        with socket.create_connection(place) as caller:
            listening.accept()[0].close()
            assert caller.recv(1) == b""
    with bound(place[1], V4):
        pass


def test_an_ipv6_address_that_the_machine_lacks_is_left_out() -> None:
    """Without IPv6 loopback the daemon serves on IPv4 alone."""
    with bound(0, V4, "2001:db8::1") as sockets:
        assert len(sockets) == 1


def test_an_ipv4_address_that_the_machine_lacks_is_a_failure() -> None:
    """An address that should be there and is not is named."""
    with pytest.raises(ServiceError, match=r"on 192\.0\.2\.1 cannot be opened"):
        bind(0, ["192.0.2.1"])


@linux_only
@pytest.mark.parametrize("address", [V4, pytest.param(V6, marks=needs_ipv6)])
def test_a_stranger_is_named(address: str) -> None:
    """A program on either address is named with number and user, and how to stop it."""
    with StandIn("--address", address) as stranger, pytest.raises(PortTaken) as refusal:
        bind(stranger.port)
    text = str(refusal.value)
    assert f"port {stranger.port} on {address} is taken by python" in text
    assert f"user {pwd.getpwuid(os.geteuid()).pw_name}): stop it with: kill " in text
    assert refusal.value.exit_code == 4


@linux_only
def test_a_socket_unit_is_not_to_be_killed() -> None:
    """Where systemd has the port for us, that is said, and nobody is told to kill systemd."""
    name = Path("/proc/self/comm")
    before = name.read_text()
    with socket.create_server((V4, 0)) as unit:
        name.write_text("systemd")
        try:
            with pytest.raises(PortTaken, match="taken by systemd, whose socket unit") as refusal:
                bind(unit.getsockname()[1])
        finally:
            name.write_text(before)
    assert "systemctl --user stop bridge.socket, or choose another port" in str(refusal.value)
    assert "kill" not in str(refusal.value)


@needs_ipv6
def test_half_a_bind_is_undone() -> None:
    """If the second address is taken, the first is free again."""
    with StandIn("--address", V6) as stranger:
        with pytest.raises(PortTaken):
            bind(stranger.port)
        with bound(stranger.port, V4):
            pass


def test_a_stranger_on_all_addresses_is_in_the_way() -> None:
    """A program that listens everywhere leaves no place for us."""
    with StandIn("--address", "0.0.0.0") as stranger, pytest.raises(PortTaken):
        bind(stranger.port)


def test_of_two_starts_one_gets_the_port() -> None:
    """A second bind meets the first, which listens already."""
    with bound(0, V4) as (listening,), pytest.raises(PortTaken):
        bind(listening.getsockname()[1], [V4])


def test_a_port_that_is_held_but_silent_is_taken() -> None:
    """Somebody who holds the port without listening cannot be named, but is said to be there."""
    with socket.socket() as silent:
        silent.bind((V4, 0))
        with pytest.raises(PortTaken, match="taken by another program: stop it"):
            bind(silent.getsockname()[1])


OLD = """
import socket, sys
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
sys.stdin.read()
"""


@linux_only
@pytest.mark.parametrize("how", ["script", "pid-file"])
def test_the_predecessor_is_known_by_its_name(home: Path, how: str) -> None:
    """The old kimi-proxy, a python script, is recognized, and how to stop it is said."""
    script = home / ("kimi-proxy" if how == "script" else "proxy")
    script.write_text(OLD)
    command = [sys.executable, str(script)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as proxy:
        assert proxy.stdout
        port = int(proxy.stdout.readline())
        if how == "pid-file":
            (home / ".local/run").mkdir(parents=True)
            (home / ".local/run/kimi-proxy.pid").write_text(f"{proxy.pid}\n")
        with pytest.raises(PortTaken, match=r"old kimi-proxy .*stop it with: kimi-proxy --stop$"):
            bind(port)
        proxy.communicate()


@linux_only
def test_a_pid_file_of_the_predecessor_accuses_nobody_else(home: Path) -> None:
    """Where the owner of the port is known, an old PID file that names another is no proof."""
    (home / ".local/run").mkdir(parents=True)
    (home / ".local/run/kimi-proxy.pid").write_text(str(os.getpid()))
    with StandIn() as stranger, pytest.raises(PortTaken, match="taken by python"):
        bind(stranger.port)


def as_nobody(port: int) -> str:
    """What a bind of *port* says to a user without rights."""
    program = (
        "import os, sys; from bridge.service.listen import bind; from bridge.errors import *\n"
        "os.setuid(65534)\n"
        "try: bind(int(sys.argv[1]), ['127.0.0.1'])\n"
        "except ServiceError as error: print(error)"
    )
    command = [sys.executable, "-c", program, str(port)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@needs_root
@linux_only
def test_another_users_program_is_named_by_its_user() -> None:
    """Where the process may not be seen, at least its user is told."""
    with StandIn() as stranger:
        assert "taken by a program of user root: have it stopped" in as_nobody(stranger.port)


@needs_root
@pytest.mark.skipif(_first_open_port() <= 80, reason="port 80 is open to everybody here")
def test_a_privileged_port_is_refused_with_the_reason() -> None:
    """A port for root only is said to be one."""
    assert "port 80 on 127.0.0.1 is for root only" in as_nobody(80)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_number_that_is_no_port_is_refused(port: int) -> None:
    """A port that cannot exist is refused before anything is opened."""
    with pytest.raises(ServiceError, match=f"port {port} does not exist"):
        bind(port)
