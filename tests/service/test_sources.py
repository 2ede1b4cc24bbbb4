"""Each row gets its source and keeps it through reloads; only a login in force is kept fresh."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from bridge.credentials.key import KeySource
from bridge.credentials.source import Condition, Held, Source
from bridge.errors import ConfigError
from bridge.network import Client, Outbound
from bridge.proxy.tally import Outcome, Tally
from bridge.service.catalogue import rows
from bridge.service.settings import load
from bridge.service.sources import Sources, passed, told
from tests.fakes.clock import FakeClock

KEY_KIMI = '[providers.kimi]\nauth = "key"\n'
GLOBAL_KIMI = '[providers.kimi]\nregion = "global"\n'


@pytest.fixture(autouse=True)
def _shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell without the developer's own keys."""
    for name in ("MINIMAX", "DEEPSEEK", "ZAI", "GLM", "OPENROUTER", "CEREBRAS", "KIMI"):
        monkeypatch.delenv(f"{name}_API_KEY", raising=False)


class Reloads:
    """The sources of a daemon whose configuration is written and read again."""

    def __init__(self, home: Path, client: Client) -> None:
        self.clock = FakeClock()
        self.sources = Sources(client, self.clock)
        self._file = home / "c.toml"

    def reads(self, text: str = "") -> Mapping[str, Source]:
        """Return the sources by name once the configuration is *text*."""
        self._file.write_text(text)
        settings = load({"config": str(self._file)})
        return self.sources.adopt(rows(settings, {}), settings)


@contextlib.asynccontextmanager
async def reloads(home: Path) -> AsyncIterator[Reloads]:
    """Return the sources in *home*, and close what they have opened."""
    client = Client(Outbound({}))
    yield Reloads(home, client)
    await client.close()


async def test_every_row(home: Path) -> None:
    """A login for Kimi, keys for the others, nothing for who passes the caller's credential."""
    async with reloads(home) as daemon:
        sources = daemon.reads()
        assert {"minimax", "deepseek", "glm", "openrouter", "cerebras", "kimi"} <= set(sources)
        assert "anthropic" not in sources
        assert daemon.sources.account is not None
        assert sources["kimi"] is daemon.sources.account.source
        assert sources["minimax"].condition().problem == (
            "minimax has no key: put it into ~/.MiniMaxAZ1.api.key (mode 0600) "
            "or set MINIMAX_API_KEY for the daemon"
        )


async def test_what_has_not_changed_stays(home: Path) -> None:
    """A reload keeps the source of each row whose places are the same, and makes others anew."""
    async with reloads(home) as daemon:
        before = daemon.reads()
        after = daemon.reads('[providers.glm]\nkey = { env = "MINE" }\n[log]\nlevel = "debug"\n')
        assert {name for name in before if after[name] is not before[name]} == {"glm"}
        assert {name for name in before if daemon.reads()[name] is not before[name]} == {"glm"}


async def test_a_key_for_kimi(home: Path) -> None:
    """With ``auth = "key"`` Kimi has a key like any other, and no login is in force."""
    async with reloads(home) as daemon:
        sources = daemon.reads(KEY_KIMI)
        assert isinstance(sources["kimi"], KeySource)
        assert daemon.sources.account is None
        with pytest.raises(ConfigError):
            daemon.sources.in_force()
        (home / ".KimiAZ1.api.key").write_text("sk-kimi-FILEsecret")
        held = sources["kimi"].at_once()
        assert held is not None
        assert held.access == "sk-kimi-FILEsecret"
        assert not (home / ".kimi").exists()


async def test_a_login_comes_back(home: Path) -> None:
    """Whoever goes from login to key and back finds the same login, and another for a region."""
    async with reloads(home) as daemon:
        login = daemon.reads()["kimi"]
        daemon.reads(KEY_KIMI)
        assert daemon.reads()["kimi"] is login
        assert daemon.reads(GLOBAL_KIMI)["kimi"] is not login
        assert daemon.sources.in_force().login() is not daemon.sources.in_force().login()


async def test_only_a_login_in_force_is_kept(home: Path) -> None:
    """The keeper works while there is a login in force, whatever reloads say in between."""
    async with reloads(home) as daemon:
        daemon.reads(KEY_KIMI)
        keeping = asyncio.create_task(daemon.sources.keep(lambda: None))
        for _ in range(3):
            await asyncio.sleep(0)  # noqa: TID251 - a turn of the loop
            assert daemon.clock.waiting == 0
        for text in ("", GLOBAL_KIMI):
            daemon.reads(text)
            await daemon.clock.sleepers(1)
        daemon.reads(KEY_KIMI)
        for _ in range(10):
            await asyncio.sleep(0)  # noqa: TID251 - a turn of the loop
        assert daemon.clock.waiting == 0
        assert not keeping.done()
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping
        await daemon.sources.settle()


async def test_a_keeper_that_fails_is_told(home: Path) -> None:
    """What goes wrong with the keeper comes out, so that the daemon can log it."""

    def explodes() -> float | None:
        raise RuntimeError("a bug")

    async with reloads(home) as daemon:
        daemon.reads()
        folder = home / ".kimi/credentials"
        folder.mkdir(parents=True)
        (folder / "kimi-code.json").write_text(
            '{"access_token": "a", "refresh_token": "r", "expires_at": 1, "expires_in": 900}'
        )
        with pytest.raises(RuntimeError, match="a bug"):
            await daemon.sources.keep(explodes)


class Telling:
    """A source of which only the condition matters."""

    def __init__(self, condition: Condition) -> None:
        self._condition = condition

    def at_once(self) -> None:
        """Have nothing."""

    async def current(self) -> Held:
        """Have nothing."""
        raise NotImplementedError

    async def rejected(self, held: Held) -> Held:
        """Have nothing else."""
        return held

    def condition(self) -> Condition:
        """Tell."""
        return self._condition


def test_what_is_told_of_a_login(home: Path) -> None:
    """Every moment and every word that there is, and no key for what there is not."""
    row = rows(load({}), {})["kimi"]
    bare = Condition(ready=False, remaining=None, refreshed_at=None, problem=None)
    assert told(row, Telling(bare)) == {"ready": False, "auth": "oauth"}
    assert told(row, Telling(Condition(True, 0.4, 1.6, "p", 2.2, 3.1, 0.0, "f", "n"))) == {
        "ready": True,
        "auth": "oauth",
        "expires_in_seconds": 0,
        "refreshed_at": 2,
        "next_refresh_at": 2,
        "login_ends_at": 3,
        "failed_at": 0,
        "failure": "f",
        "problem": "p",
        "note": "n",
    }


def test_what_has_gone_through_is_told() -> None:
    """An error is what a client saw as one; nobody is to blame for a client that left."""
    tally = Tally()
    assert passed(tally.providers.get("x")) == {"requests": 0, "errors": 0, "sent_bytes": 0}
    for outcome in Outcome:
        for status in (0, 200, 399, 400, 503):
            tally.enter("x", outcome, status, 10)
    # Answered with 400 and 503; failed and cut whatever the status.
    assert passed(tally.providers["x"]) == {"requests": 20, "errors": 12, "sent_bytes": 200}


async def test_what_is_told_of_a_row(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The health document says of each row how it is, where its key is, and never the key."""
    monkeypatch.setenv("GLM_API_KEY", "GLMsecret")
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-ant-ROUTERsecret")
    async with reloads(home) as daemon:
        sources = daemon.reads()
        known = rows(load({}), {})
        documents = {name: told(row, sources.get(name)) for name, row in known.items()}
        assert documents["anthropic"] == {"ready": True, "auth": "passthrough"}
        assert documents["glm"] == {"ready": True, "auth": "key", "source": "GLM_API_KEY"}
        assert documents["minimax"]["ready"] is False
        assert "problem" in documents["minimax"]
        assert documents["openrouter"]["ready"] is True
        assert "does not begin with sk-or-" in str(documents["openrouter"]["problem"])
        assert documents["kimi"]["ready"] is False
        assert "secret" not in str(documents)
