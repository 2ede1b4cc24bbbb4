"""Says what Claude Code needs in its environment to work through bridge.

Pure. What is true of the client stands here; how a shell or a process is given it, stands in the
rooms that use it. The caller key is never among these values: whoever starts the client takes it
from its file at that moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bridge.providers import Provider

#: The variable that carries the caller key. Of the two that Claude Code has, it is the one it
#: takes without asking the person, and the one that wins.
KEY_VARIABLE: Final = "ANTHROPIC_AUTH_TOKEN"
#: What is sent where there is no caller key: Claude Code refuses to start without a token.
NO_KEY: Final = "no-caller-key"
#: Hosts that no outbound proxy may see: Claude Code was seen to send its request to HTTP_PROXY.
LOOPBACK: Final = "127.0.0.1,localhost,::1"
#: Both spellings are in use; a program that knows one does not look at the other.
NO_PROXY_VARIABLES: Final = ("NO_PROXY", "no_proxy")

#: What would send the session, or a credential of another account, elsewhere.
CONFLICTING: Final = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_CUSTOM_HEADERS",
    "ANTHROPIC_UNIX_SOCKET",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_USE_ANTHROPIC_AWS",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_FOUNDRY",
    "CLAUDE_CODE_USE_VERTEX",
)


@dataclass(frozen=True, slots=True)
class Environment:
    """What to change in the environment of one client.

    *fixed* holds whatever the person has set; *preferred* gives way to it, so that
    ``ANTHROPIC_MODEL=other claude-kimi`` works; *unset* is removed.
    """

    fixed: Mapping[str, str]
    preferred: Mapping[str, str]
    unset: tuple[str, ...]

    def applied(self, to: Mapping[str, str], key: str) -> dict[str, str]:
        """Return the environment *to* with the changes made, for a client that shows *key*.

        An empty *key* is replaced by a dummy.
        """
        changed = {name: value for name, value in to.items() if name not in self.unset}
        chosen = {name: changed[name] for name in self.preferred if changed.get(name)}
        changed |= {**self.fixed, **self.preferred, **chosen, KEY_VARIABLE: key or NO_KEY}
        return changed | no_proxy(to)


def environment(address: str, provider: Provider) -> Environment:
    """Return what makes Claude Code work with *provider* through the daemon at *address*.

    *address* is a URL without a trailing slash, such as ``http://127.0.0.1:18462``.
    """
    primary, fast = provider.models.primary, provider.models.fast
    return Environment(
        fixed={
            "ANTHROPIC_BASE_URL": f"{address}/{provider.name}",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        },
        preferred={
            "ANTHROPIC_MODEL": primary,
            "ANTHROPIC_DEFAULT_OPUS_MODEL": primary,
            "ANTHROPIC_DEFAULT_SONNET_MODEL": primary,
            "ANTHROPIC_DEFAULT_HAIKU_MODEL": fast,
            "ANTHROPIC_SMALL_FAST_MODEL": fast,
            # Thinking models are silent for minutes; the client's own ten are not enough.
            "API_TIMEOUT_MS": "3000000",
        },
        unset=CONFLICTING,
    )


def no_proxy(environment: Mapping[str, str]) -> dict[str, str]:
    """Return both spellings of ``NO_PROXY`` with loopback added.

    A spelling that is not set takes over what the other says; a lone ``*`` means everything
    already, and only alone.
    """
    upper, lower = (environment.get(name, "") for name in NO_PROXY_VARIABLES)
    values = dict(zip(NO_PROXY_VARIABLES, (upper or lower, lower or upper), strict=True))
    return {
        name: value if value == "*" else ",".join(filter(None, (value, LOOPBACK)))
        for name, value in values.items()
    }
