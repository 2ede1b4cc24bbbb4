"""A program is run for what it prints: without a shell, and to an end in any case."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from bridge.credentials.program import LIMIT, REST_SECONDS, printed
from bridge.errors import CredentialUnreadable
from tests.fakes.clock import FakeClock

ENVIRONMENT = {"PATH": os.environ["PATH"]}
SECONDS = 10.0


async def run(clock: FakeClock, *words: str, environment: Mapping[str, str] = ENVIRONMENT) -> bytes:
    """Run *words* as the key command of somebody."""
    return await printed(words, environment, clock, name="the key command", seconds=SECONDS)


async def refusal(clock: FakeClock, *words: str) -> str:
    """Return what is said of *words*, which do not print a key."""
    with pytest.raises(CredentialUnreadable) as caught:
        await run(clock, *words)
    return str(caught.value)


async def alive(pid: int) -> bool:
    """Say whether the process *pid* still runs, once whoever reaps it had its turn."""
    for _ in range(200):
        if state(pid) in {"", "Z"}:
            return False
        await asyncio.to_thread(os.sched_yield)
    return True


def state(pid: int) -> str:
    """Return the letter for the state of a process, nothing for none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


async def written(path: Path) -> str:
    """Return what is in *path* once a process has written it."""
    while not (text := content(path)).endswith("\n"):
        await asyncio.to_thread(os.sched_yield)
    return text.strip()


def content(path: Path) -> str:
    """Return what is in *path*, nothing where there is no such file."""
    return path.read_text() if path.exists() else ""


async def test_what_it_prints(clock: FakeClock) -> None:
    """The output comes as it is; what goes to standard error does not."""
    assert await run(clock, "sh", "-c", "echo noise >&2; printf 'one\\ntwo'") == b"one\ntwo"


async def test_no_shell(clock: FakeClock) -> None:
    """An argument is one word and means nothing else, whatever is in it."""
    assert await run(clock, "printf", "%s", "$HOME; `id` *") == b"$HOME; `id` *"


async def test_its_surroundings(clock: FakeClock) -> None:
    """It has the given environment, no input, the root folder, and a session without terminal."""
    environment = {**ENVIRONMENT, "VAULT": "mine"}
    script = 'printf "%s " "$VAULT" "$(pwd)" "$(wc -c)" "$$" "$(cut -d" " -f6 /proc/$$/stat)"'
    told = (await run(clock, "sh", "-c", script, environment=environment)).decode()
    vault, folder, heard, pid, session = told.split()
    assert (vault, folder, heard) == ("mine", "/", "0")
    assert pid == session


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["sh", "-c", "echo STDERRsecret >&2; exit 3"], "ended with exit code 3: run it in"),
        (["sh", "-c", "kill -9 $$"], "was ended by signal 9: run it in a terminal"),
        (["sh", "-c", f"head -c {LIMIT + 1} /dev/zero"], "prints more than a key"),
        (["sh", "-c", "cat /dev/zero"], "prints more than a key"),
        (["no-such-program"], "is no program that the daemon can run: write its absolute path"),
        (["/etc/passwd"], "is no program that the daemon can run"),
        (["/"], "is no program that the daemon can run"),
    ],
)
async def test_a_failure(clock: FakeClock, words: list[str], reason: str) -> None:
    """What went wrong is told by the exit code, with nothing of the words or the output."""
    told = await refusal(clock, *words)
    assert told.startswith(f"the key command {reason}")
    assert "STDERRsecret" not in told
    assert words[0] not in told


async def test_what_cannot_be_started(clock: FakeClock, tmp_path: Path) -> None:
    """A file that may be executed and cannot be is told with the system's reason."""
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o700)
    told = await refusal(clock, str(script))
    assert "cannot be started (No such file" in told or "exit code" in told
    assert str(script) not in told


async def test_a_program_that_hangs(clock: FakeClock, tmp_path: Path) -> None:
    """After its time it is killed with all that it has started."""
    pids = tmp_path / "pids"
    script = f"sleep 600 & echo $$ $! > {pids}; wait"
    told = asyncio.create_task(refusal(clock, "sh", "-c", script))
    shell, child = (await written(pids)).split()
    await clock.sleepers()
    assert clock.deadlines == [SECONDS]
    clock.advance(SECONDS)
    assert "has not ended within 10 s" in await told
    assert not await alive(int(shell))
    assert not await alive(int(child))


async def test_a_caller_that_leaves(clock: FakeClock, tmp_path: Path) -> None:
    """When nobody wants the output any more, nothing is left running."""
    pids = tmp_path / "pids"
    waiting = asyncio.create_task(run(clock, "sh", "-c", f"echo $$ > {pids}; exec sleep 600"))
    pid = int(await written(pids))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not await alive(pid)


async def test_a_helper_that_stays(clock: FakeClock, tmp_path: Path) -> None:
    """A helper that keeps the output open after the program has ended well delays nobody long."""
    pids = tmp_path / "pids"
    script = f"setsid sleep 600 & echo $! > {pids}; echo key"
    output = asyncio.create_task(run(clock, "sh", "-c", script))
    pid = int(await written(pids))
    try:
        while REST_SECONDS not in clock.slept:
            await asyncio.to_thread(os.sched_yield)
        clock.advance(REST_SECONDS)
        assert await output == b"key\n"
        assert await alive(pid)
    finally:
        os.kill(pid, signal.SIGKILL)
