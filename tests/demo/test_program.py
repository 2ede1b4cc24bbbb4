"""How the demo runs the program, and that nothing of the person's own gets in."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from bridge import __version__
from bridge.clock import SystemClock
from bridge.demo.program import Flop, Program, expect, free_port
from tests.fakes.clock import FakeClock


def _program(home: Path, clock: SystemClock | FakeClock, **environment: str) -> Program:
    root = str(Path(__file__).resolve().parents[2])
    base = {"PATH": "/usr/bin:/bin", "PYTHONPATH": root, **environment}
    return Program(home, free_port(), "http://127.0.0.1:9", base, clock)


async def test_run(tmp_path: Path) -> None:
    """A command is run to its end; its lines are told as they come, and what came is kept."""
    lines: list[str] = []
    program = _program(tmp_path, SystemClock())
    run = await program.run("--version", hear=lines.append)
    assert (run.code, run.out, run.err) == (0, f"bridge {__version__}\n", "")
    assert lines == [f"bridge {__version__}"]
    assert (run.name, program.runs) == ("bridge --version", [run])


async def test_run_that_fails(tmp_path: Path) -> None:
    """A command that fails is no flop by itself: its exit code is for the act to judge."""
    run = await _program(tmp_path, SystemClock()).run("--check")
    assert (run.code, run.out) == (3, "")


async def test_run_that_does_not_end(tmp_path: Path) -> None:
    """A command that takes too long is killed, and the flop names it."""
    clock = FakeClock()
    running = asyncio.create_task(_program(tmp_path, clock).run("--version"))
    await clock.sleepers(1)
    clock.advance(21)
    with pytest.raises(Flop, match="bridge --version did not end within 20 s"):
        await running


async def test_run_that_is_cancelled(tmp_path: Path) -> None:
    """Cancelling ends the command too, before the cancellation goes on."""
    clock = FakeClock()
    program = _program(tmp_path, clock)
    running = asyncio.create_task(program.run("--version"))
    await clock.sleepers(1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert program.runs == []


async def test_end_without_a_daemon(tmp_path: Path) -> None:
    """Ending where nothing runs does no harm."""
    program = _program(tmp_path, SystemClock())
    await program.end()
    assert program.runs[-1].code == 0


def test_isolation(tmp_path: Path) -> None:
    """No setting, login, proxy or service manager of the person's takes part."""
    person = {
        "HOME": "/home/ada",
        "BRIDGE_CONFIG": "/etc/bridge.toml",
        "KIMI_SHARE_DIR": "/home/ada/kimi",
        "XDG_STATE_HOME": "/home/ada/state",
        "XDG_RUNTIME_DIR": "/run/user/1",
        "HTTPS_PROXY": "http://proxy:1",
        "no_proxy": "*",
        "NOTIFY_SOCKET": "/run/notify",
        "ANTHROPIC_API_KEY": "key",
        "LANG": "C.UTF-8",
    }
    program = _program(tmp_path, SystemClock(), **person)
    environment = program._environment
    assert not {value for name, value in person.items() if name != "LANG"} & {*environment.values()}
    assert environment["LANG"] == "C.UTF-8"
    assert environment["HOME"] == str(tmp_path)
    assert environment["BRIDGE_PORT"] == str(program.port)
    places = program.paths
    for path in (places.config, places.key, places.log, places.pid_file, places.kimi_share):
        assert Path(path).is_relative_to(tmp_path)


def test_log_tail(tmp_path: Path) -> None:
    """The end of the log is shown without what is secret; no log is an empty one."""
    program = _program(tmp_path, SystemClock())
    assert program.log_tail([]) == []
    log = Path(program.paths.log)
    log.parent.mkdir(parents=True)
    log.write_text("first\n" * 30 + "token=abc and abc\n")
    tail = program.log_tail(["abc"])
    assert len(tail) == 20
    assert tail[-1] == "token=*** and ***"


def test_free_port() -> None:
    """A free port is one that can be listened on; where there is none, that is said."""
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        assert free_port() != port
        with pytest.raises(Flop, match=f"no port from {port} to {port} is free"):
            free_port([port])


def test_expect() -> None:
    """An expectation that does not hold is a flop with its reason."""
    expect("something", "not shown")
    with pytest.raises(Flop, match="the reason"):
        expect("", "the reason")
