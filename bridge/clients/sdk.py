"""Says what the official SDKs of Anthropic and OpenAI need, and so most programs made with them.

Pure. It is for commands that are no client bridge knows by name.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from bridge.clients import claude
from bridge.clients.environment import Environment
from bridge.providers import Dialect, Provider

#: The variable from which the SDK of OpenAI takes the caller key.
KEY_VARIABLE: Final = "OPENAI_API_KEY"
#: They would tell the provider of another account.
CONFLICTING: Final = ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID")


def environment(address: str, provider: Provider, *, key_needed: bool = False) -> Environment:
    """Return what makes either SDK work with *provider* through the daemon at *address*.

    Each is pointed at the bridge where the provider speaks its language, and else left alone.
    """
    made = Environment(fixed={})
    if not claude.refusal(provider):
        made = claude.environment(address, provider, key_needed=key_needed)
    if Dialect.OPENAI not in provider.surfaces:
        return made
    return replace(
        made,
        fixed={**made.fixed, "OPENAI_BASE_URL": f"{address}/{provider.name}/v1"},
        unset=(*made.unset, *CONFLICTING),
        keys=(*made.keys, KEY_VARIABLE),
    )
