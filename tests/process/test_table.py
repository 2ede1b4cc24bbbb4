"""Whatever a client shows the real daemon: exactly one credential arrives, and it is the right one.

The same table as in ``proxy/test_table.py``, through the installed command, its configuration, its
key files and its login.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.providers import Auth
from tests.asking import calling, mirrored
from tests.process.furnished import Furnished, secrets_lie_in
from tests.proxy.rows import NAMES
from tests.table import OWN, questions, styles
from tests.world import World, world

pytestmark = [pytest.mark.process, pytest.mark.timeout(90)]


def told(machine: World) -> str:
    """Return all that the daemon has told anybody: log, commands, health and command line."""
    line = Path(f"/proc/{machine.pid}/cmdline").read_text()
    return "\n".join([machine.log, *machine.outputs, str(machine.health()), line])


async def test_one_credential_arrives_and_it_is_the_right_one(tmp_path: Path) -> None:
    """Every provider, surface, form of path and style; nothing of any secret is told or kept."""
    async with mirrored(list(NAMES)) as mirrors:
        with world(tmp_path) as machine:
            house = Furnished(machine, mirrors)
            machine.start()
            async with calling(machine.port) as caller:
                inquiry = house.inquiry(caller)
                for provider in house.rows.values():
                    for style in styles(inquiry.key).values():
                        for call, target in questions(provider, default=provider.name == "kimi"):
                            await inquiry.makes(provider, call, target, style)
            everything = told(machine)
            for secret in (*house.secrets.values(), *OWN, inquiry.key):
                assert secret not in everything
            assert secrets_lie_in(machine.home, list(OWN)) == []


async def test_the_caller_key_opens_and_stays_here(tmp_path: Path) -> None:
    """With ``clients = "key"``: in any of its headers, and the caller's own goes past it."""
    async with mirrored(list(NAMES)) as mirrors:
        with world(tmp_path) as machine:
            house = Furnished(machine, mirrors, clients="key")
            machine.start()
            async with calling(machine.port) as caller:
                inquiry = house.inquiry(caller)
                for provider in house.rows.values():
                    for name, style in styles(inquiry.key).items():
                        call, target = next(questions(provider, default=False))
                        if name.startswith("caller key") and name != "caller key elsewhere":
                            await inquiry.makes(provider, call, target, style)
                        else:
                            await caller.asks("POST", target, style, b"{}")
                            assert (await caller.answer()).status == 401, (target, style)
            assert house.key_file.stat().st_mode & 0o077 == 0
            assert inquiry.key not in told(machine)


async def test_every_provider_is_there_and_lists_its_models(tmp_path: Path) -> None:
    """``/health`` knows all of them, and each is asked for its models by its own name."""
    async with mirrored(list(NAMES)) as mirrors:
        with world(tmp_path) as machine:
            house = Furnished(machine, mirrors)
            machine.start()
            providers = machine.health()["providers"]
            assert set(providers) == set(NAMES)
            for name, provider in house.rows.items():
                assert providers[name]["auth"] == str(provider.auth)
                assert providers[name]["ready"] is True or provider.auth is Auth.PASSTHROUGH
            for name in NAMES:
                async with calling(machine.port) as caller:
                    await caller.asks("GET", f"/{name}/v1/models")
                    answer = await caller.answer()
                assert (answer.status, answer.header("x-bridge-provider")) == (200, name)
                assert len(mirrors[name].requests) == 1
