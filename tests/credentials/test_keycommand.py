"""A key from a command: run seldom, once for everyone, and never in the way of the traffic."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import pytest

from bridge.credentials.keycommand import (
    AHEAD_SECONDS,
    FORCE_SECONDS,
    KEPT_SECONDS,
    PAUSE_SECONDS,
    SPARE_PAUSE_SECONDS,
    SPARE_SECONDS,
    Command,
)
from bridge.errors import CredentialUnreadable, KeyRequired
from bridge.providers import Auth, Models, Provider
from tests.fakes.clock import FakeClock

PROVIDER = Provider(
    name="minimax", auth=Auth.KEY, surfaces=MappingProxyType({}), models=Models("m", "m")
)
ONE, TWO = "sk-COMMANDsecret-1", "sk-COMMANDsecret-2"
ARGUMENT = "ARGUMENTsecret"

#: Counts its runs; waits for the gate, if there is one; prints the vault, or fails without one.
VAULT = """
echo run >> "$1/runs"
[ ! -e "$1/gate" ] || read line < "$1/gate"
echo STDERRsecret >&2
cat "$1/vault" 2>/dev/null || exit 7
"""


class Vault:
    """A command's other side: what it prints (*holds*), and how often it was run."""

    def __init__(self, folder: Path, clock: FakeClock) -> None:
        self._folder = folder
        self._gate: int | None = None
        words = ["sh", "-c", VAULT, ARGUMENT, str(folder)]
        self.command = Command(words, {"PATH": os.environ["PATH"]}, PROVIDER, clock)

    def holds(self, text: str | None) -> None:
        """Hold *text* from now on; ``None`` makes the command fail."""
        if text is None:
            (self._folder / "vault").unlink()
        else:
            (self._folder / "vault").write_text(text)

    @property
    def runs(self) -> int:
        """How often the command was run."""
        runs = self._folder / "runs"
        return runs.read_text().count("run") if runs.exists() else 0

    def closes(self) -> None:
        """Let runs wait from now on."""
        os.mkfifo(self._folder / "gate")
        # Open for reading too, so that neither side waits for the other to open.
        self._gate = os.open(self._folder / "gate", os.O_RDWR)

    def opens(self, runs: int = 1) -> None:
        """Let so many runs go on; each reads a line byte by byte."""
        assert self._gate is not None
        os.write(self._gate, b"\n" * runs)

    def leaves(self) -> None:
        """Close the gate's descriptor."""
        if self._gate is not None:
            os.close(self._gate)


@pytest.fixture(name="vault")
def _vault(tmp_path: Path, clock: FakeClock) -> Iterator[Vault]:
    """A vault that holds the first key."""
    vault = Vault(tmp_path, clock)
    vault.holds(f"{ONE}\n")
    yield vault
    vault.leaves()


async def access(command: Command) -> str:
    """Return the key that the command gives."""
    return (await command.current()).access


def only_a_run_can_tell(command: Command) -> bool:
    """Say whether there is nothing to be had without waiting."""
    return command.waits


async def running(vault: Vault, runs: int) -> None:
    """Return once the command has been run *runs* times."""
    while vault.runs < runs:
        await asyncio.to_thread(os.sched_yield)


async def done(command: Command) -> None:
    """Return once no run is under way."""
    while command._task is not None:
        await asyncio.wait([command._task])


async def test_it_is_run_when_asked(vault: Vault) -> None:
    """Nothing is run before somebody waits for the key; then it is there at once for others."""
    assert vault.command.at_once() is None
    assert only_a_run_can_tell(vault.command)
    assert vault.runs == 0
    assert await access(vault.command) == ONE
    held = vault.command.at_once()
    assert held is not None
    assert held.access == ONE
    assert not only_a_run_can_tell(vault.command)
    assert await access(vault.command) == ONE
    assert vault.runs == 1


async def test_one_run_for_all(vault: Vault) -> None:
    """A hundred who ask at once wait for one run; one that leaves does not end it for others."""
    vault.closes()
    asking = [asyncio.create_task(access(vault.command)) for _ in range(100)]
    await running(vault, 1)
    asking[0].cancel()
    await asyncio.wait(asking[:1])
    vault.opens()
    assert set(await asyncio.gather(*asking[1:])) == {ONE}
    assert vault.runs == 1


async def test_even_the_only_one_that_leaves_does_not_end_it(vault: Vault) -> None:
    """A request that is given up leaves the run to the next: a vault may have asked a person."""
    vault.closes()
    asking = asyncio.create_task(access(vault.command))
    await running(vault, 1)
    asking.cancel()
    await asyncio.wait([asking])
    vault.opens()
    assert await access(vault.command) == ONE
    assert vault.runs == 1


async def test_ahead_of_its_end(vault: Vault, clock: FakeClock) -> None:
    """Shortly before its time is over a key is got anew beside the traffic, which goes on."""
    assert await access(vault.command) == ONE
    vault.holds(TWO)
    clock.advance(KEPT_SECONDS - AHEAD_SECONDS - 1)
    assert await access(vault.command) == ONE
    assert vault.runs == 1
    clock.advance(1)
    vault.closes()
    assert await access(vault.command) == ONE
    assert await access(vault.command) == ONE
    await running(vault, 2)
    vault.opens()
    await done(vault.command)
    assert await access(vault.command) == TWO
    assert vault.runs == 2


@pytest.mark.parametrize("seconds", [KEPT_SECONDS, -10.0], ids=["later", "clock set back"])
async def test_after_its_end(vault: Vault, clock: FakeClock, seconds: float) -> None:
    """A key whose time is over is got anew before anything is asked with it."""
    assert await access(vault.command) == ONE
    vault.holds(TWO)
    clock.jump(seconds)
    assert vault.command.at_once() is None
    assert await access(vault.command) == TWO


async def test_a_refused_key(vault: Vault, clock: FakeClock) -> None:
    """After a 401 the command is run at once, and not again within a minute."""
    assert await access(vault.command) == ONE
    vault.holds(TWO)
    await vault.command.renew(ONE)
    assert await access(vault.command) == TWO
    await vault.command.renew(ONE)  # a late 401 to the old one
    assert vault.runs == 2
    await vault.command.renew(TWO)
    assert vault.runs == 2
    clock.advance(FORCE_SECONDS)
    await vault.command.renew(TWO)
    assert vault.runs == 3
    assert await access(vault.command) == TWO


async def test_many_refused_at_once(vault: Vault) -> None:
    """Whoever is refused while the command runs waits for that run."""
    assert await access(vault.command) == ONE
    vault.holds(TWO)
    vault.closes()
    asking = [asyncio.create_task(vault.command.renew(ONE)) for _ in range(20)]
    await running(vault, 2)
    assert not any(task.done() for task in asking)
    vault.opens()
    await asyncio.gather(*asking)
    assert await access(vault.command) == TWO
    assert vault.runs == 2


async def test_a_key_of_somebody_else(vault: Vault) -> None:
    """A refused key that did not come from here runs nothing."""
    await vault.command.renew("sk-another")
    assert await access(vault.command) == ONE
    await vault.command.renew("sk-another")
    assert vault.runs == 1


async def test_a_failure_without_a_key(
    vault: Vault, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A command that fails is told of, and is left alone for a moment: agents repeat themselves."""
    vault.holds(None)
    with caplog.at_level(logging.INFO, "bridge"):
        for _ in range(3):
            with pytest.raises(CredentialUnreadable, match="ended with exit code 7"):
                await vault.command.current()
    assert vault.runs == 1
    assert not only_a_run_can_tell(vault.command)
    depths = set()
    for _ in range(3):
        with pytest.raises(CredentialUnreadable) as caught:
            vault.command.at_once()
        depths.add(len(caught.traceback))
    assert len(depths) == 1  # nothing is piled up on the way
    (record,) = caplog.records
    assert record.getMessage() == (
        "key command failed provider=minimax reason=the key command of minimax ended with exit "
        "code 7: run it in a terminal to see why"
    )
    vault.holds(ONE)
    clock.advance(PAUSE_SECONDS)
    assert only_a_run_can_tell(vault.command)
    assert await access(vault.command) == ONE


async def test_what_is_no_key(vault: Vault) -> None:
    """Output that is no key is a failure, told as that of a file would be."""
    vault.holds("your-api-key\n")
    with pytest.raises(KeyRequired) as caught:
        await vault.command.current()
    assert str(caught.value) == (
        "the output of the key command of minimax holds a placeholder and no key: "
        "let it print the key alone"
    )
    with pytest.raises(KeyRequired):
        await vault.command.current()


async def test_a_vault_that_locks_itself(vault: Vault, clock: FakeClock) -> None:
    """While the command fails the key that it gave stays in use, with the reason beside it."""
    assert await access(vault.command) == ONE
    vault.holds(None)
    clock.advance(KEPT_SECONDS)
    key = await vault.command.current()
    assert key.access == ONE
    assert "ended with exit code 7" in key.oddities[0]
    assert vault.runs == 2
    assert await access(vault.command) == ONE  # left alone for a while
    assert vault.command.at_once() == key
    clock.advance(SPARE_PAUSE_SECONDS)
    assert await access(vault.command) == ONE
    assert vault.runs == 3
    clock.advance(SPARE_SECONDS)
    with pytest.raises(CredentialUnreadable):
        await vault.command.current()
    vault.holds(TWO)
    clock.advance(SPARE_PAUSE_SECONDS)
    assert (await vault.command.current()).oddities == ()


async def test_a_run_that_is_ended_with_the_daemon(vault: Vault) -> None:
    """Who waits for a run that the end of the daemon cuts short is told to try again."""
    vault.closes()
    asking = asyncio.create_task(vault.command.current())
    await running(vault, 1)
    assert vault.command._task is not None
    vault.command._task.cancel()
    with pytest.raises(CredentialUnreadable, match="was ended: try again"):
        await asking


async def test_nothing_of_it_is_told(
    vault: Vault, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Words, output and key stand in no line of the log, no error and no description."""
    with caplog.at_level(logging.DEBUG):
        key = await vault.command.current()
        vault.holds(None)
        clock.advance(KEPT_SECONDS)
        told = [repr(key), repr(await vault.command.current()), repr(vault.command)]
        await vault.command.renew(ONE)
    told += [record.getMessage() for record in caplog.records]
    assert len(told) > 4
    assert all("secret" not in text for text in told)
