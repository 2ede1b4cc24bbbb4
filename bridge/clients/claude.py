"""Says what Claude Code needs to work through bridge.

Pure. The variables and their effects were observed with Claude Code 2.1.329.
"""

from __future__ import annotations

from collections.abc import Mapping
from shlex import quote
from typing import Any, Final

from bridge.clients.environment import (
    KEY_HEADER,
    LOOPBACK,
    NO_KEY,
    NO_PROXY_VARIABLES,
    Environment,
    no_proxy,
)
from bridge.providers import Auth, Dialect, Provider

__all__ = [
    "CONFLICTING",
    "KEY_HEADER",
    "KEY_VARIABLE",
    "LOOPBACK",
    "NO_KEY",
    "NO_PROXY_VARIABLES",
    "Environment",
    "environment",
    "no_proxy",
    "refusal",
    "settings",
]

#: The variable that carries the caller key. Of the two that Claude Code has, it is the one it
#: takes without asking the person, and the one that wins.
KEY_VARIABLE: Final = "ANTHROPIC_AUTH_TOKEN"
#: Lines of headers that Claude Code adds to its requests.
HEADERS_VARIABLE: Final = "ANTHROPIC_CUSTOM_HEADERS"
#: The longest silence that Claude Code can be told to bear; it ends an answer after 300 s else.
LONGEST_SILENCE_MS: Final = 1_800_000
#: Smaller windows are taken for this one, with a warning.
SMALLEST_COMPACT_WINDOW: Final = 100_000

#: What takes the session to another place, whatever the base URL says.
ELSEWHERE: Final = (
    "ANTHROPIC_UNIX_SOCKET",
    "CLAUDE_CODE_USE_ANTHROPIC_AWS",
    "CLAUDE_CODE_USE_ANTHROPIC_GOOGLE_CLOUD",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_FOUNDRY",
    "CLAUDE_CODE_USE_GATEWAY",
    "CLAUDE_CODE_USE_MANTLE",
    "CLAUDE_CODE_USE_VERTEX",
)
#: What would send the session, or a credential of another account, elsewhere.
CONFLICTING: Final = (
    "ANTHROPIC_API_KEY",
    HEADERS_VARIABLE,
    "CLAUDE_CODE_OAUTH_TOKEN",
    *ELSEWHERE,
)


def refusal(provider: Provider) -> str:
    """Return why Claude Code cannot work with *provider*, or an empty string."""
    if Dialect.ANTHROPIC in provider.surfaces:
        return ""
    return (
        f"{provider.name} has no Anthropic surface, which Claude Code needs: "
        f"try: bridge run {provider.name} -- opencode"
    )


def environment(address: str, provider: Provider, *, key_needed: bool = False) -> Environment:
    """Return what makes Claude Code work with *provider* through the daemon at *address*.

    *address* is a URL without a trailing slash, such as ``http://127.0.0.1:18462``. A client of a
    passthrough provider keeps its own credential, and shows the caller key beside it where that is
    *key_needed*.
    """
    base = {"ANTHROPIC_BASE_URL": f"{address}/{provider.name}"}
    preferred = _preferred(provider)
    if provider.auth is Auth.PASSTHROUGH:
        return Environment(
            fixed=base,
            preferred=dict.fromkeys(preferred, ""),
            unset=ELSEWHERE,
            stale=(KEY_VARIABLE,),
            header=HEADERS_VARIABLE if key_needed else "",
        )
    return Environment(
        fixed={**base, "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"},
        preferred=preferred,
        unset=CONFLICTING,
        keys=(KEY_VARIABLE,),
    )


def settings(address: str, provider: Provider, key_file: str = "") -> dict[str, Any]:
    """Return the same as a settings file, for ``claude --settings`` or an editor.

    With a *key_file* the caller key is taken from there, which only a POSIX shell can do.
    """
    made = environment(address, provider)
    env = {**made.fixed, **{name: value for name, value in made.preferred.items() if value}}
    env |= dict.fromkeys(NO_PROXY_VARIABLES, LOOPBACK)
    if not made.keys:
        return {"env": env}
    env["ANTHROPIC_API_KEY"] = ""
    if key_file:
        return {"apiKeyHelper": f"cat {quote(key_file)}", "env": env}
    return {"env": {**env, KEY_VARIABLE: NO_KEY}}


def _preferred(provider: Provider) -> Mapping[str, str]:
    timeout = int(provider.timeout_seconds * 1000)
    return {
        **_models(provider),
        # Thinking models are silent for minutes, before the answer and within it.
        "API_TIMEOUT_MS": str(timeout),
        "CLAUDE_STREAM_IDLE_TIMEOUT_MS": str(min(timeout, LONGEST_SILENCE_MS)),
        **_window(provider),
        # It sends tool_reference blocks, which some refuse.
        "ENABLE_TOOL_SEARCH": "false" if provider.quirks.get("no_tool_reference") else "",
    }


def _models(provider: Provider) -> dict[str, str]:
    """Return the model of each name that Claude Code has for one, or nothing of them.

    There is none for subagents: they take the session's model, or a tier's where they ask for it,
    and the variable for them would end that.
    """
    models = provider.models
    return {
        "ANTHROPIC_MODEL": models.primary,
        "ANTHROPIC_DEFAULT_FABLE_MODEL": models.tier("opus"),
        "ANTHROPIC_DEFAULT_OPUS_MODEL": models.tier("opus"),
        "ANTHROPIC_DEFAULT_SONNET_MODEL": models.tier("sonnet"),
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": models.tier("haiku") or models.primary,
        "ANTHROPIC_SMALL_FAST_MODEL": models.fast or models.primary,
    }


def _window(provider: Provider) -> dict[str, str]:
    """Return what keeps a session within the context window.

    Of a model that it does not know, Claude Code assumes a million tokens, and compacts far too
    late.
    """
    context = provider.context or 0
    compact = context if context >= SMALLEST_COMPACT_WINDOW else 0
    return {
        # The first holds for models that Claude Code does not know, the second for all.
        "CLAUDE_CODE_MAX_CONTEXT_TOKENS": str(context or ""),
        "CLAUDE_CODE_AUTO_COMPACT_WINDOW": str(compact or ""),
    }
