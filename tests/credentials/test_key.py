"""The first place that yields a key wins; every other way to go wrong names what to do."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from bridge.credentials.key import KeySource
from bridge.credentials.keycommand import KEPT_SECONDS
from bridge.errors import CredentialUnreadable, KeyRequired
from bridge.providers import Auth, KeyPlace, Models, Provider
from tests.fakes.clock import FakeClock

ENV = KeyPlace(env="MINIMAX_API_KEY")
FILE = KeyPlace(file="~/.minimax.key")
PROVIDER = Provider(
    name="minimax",
    auth=Auth.KEY,
    surfaces=MappingProxyType({}),
    models=Models("m", "m"),
    keys=(ENV, FILE),
    key_prefixes=("sk-cp-",),
)
FROM_ENV, FROM_FILE, FROM_COMMAND = "sk-cp-ENVsecret", "sk-cp-FILEsecret", "sk-cp-COMMANDsecret"


def command(script: str) -> KeyPlace:
    """Return the place that is what *script* prints."""
    return KeyPlace(command=("sh", "-c", script))


class Home:
    """A home with a key file, and the environment of a daemon in it."""

    def __init__(self, folder: Path, clock: FakeClock) -> None:
        self.file = folder / ".minimax.key"
        self._clock = clock
        self.environment = {"HOME": str(folder), "PATH": os.environ["PATH"]}

    def source(self, *places: KeyPlace, **variables: str) -> KeySource:
        """Return the source for *places*, with *variables* in the environment."""
        row = replace(PROVIDER, keys=places or PROVIDER.keys)
        return KeySource(row, {**self.environment, **variables}, self._clock)

    def put(self, key: str = FROM_FILE, mode: int = 0o600) -> None:
        """Put *key* into the file."""
        self.file.write_text(key)
        self.file.chmod(mode)


@pytest.fixture(name="home")
def _home(tmp_path: Path, clock: FakeClock) -> Home:
    """A home without a key."""
    return Home(tmp_path, clock)


async def refusal(source: KeySource) -> str:
    """Return what a request is told that finds no key."""
    assert source.at_once() is None
    with pytest.raises((KeyRequired, CredentialUnreadable)) as caught:
        await source.current()
    told = str(caught.value)
    assert "secret" not in told
    assert not source.condition().ready
    assert source.condition().problem == told
    assert source.found() is None
    return told


@pytest.mark.parametrize(
    ("variables", "in_file", "access", "found"),
    [
        ({"MINIMAX_API_KEY": FROM_ENV}, True, FROM_ENV, "MINIMAX_API_KEY"),
        ({"MINIMAX_API_KEY": FROM_ENV}, False, FROM_ENV, "MINIMAX_API_KEY"),
        ({}, True, FROM_FILE, "~/.minimax.key"),
        ({"MINIMAX_API_KEY": " "}, True, FROM_FILE, "~/.minimax.key"),
    ],
)
async def test_the_first_that_yields(
    home: Home, variables: Mapping[str, str], in_file: bool, access: str, found: str
) -> None:
    """The first place that has a key gives it, and is named without it."""
    if in_file:
        home.put()
    source = home.source(**variables)
    held = source.at_once()
    assert held is not None
    assert held.access == access
    assert await source.current() is held
    assert source.found() == found
    condition = source.condition()
    assert (condition.ready, condition.problem, condition.remaining) == (True, None, None)
    assert "secret" not in repr((held, condition, source))


async def test_nothing_found(home: Home) -> None:
    """Without a key every place is named, with what to do there."""
    assert await refusal(home.source()) == (
        "minimax has no key: put it into ~/.minimax.key (mode 0600) "
        "or set MINIMAX_API_KEY for the daemon"
    )
    assert await refusal(home.source(ENV, KeyPlace(env="OTHER"))) == (
        "minimax has no key: set MINIMAX_API_KEY for the daemon or set OTHER for the daemon"
    )


async def test_no_place(home: Home, clock: FakeClock) -> None:
    """A row without places says where one is named."""
    source = KeySource(replace(PROVIDER, keys=()), home.environment, clock)
    assert await refusal(source) == (
        "minimax has no key and no place for one: name one in the configuration, "
        '[providers.minimax] key = { file = "PATH" }'
    )


def test_the_error_is_for_a_person() -> None:
    """A missing key answers 401 without an invitation to repeat, and exits with 150."""
    error = KeyRequired("x")
    assert (error.status, error.kind, error.retry_after) == (401, "authentication_error", None)
    assert error.exit_code == 150


async def test_a_place_that_fails_is_passed_over(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    """Where an earlier place has no usable key a later one serves, and the log says so, once."""
    home.put()
    source = home.source(MINIMAX_API_KEY="changeme")
    with caplog.at_level(logging.WARNING, "bridge"):
        for _ in range(3):
            held = source.at_once()
            assert held is not None
            assert held.access == FROM_FILE
            assert await source.current() is held
    told = "MINIMAX_API_KEY holds a placeholder and no key: set it to the key alone"
    assert source.condition().problem == told
    assert source.condition().ready
    assert [r.getMessage() for r in caplog.records] == [f"key odd provider=minimax reason={told}"]


async def test_all_places_fail(home: Home) -> None:
    """Where every place has something else than a key, each is told."""
    home.put("")
    assert await refusal(home.source(MINIMAX_API_KEY="<key>")) == (
        "minimax has no usable key: MINIMAX_API_KEY holds a placeholder and no key: set it to the "
        "key alone; ~/.minimax.key is empty: write the key alone into it"
    )


async def test_a_change_is_noted_once(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    """What looks wrong about a key is logged when it changes and not at each request."""
    source = home.source()
    with caplog.at_level(logging.WARNING, "bridge"):
        for key, mode in (
            (FROM_FILE, 0o600),
            ("sk-ant-FILEsecret", 0o600),
            ("sk-ant-FILEsecret", 0o644),
            (FROM_FILE, 0o600),
            ("sk-ant-FILEsecret", 0o600),
        ):
            home.put(key, mode)
            for _ in range(3):
                held = source.at_once()
                assert held is not None
                assert held.access == key
    lines = [record.getMessage() for record in caplog.records]
    foreign = "key odd provider=minimax reason=the key in ~/.minimax.key does not begin with sk-cp-"
    assert [line.startswith(foreign) for line in lines] == [True, False, True]
    assert "can be read by other users: run: chmod 600" in lines[1]
    assert all("secret" not in line for line in lines)


async def test_a_changed_file_counts_at_once(home: Home) -> None:
    """Each request goes with what is in the file then, and so does the one after a 401."""
    home.put()
    source = home.source()
    held = await source.current()
    assert await source.rejected(held) == held
    home.put("sk-cp-NEWsecret")
    assert (await source.rejected(held)).access == "sk-cp-NEWsecret"
    assert (await source.current()).access == "sk-cp-NEWsecret"
    home.file.unlink()
    assert "has no key" in await refusal(source)


async def test_a_command(home: Home, clock: FakeClock, tmp_path: Path) -> None:
    """A command is run when a request needs it and not to learn how things are."""
    source = home.source(command(f"echo x >> {tmp_path}/runs; echo {FROM_COMMAND}"))
    runs = tmp_path / "runs"
    assert source.at_once() is None
    assert source.condition().ready
    assert source.found() == "the key command of minimax"
    assert not runs.exists()
    held = await source.current()
    assert held.access == FROM_COMMAND
    assert source.at_once() is held
    assert await source.rejected(held) == held
    assert runs.read_text() == "x\nx\n"
    clock.advance(KEPT_SECONDS)
    assert source.condition().ready
    assert runs.read_text() == "x\nx\n"


async def test_places_beside_a_command(home: Home) -> None:
    """A command before another place is asked first; one behind a place that yields never runs."""
    home.put()
    fails, never = command("exit 3"), command("echo $HOME >&2; touch ~/ran; echo sk-cp-1")
    source = home.source(fails, FILE)
    assert source.at_once() is None  # only a run can tell
    held = await source.current()
    assert held.access == FROM_FILE
    assert source.at_once() == held
    problem = source.condition().problem
    assert problem is not None
    assert "ended with exit code 3" in problem
    assert source.found() == "~/.minimax.key"
    later = home.source(FILE, never)
    assert (await later.rejected(await later.current())).access == FROM_FILE
    assert not (home.file.parent / "ran").exists()


async def test_a_command_that_fails(home: Home) -> None:
    """Where only a command could tell and fails, its failure is what a request is told."""
    source = home.source(command("exit 3"))
    with pytest.raises(CredentialUnreadable):
        await source.current()
    assert await refusal(source) == (
        "minimax has no usable key: the key command of minimax ended with exit code 3: "
        "run it in a terminal to see why"
    )


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"models": Models("a", "b"), "proxy": "http://p:1", "context": 5}, True),
        ({"keys": (FILE,)}, False),
        ({"keys": (FILE, ENV)}, False),
        ({"key_prefixes": ("sk-",)}, False),
        ({"aliases": ("mm",)}, False),
        ({"name": "other"}, False),
    ],
)
def test_who_may_keep_it(home: Home, change: Mapping[str, object], same: bool) -> None:
    """A row whose keys are looked for in the same places may keep its source, and no other."""
    row = replace(PROVIDER, **change)  # type: ignore[arg-type] # mixed values
    assert home.source().serves(row) == same
