"""A machine with every provider of the catalogue on loopback, and the agents that npm installed."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from bridge.providers import Provider
from tests.fakes.exchange import fingerprint
from tests.fakes.polyglot import PolyglotProcess
from tests.proxy.rows import CATALOGUE
from tests.world import World, installed, world

REQUIRED: Final = bool(os.environ.get("BRIDGE_TEST_REQUIRE_AGENTS"))
#: The credential of the person's own, at the provider that is passed through.
OWN: Final = "sk-ant-of-their-own"
#: A proxy that answers nobody: whatever is sent there is lost.
DEAD: Final = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}


def agent(name: str) -> str | None:
    """Return the real agent *name*, where npm has put it for the tests."""
    named = os.environ.get(f"BRIDGE_TEST_{name.upper()}")
    return named if named and Path(named).exists() else shutil.which(name)


def needs(name: str, *, seconds: float = 180) -> list[pytest.MarkDecorator]:
    """Return the marks of tests that drive the real agent *name*."""
    return [
        pytest.mark.agents,
        pytest.mark.timeout(seconds),
        pytest.mark.skipif(
            agent(name) is None and not REQUIRED, reason=f"{name} is not installed: .ci/agents"
        ),
    ]


class Agency:
    """The *machine*, and *provider*, which stands for all but Kimi.

    The *rows* other than Kimi's are at ``/NAME/…`` of it, each with a key of its own in *keys*;
    among them is one of the person's own, ``my-gateway``.
    """

    def __init__(self, machine: World, provider: PolyglotProcess, keys: Path, server: str) -> None:
        self.machine = machine
        self.provider = provider
        self.rows: Mapping[str, Provider] = {k: v for k, v in CATALOGUE.items() if k != "kimi"}
        prefixes = {name: (*row.key_prefixes, "sk-")[0] for name, row in self.rows.items()}
        self.keys = {name: f"{prefix}{name}-0123456789" for name, prefix in prefixes.items()}
        self.keys |= {"my-gateway": "sk-my-gateway-0123456789", "anthropic": OWN}
        keys.write_text("\n".join(self.keys.values()))
        tables = [server, *(self._table(name) for name in self.keys)]
        machine.configure("\n\n".join(tables))
        folders = {str(Path(found).parent) for name in AGENTS if (found := agent(name))}
        machine.variables["PATH"] = ":".join([*sorted(folders), os.environ["PATH"]])

    def _table(self, name: str) -> str:
        lines = [f"[providers.{name}]"]
        for dialect, place in self._places(name).items():
            lines.append(f'{dialect} = "{self.provider.url}/{name}{place}"')
        if name != "anthropic":
            file = self.machine.home / f".{name}.key"
            file.write_text(self.keys[name] + "\n")
            file.chmod(0o600)
            lines.append(f'key = {{ file = "{file}" }}')
        if name == "my-gateway":
            lines.append('models = { primary = "my-model", fast = "my-small-model" }')
        return "\n".join(lines)

    def _places(self, name: str) -> Mapping[str, str]:
        if name == "my-gateway":
            return {"anthropic": "", "openai": "/v1"}
        return {k: urlsplit(at).path for k, at in self.rows[name].surfaces.items()}

    def shell(self, shell: str, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run *script* as a person does whose start-up file has our line."""
        program = shutil.which(shell)
        assert program is not None, f"{shell} is not installed"
        line = f"{installed()} shell-init {shell}"
        line = f"{line} | source" if shell == "fish" else f'eval "$({line})"'
        return self.run([program, "-c", f"{line}\n{script}"], **variables)

    def run(self, words: Sequence[str], **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a folder of the person's, with a proxy around that answers nobody."""
        work = self.machine.home / "work"
        work.mkdir(exist_ok=True)
        return subprocess.run(
            words,
            env={**self.machine.environment, "PWD": str(work), **DEAD, **variables},
            cwd=work,
            capture_output=True,
            text=True,
            timeout=100,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def bridge(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the installed command."""
        return self.run([installed(), *words], **variables)

    def asked(self, name: str) -> list[dict[str, Any]]:
        """Return the requests that came to the provider called *name*, and check whose they are.

        Exactly one credential is on each of them, and it is that provider's.
        """
        every = self.provider.requests()
        mine = [each for each in every if each["target"].startswith(f"/{name}/")]
        for request in mine:
            names = [header.lower() for header, _ in request["headers"]]
            assert request["bearer"] == fingerprint(self.keys[name])
            assert not {"x-api-key", "x-bridge-key", "proxy-authorization"} & {*names}
            assert names.count("authorization") == 1
        return mine


#: The agents as they are called.
AGENTS: Final = ("claude", "codex", "opencode")


@contextlib.contextmanager
def agency(folder: Path, server: str = "") -> Iterator[Agency]:
    """Return such a machine in *folder*, with a login and no daemon yet."""
    keys = folder / "keys"
    keys.touch()
    with world(folder) as machine, PolyglotProcess(keys) as provider:
        machine.log_in()
        yield Agency(machine, provider, keys, server)
