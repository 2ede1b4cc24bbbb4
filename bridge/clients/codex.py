"""Says what Codex needs to work through bridge.

Pure. Codex reads no address from its environment: it is told on its command line, or in a profile
of its own. It speaks Responses and nothing else. Observed with Codex 0.169.0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from bridge.clients.environment import Environment
from bridge.providers import Provider

#: The variable that carries the caller key.
KEY_VARIABLE: Final = "CODEX_BRIDGE_KEY"


def refusal(provider: Provider) -> str:
    """Return why Codex cannot work with *provider*, or an empty string."""
    if not provider.responses:
        return (
            f"{provider.name} has no Responses surface, and Codex speaks nothing else: "
            f"try: bridge run {provider.name} -- opencode"
        )
    if not provider.models.primary:
        return (
            f"{provider.name} has no model to tell Codex of: "
            f"write models under [providers.{provider.name}]"
        )
    return ""


def environment() -> Environment:
    """Return what Codex needs in its environment, beside the :func:`overrides`."""
    return Environment(fixed={}, keys=(KEY_VARIABLE,))


def overrides(address: str, provider: Provider) -> tuple[str, ...]:
    """Return the options that point Codex at *provider*; an option that follows them wins."""
    block = {**_block(address, provider), "env_key": KEY_VARIABLE}
    inline = ", ".join(f"{name} = {_value(value)}" for name, value in block.items())
    pairs = [f"{name}={_value(value)}" for name, value in _session(provider).items()]
    pairs.append(f"model_providers.{_name(provider)}={{ {inline} }}")
    return tuple(word for pair in pairs for word in ("-c", pair))


def profile(address: str, provider: Provider, key_file: str = "") -> str:
    """Return the same as a profile, the text of a file ``NAME.config.toml`` in Codex's folder.

    With a *key_file* the caller key is taken from there; without one none is shown.
    """
    name = _name(provider)
    lines = [f"{key} = {_value(value)}" for key, value in _session(provider).items()]
    lines += ["", f"[model_providers.{name}]"]
    lines += [f"{key} = {_value(value)}" for key, value in _block(address, provider).items()]
    if key_file:
        lines += ["", f"[model_providers.{name}.auth]", 'command = "cat"']
        lines += [f"args = [{_value(key_file)}]"]
    return "\n".join(lines)


def _session(provider: Provider) -> Mapping[str, str | int]:
    window = {"model_context_window": provider.context} if provider.context else {}
    return {"model": provider.models.primary, "model_provider": _name(provider), **window}


def _block(address: str, provider: Provider) -> Mapping[str, str | int]:
    return {
        "name": f"{provider.title or provider.name} through bridge",
        "base_url": f"{address}/{provider.name}/v1",
        "wire_api": "responses",
        "stream_idle_timeout_ms": int(provider.timeout_seconds * 1000),
    }


def _name(provider: Provider) -> str:
    return f"bridge-{provider.name}"


def _value(value: str | int) -> str:
    """Return *value* in TOML, of whose basic strings those of JSON are a part."""
    return json.dumps(value, ensure_ascii=False)
