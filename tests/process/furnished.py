"""A machine whose daemon has every provider of the catalogue, each at a mirror on loopback."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bridge.providers import Dialect, KeyHeader, Provider
from tests.asking import Inquiry
from tests.fakes.mirror import Mirror
from tests.proxy.doorway import Caller
from tests.proxy.rows import row
from tests.world import World


class Furnished:
    """What stands in the house: *rows* by name, and in *secrets* what each is to be shown."""

    def __init__(self, machine: World, mirrors: Mapping[str, Mirror], clients: str = "") -> None:
        """Write the configuration, the key files and a login; *clients* is as in ``[server]``."""
        self.rows = {name: row(name, mirror.url) for name, mirror in mirrors.items()}
        self.secrets: dict[str, str] = {}
        self._machine = machine
        self._mirrors = mirrors
        tables = [f'[server]\nclients = "{clients}"'] if clients else []
        for name, provider in self.rows.items():
            if name == "kimi":
                machine.variables["KIMI_CODE_BASE_URL"] = provider.surfaces[Dialect.OPENAI]
                self.secrets[name] = machine.log_in()["access_token"]
                continue
            tables.append(self._table(provider))
        machine.configure("\n\n".join([*tables, ""]))

    def inquiry(self, caller: Caller) -> Inquiry:
        """Return somebody who asks through *caller*, once the daemon has been started."""
        key = self.key_file.read_text().strip()
        return Inquiry(caller, self._mirrors, self.secrets, key)

    @property
    def key_file(self) -> Path:
        """Where the caller key is."""
        return self._machine.home / ".local/state/bridge/key"

    def _table(self, provider: Provider) -> str:
        name, lines = provider.name, [f"[providers.{provider.name}]"]
        lines += [f'{dialect} = "{url}"' for dialect, url in provider.surfaces.items()]
        if name != "anthropic":
            prefix = {"openrouter": "sk-or-", "cerebras": "csk-"}.get(name, "sk-")
            secret = self.secrets[name] = f"{prefix}{name}-4f1d0c7a9b2e"
            file = self._machine.home / f".{name}.key"
            file.write_text(f"{secret}\n")
            file.chmod(0o600)
            lines.append(f'key = {{ file = "{file}" }}')
        if provider.key_header is KeyHeader.API_KEY:
            lines.append('key_header = "x-api-key"')
        return "\n".join(lines)


def secrets_lie_in(folder: Path, secrets: list[str]) -> list[tuple[Path, str]]:
    """Return every file below *folder* that holds one of *secrets*, and which."""
    return [
        (path, secret)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
        for secret in secrets
        if secret.encode() in path.read_bytes()
    ]
