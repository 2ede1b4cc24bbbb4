"""The kernel names the owner of a loopback socket, and nobody where it cannot."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from bridge import peer
from tests.fakes.standin import StandIn

NOBODY = 65534

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux names socket owners")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def _ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not _ipv6(), reason="no IPv6 loopback here")


def inode(sock: socket.socket) -> int:
    """The socket's inode, as /proc shows it."""
    return os.fstat(sock.fileno()).st_ino


def exit_code(program: str, argument: int) -> int:
    """Run *program* in a child."""
    command = [sys.executable, "-c", program, str(argument)]
    return subprocess.run(command, check=False).returncode


@pytest.fixture(name="door")
def _door() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as door:
        yield door


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
def test_the_caller_of_a_connection_is_named(host: str) -> None:
    """User and socket of the process at the other end are told, for IPv4 and IPv6."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        socket.create_server((host, 0), family=family) as door,
        socket.create_connection(door.getsockname()[:2]) as caller,
        door.accept()[0] as ours,
    ):
        found = peer.owner(ours.getsockname(), ours.getpeername())
        assert found is not None
        assert (found.uid, found.inode) == (os.geteuid(), inode(caller))
        assert repr(found) == f"Owner(uid={found.uid}, inode={found.inode})"


@needs_ipv6
def test_an_ipv6_socket_that_speaks_ipv4_is_named(door: socket.socket) -> None:
    """A caller that reaches 127.0.0.1 through ::ffff:127.0.0.1 is found all the same."""
    with socket.socket(socket.AF_INET6) as caller:
        caller.connect(("::ffff:127.0.0.1", door.getsockname()[1]))
        with door.accept()[0] as ours:
            for local, remote in (
                (ours.getsockname(), ours.getpeername()),
                (caller.getpeername(), caller.getsockname()),
            ):
                found = peer.owner(local, remote)
                assert found is not None
                assert found.inode == inode(caller)


@needs_root
def test_a_caller_of_another_user_is_named_as_such(door: socket.socket) -> None:
    """A connection that another user opened carries that user's number."""
    program = (
        "import os, socket, sys; os.setuid(int(sys.argv[2]));"
        "caller = socket.socket(); caller.connect(('127.0.0.1', int(sys.argv[1])));"
        "sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(door.getsockname()[1]), str(NOBODY)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        with door.accept()[0] as ours:
            found = peer.owner(ours.getsockname(), ours.getpeername())
            assert found is not None
            assert found.uid == NOBODY
        child.communicate()


def test_an_orphan_is_nobodys(door: socket.socket) -> None:
    """A caller that has closed its socket is unknown, though the kernel still shows it as uid 0."""
    with socket.create_connection(door.getsockname()) as caller:
        ours = door.accept()[0]
    with ours:
        caller.close()
        assert ours.recv(1) == b""
        assert peer.owner(ours.getsockname(), ours.getpeername()) is None


def test_a_connection_that_does_not_exist_has_no_owner(door: socket.socket) -> None:
    """Whoever listens where the caller would be is not taken for the caller."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert peer.owner(door.getsockname(), other.getsockname()) is None
    assert peer.owner(door.getsockname(), ("127.0.0.1", 1)) is None


def test_a_fork_asks_for_itself(door: socket.socket) -> None:
    """Parent and child of a fork each get their own answers."""
    program = (
        "import os, sys; from bridge import peer; port = int(sys.argv[1])\n"
        "ask = lambda: all(peer.listener('127.0.0.1', port).inode for _ in range(500))\n"
        "ask(); child = os.fork(); good = ask()\n"
        "if not child: os._exit(not good)\n"
        "sys.exit(os.waitpid(child, 0)[1] or not good)"
    )
    assert exit_code(program, door.getsockname()[1]) == 0


@pytest.mark.parametrize("bound", ["127.0.0.1", "0.0.0.0"])
def test_a_listener_is_named(bound: str) -> None:
    """The owner of a listening socket is told, also if it listens on all addresses."""
    with socket.create_server((bound, 0)) as door:
        port = door.getsockname()[1]
        found = peer.listener("127.0.0.1", port)
        assert found is not None
        assert (found.uid, found.inode) == (os.geteuid(), inode(door))
    assert peer.listener("127.0.0.1", port) is None


@needs_ipv6
def test_an_ipv6_listener_is_named() -> None:
    """A listener on all IPv6 addresses that takes IPv4 as well is found under both."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as door:
        for host in ("::1", "127.0.0.1"):
            found = peer.listener(host, door.getsockname()[1])
            assert found is not None
            assert found.inode == inode(door)


def test_a_daemon_loses_no_file_to_a_question_of_its_parent(door: socket.socket) -> None:
    """Who has closed what a fork inherited, as a daemon does, keeps the files opened since."""
    program = (
        "import os, sys; from bridge import peer\n"
        "def ask(): return peer.listener('127.0.0.1', int(sys.argv[1])).uid == os.geteuid()\n"
        "assert ask()\n"
        "if os.fork(): sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))\n"
        "os.closerange(3, 100)\n"
        "log = os.open('/dev/null', os.O_WRONLY); before = os.fstat(log)\n"
        "sys.exit(not (ask() and os.fstat(log) == before))"
    )
    assert exit_code(program, door.getsockname()[1]) == 0


def test_the_kernel_can_tell_here() -> None:
    """On an ordinary Linux the trial with a connection of our own succeeds."""
    assert peer.can_tell()


@pytest.mark.parametrize("spare", [0, 2])
def test_a_kernel_that_cannot_be_asked_is_noticed(spare: int) -> None:
    """Where no (netlink) socket can be had, the trial says so, and an owner is unknown."""
    program = (
        "import os, resource, sys; from bridge import peer; first = os.dup(0); os.close(first)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (first + int(sys.argv[1]),) * 2)\n"
        "sys.exit(peer.can_tell())"
    )
    assert exit_code(program, spare) == 0


def test_a_process_is_found_by_its_socket() -> None:
    """The inode of a socket leads to number and name of the process that holds it."""
    with StandIn() as stranger:
        found = peer.listener("127.0.0.1", stranger.port)
        assert found is not None
        process = peer.process_of(found.inode)
        assert process is not None
        assert process[0] == stranger.pid
        assert process[1].startswith("python")


def test_a_socket_that_nobody_holds_has_no_process() -> None:
    """An unknown inode leads nowhere."""
    assert peer.process_of(2**40) is None
