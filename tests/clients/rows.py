"""Rows of providers as tests of clients need them: one of each kind."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from bridge.providers import Auth, Dialect, Models, Provider

ADDRESS: Final = "http://127.0.0.1:18462"
ANTHROPIC: Final = MappingProxyType({Dialect.ANTHROPIC: "https://a.example/anthropic"})
OPENAI: Final = MappingProxyType({Dialect.OPENAI: "https://a.example/v1"})

#: Both surfaces, a window, and a quirk.
BOTH: Final = Provider(
    name="both",
    title="Both",
    auth=Auth.KEY,
    surfaces=MappingProxyType({**ANTHROPIC, **OPENAI}),
    models=Models(primary="big", fast="small"),
    aliases=("twin",),
    context=131_072,
    timeout_seconds=600.0,
    responses=True,
    quirks=MappingProxyType({"no_tool_reference": True, "no_images": True}),
)
#: Nothing but what must be, and a model for each tier.
PLAIN: Final = Provider(
    name="my-own",
    auth=Auth.KEY,
    surfaces=ANTHROPIC,
    models=Models(primary='it\'s "mine" $x', fast="f", opus="o", sonnet="s", haiku="h"),
)
CHAT: Final = Provider(
    name="chat", title="Chat", auth=Auth.KEY, surfaces=OPENAI, models=Models("c", "c")
)
#: The caller's own credential, and no model of ours.
PASSING: Final = Provider(
    name="passing", auth=Auth.PASSTHROUGH, surfaces=ANTHROPIC, models=Models("", "")
)
