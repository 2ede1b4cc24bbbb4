"""Says what OpenCode needs to work through bridge: a provider of its own, whole, as configuration.

Pure. Observed with OpenCode 1.18.33, which takes configuration from a variable, too.
"""

from __future__ import annotations

import json
from typing import Any, Final

from bridge.clients.environment import KEY_HEADER, NO_KEY, Environment
from bridge.providers import Auth, Dialect, Provider

#: The variable that carries the configuration; what it says is laid over every file.
CONFIG_VARIABLE: Final = "OPENCODE_CONFIG_CONTENT"
#: The variable that carries the caller key.
KEY_VARIABLE: Final = "OPENCODE_BRIDGE_KEY"
#: OpenCode asks for no more tokens than this in one answer, whatever a model can.
LONGEST_ANSWER: Final = 32_000

_FROM_VARIABLE: Final = f"{{env:{KEY_VARIABLE}}}"


def refusal(provider: Provider) -> str:
    """Return why OpenCode cannot work with *provider*, or an empty string."""
    if provider.models.primary:
        return ""
    return (
        f"{provider.name} has no model to tell OpenCode of: "
        f"write models under [providers.{provider.name}]"
    )


def environment(address: str, provider: Provider, *, key_needed: bool = False) -> Environment:
    """Return what makes OpenCode work with *provider* through the daemon at *address*.

    A client of a passthrough provider keeps its own credential, and shows the caller key beside it
    where that is *key_needed*.
    """
    made = _configuration(address, provider, _FROM_VARIABLE, beside=key_needed)
    return Environment(fixed={CONFIG_VARIABLE: json.dumps(made)}, keys=(KEY_VARIABLE,))


def configuration(address: str, provider: Provider, key_file: str = "") -> dict[str, Any]:
    """Return the same as the document of a file ``opencode.json``.

    With a *key_file* the caller key is taken from there.
    """
    key = f"{{file:{key_file}}}" if key_file else NO_KEY
    return _configuration(address, provider, key, beside=bool(key_file))


def _configuration(address: str, provider: Provider, key: str, *, beside: bool) -> dict[str, Any]:
    name = f"bridge-{provider.name}"
    models = provider.models
    fast = models.fast or models.primary
    return {
        "$schema": "https://opencode.ai/config.json",
        "model": f"{name}/{models.primary}",
        "small_model": f"{name}/{fast}",
        "provider": {
            name: {
                "npm": _package(provider),
                "name": f"{provider.title or provider.name} through bridge",
                "options": {
                    "baseURL": f"{address}/{provider.name}/v1",
                    **_credential(provider, key, beside=beside),
                    **_patience(provider),
                },
                "models": {model: _model(model, provider) for model in (models.primary, fast)},
            }
        },
    }


def _package(provider: Provider) -> str:
    """Return the npm package, built into OpenCode, that speaks the language of *provider*."""
    speaks_anthropic = Dialect.ANTHROPIC in provider.surfaces
    return "@ai-sdk/anthropic" if speaks_anthropic else "@ai-sdk/openai-compatible"


def _credential(provider: Provider, key: str, *, beside: bool) -> dict[str, Any]:
    if provider.auth is Auth.PASSTHROUGH:
        headers = {"headers": {KEY_HEADER: key}} if beside else {}
        return {"apiKey": "{env:ANTHROPIC_API_KEY}", **headers}
    # With the Anthropic package apiKey would be sent as x-api-key; both at once are refused.
    return {"authToken" if Dialect.ANTHROPIC in provider.surfaces else "apiKey": key}


def _patience(provider: Provider) -> dict[str, int]:
    timeout = int(provider.timeout_seconds * 1000)
    return dict.fromkeys(("timeout", "headerTimeout", "chunkTimeout"), timeout)


def _model(name: str, provider: Provider) -> dict[str, Any]:
    model: dict[str, Any] = {"name": name}
    if provider.context:
        model["limit"] = {"context": provider.context, "output": LONGEST_ANSWER}
    if provider.quirks.get("no_images"):
        model["modalities"] = {"input": ["text"], "output": ["text"]}
    return model
