"""Says what a client needs in its environment, whichever client it is.

Pure. What is true of one client stands in its own room; how a shell or a process is given it,
stands in the rooms that use it. The caller key is never among these values: whoever starts the
client takes it from its file at that moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

#: What is sent where there is no caller key: clients refuse to start without one.
NO_KEY: Final = "no-caller-key"
#: The header of a caller key that must not stand where the caller's own credential stands.
KEY_HEADER: Final = "x-bridge-key"
#: Hosts that no outbound proxy may see: Claude Code was seen to send its request to HTTP_PROXY.
LOOPBACK: Final = "127.0.0.1,localhost,::1"
#: Both spellings are in use; a program that knows one does not look at the other.
NO_PROXY_VARIABLES: Final = ("NO_PROXY", "no_proxy")
#: Tells a client inside of a client (an agent that starts another) which preferences are not the
#: person's own: one NAME=VALUE a line.
GIVEN: Final = "_BRIDGE_GIVEN"


@dataclass(frozen=True, slots=True)
class Environment:
    """What to change in the environment of one client.

    *fixed* holds whatever the person has set; *preferred* gives way to it, so that
    ``ANTHROPIC_MODEL=other claude-kimi`` works, but not to what bridge gave to a client that this
    one is started from; an empty preference only takes such a value away. *unset* is removed, and
    *stale* too where it is such a client's.

    *keys* are the variables that carry the caller key; *header*, if any, is one of header lines, to
    which a line with the key is added.
    """

    fixed: Mapping[str, str]
    preferred: Mapping[str, str] = field(default_factory=dict)
    unset: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    header: str = ""

    def applied(self, to: Mapping[str, str], key: str) -> dict[str, str]:
        """Return the environment *to* with the changes made, for a client that shows *key*.

        An empty *key* is replaced by a dummy.
        """
        gone = {*self.unset, *self.preferred, *(self.stale if to.get(GIVEN) else ())}
        changed = {name: value for name, value in to.items() if name not in gone}
        chosen = {name: self._chosen(name, to) for name in self.preferred}
        changed |= {**self.fixed, **{name: value for name, value in chosen.items() if value}}
        if self.preferred:
            changed[GIVEN] = self.given(chosen)
        changed |= dict.fromkeys(self.keys, key or NO_KEY)
        if self.header:
            lines = (to.get(self.header), f"{KEY_HEADER}: {key or NO_KEY}")
            changed[self.header] = "\n".join(filter(None, lines))
        return changed | no_proxy(to)

    def given(self, chosen: Mapping[str, str]) -> str:
        """Return what :data:`GIVEN` says of the preferences as they were *chosen*."""
        ours = (name for name, value in self.preferred.items() if value)
        return "\n".join(f"{name}={chosen[name]}" for name in ours)

    def _chosen(self, name: str, to: Mapping[str, str]) -> str:
        """Return the person's own value of *name*, else the preferred one."""
        own = to.get(name, "")
        if own and f"\n{name}={own}\n" not in f"\n{to.get(GIVEN, '')}\n":
            return own
        return self.preferred[name]


def no_proxy(environment: Mapping[str, str]) -> dict[str, str]:
    """Return both spellings of ``NO_PROXY`` with loopback added, where it is not there already.

    A spelling that is not set takes over what the other says; a lone ``*`` means everything
    already, and only alone.
    """
    upper, lower = (environment.get(name, "") for name in NO_PROXY_VARIABLES)
    values = dict(zip(NO_PROXY_VARIABLES, (upper or lower, lower or upper), strict=True))
    return {name: _with_loopback(value) for name, value in values.items()}


def _with_loopback(value: str) -> str:
    if value == "*" or f",{LOOPBACK}," in f",{value},":
        return value
    return f"{value},{LOOPBACK}" if value else LOOPBACK
