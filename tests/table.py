"""Every way in which a client may ask a provider: surfaces, forms of path, styles of credential.

Pure. What must arrive upstream is worked out here anew, and not asked of the code under test.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bridge.providers import Auth, Dialect, KeyHeader, Provider

Pair = tuple[str, str]

#: What a caller holds of its own; none of it may ever reach a provider that it is not meant for.
OAUTH: Final = "sk-ant-oat01-the-callers-own-login"
API_KEY: Final = "sk-ant-api03-the-callers-own-key"
OTHER: Final = "sk-ant-api03-the-callers-other-key"
PROXY: Final = "Basic dGhlLWNhbGxlcnM6cHJveHk="
OWN: Final = (OAUTH, API_KEY, OTHER, PROXY)
VERSION: Final = ("anthropic-version", "2023-06-01")

#: What names a credential of whatever kind.
CREDENTIALS: Final = frozenset(
    {"authorization", "x-api-key", "proxy-authorization", "x-bridge-key"}
)


@dataclass(frozen=True, slots=True)
class Call:
    """One call on a surface: what a client appends to its base URL, by which method, in what."""

    path: str
    dialect: Dialect
    method: str = "POST"


CALLS: Final = {
    "messages": Call("/messages?beta=true", Dialect.ANTHROPIC),
    "count_tokens": Call("/messages/count_tokens?beta=true", Dialect.ANTHROPIC),
    "models of Anthropic": Call("/models?limit=1000", Dialect.ANTHROPIC, "GET"),
    "chat": Call("/chat/completions", Dialect.OPENAI),
    "responses": Call("/responses?a=%2Fv1%2F..&b=//", Dialect.OPENAI),
    "models of OpenAI": Call("/models", Dialect.OPENAI, "GET"),
}


def styles(key: str) -> dict[str, list[Pair]]:
    """Return every way to show credentials, by a name; *key* is the caller key."""
    return {
        "none": [],
        "bearer": [("Authorization", f"Bearer {OAUTH}")],
        "x-api-key": [("x-api-key", API_KEY)],
        "both": [("Authorization", f"Bearer {OAUTH}"), ("X-Api-Key", API_KEY)],
        "odd case": [("AUTHORIZATION", f"bEARER   {OAUTH}"), ("X-aPI-kEY", API_KEY)],
        "another scheme": [("authorization", f"Basic {OAUTH}")],
        "repeated": [
            ("x-api-key", API_KEY),
            ("Authorization", f"Bearer {OAUTH}"),
            ("X-API-KEY", OTHER),
            ("authorization", f"Bearer {OTHER}"),
        ],
        "of a proxy": [("Proxy-Authorization", PROXY), ("Authorization", f"Bearer {OAUTH}")],
        "caller key beside": [("X-Bridge-Key", key), ("Authorization", f"Bearer {OAUTH}")],
        "caller key as bearer": [("Authorization", f"Bearer {key}"), ("x-api-key", API_KEY)],
        "caller key as x-api-key": [("x-api-key", key), ("Authorization", f"Bearer {OAUTH}")],
        "caller key elsewhere": [("X-Odd", f"<{key}>"), ("x-api-key", API_KEY)],
        "hidden by Connection": [
            ("Connection", "keep-alive, x-api-key"),
            ("Authorization", f"Bearer {OAUTH}"),
            ("x-api-key", API_KEY),
        ],
    }


def questions(provider: Provider, *, default: bool) -> Iterator[tuple[Call, str]]:
    """Yield every surface of *provider* by one form of its path, and one by every form."""
    calls = [call for call in CALLS.values() if answers(provider, call)]
    for target in _paths(provider, calls[0], default=default):
        yield calls[0], target
    for call in calls[1:]:
        yield call, f"/{provider.name}/v1{call.path}"


def _paths(provider: Provider, call: Call, *, default: bool) -> Iterator[str]:
    for name in (provider.name, *provider.aliases):
        yield f"/{name}/v1{call.path}"
        yield f"/{name}{call.path}"
        yield f"/{name}/v1/v1{call.path}"
        yield f"//{name}//v1/{call.path}"
        path, mark, query = call.path.partition("?")
        yield f"/{name}/v1{path}/{mark}{query}"
    if default:
        yield f"/v1{call.path}"
        yield call.path


def answers(provider: Provider, call: Call) -> bool:
    """Say whether *provider* has a surface for *call*."""
    if call.path.startswith("/responses") and not provider.responses:
        return False
    return call.dialect in provider.surfaces or call.path.startswith("/models")


def arrives(provider: Provider, call: Call) -> str:
    """Return the URL at which *call* must arrive: one version, that of the surface."""
    here = call.dialect in provider.surfaces
    dialect = call.dialect if here else next(iter(provider.surfaces))
    base = provider.surfaces[dialect]
    return f"{base}{'/v1' if dialect is Dialect.ANTHROPIC else ''}{call.path}"


def credentials(provider: Provider, secret: str, shown: list[Pair], key: str) -> list[Pair]:
    """Return the credentials that must arrive, with names in lower case.

    *secret* is ours, *shown* what the caller sent, *key* the caller key.
    """
    if provider.auth is not Auth.PASSTHROUGH:
        if provider.key_header is KeyHeader.API_KEY:
            return [("x-api-key", secret)]
        return [("authorization", f"Bearer {secret}")]
    hidden = {name.strip() for k, v in shown if k == "Connection" for name in v.split(",")}
    return [
        (name.lower(), value)
        for name, value in shown
        if name.lower() in {"authorization", "x-api-key"} - hidden and key not in value
    ]
