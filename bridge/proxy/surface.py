"""Says what a path asks for, and joins it to the base URL of the provider that is to answer it.

Pure, text to text. Clients disagree about who brings the version: Anthropic's append ``/v1`` to
their base URL, OpenAI's expect it there, and people write it into either.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from bridge.providers import Dialect, Provider


class Surface(enum.Enum):
    """What a provider may offer, by the path behind the version; ``OTHER`` is any other path."""

    MESSAGES = "/messages"
    CHAT = "/chat/completions"
    RESPONSES = "/responses"
    MODELS = "/models"
    OTHER = ""

    @property
    def dialect(self) -> Dialect | None:
        """The language it is spoken to in, ``None`` where both have it."""
        return _SPOKEN.get(self)


_SPOKEN: Final = {
    Surface.MESSAGES: Dialect.ANTHROPIC,
    Surface.CHAT: Dialect.OPENAI,
    Surface.RESPONSES: Dialect.OPENAI,
}
_TITLES: Final = {
    Surface.MESSAGES: "Anthropic Messages",
    Surface.CHAT: "OpenAI Chat",
    Surface.RESPONSES: "OpenAI Responses",
}
_CLIENTS: Final = {Dialect.ANTHROPIC: "an Anthropic client", Dialect.OPENAI: "an OpenAI client"}
_KNOWN: Final = (Surface.MESSAGES, Surface.CHAT, Surface.RESPONSES, Surface.MODELS)
_COUNTS: Final = "/messages/count_tokens"

_VERSION: Final = re.compile(r"v\d{1,2}")
_VERSIONS: Final = re.compile(r"(?:/v\d{1,2}(?=/|$))+")
_SLASHES: Final = re.compile("/{2,}")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a path asks for: a surface, and the path on it.

    The path of a known surface has no version, no doubled and no trailing slash; any other is raw.
    """

    surface: Surface
    path: str

    @property
    def counts_tokens(self) -> bool:
        """Whether this is where Anthropic's tokens are counted."""
        return self.path == _COUNTS


def find(path: str) -> Asked:
    """Return what *path*, as it stands behind the provider's prefix, asks for."""
    tidy = _SLASHES.sub("/", path).rstrip("/")
    if versions := _VERSIONS.match(tidy):
        tidy = tidy[versions.end() :]
    for surface in _KNOWN:
        if tidy == surface.value or tidy.startswith(f"{surface.value}/"):
            return Asked(surface, tidy)
    return Asked(Surface.OTHER, path)


def join(base: str, asked: Asked, dialect: Dialect) -> str:
    """Return the URL of *asked* below *base*, with exactly one version whatever the client sent.

    An OpenAI base ends in its version and an Anthropic base does not; what a configuration has
    too much is left out. A path of no known surface gets no ``/v1`` that the client did not send.
    """
    base = base.rstrip("/")
    if dialect is Dialect.ANTHROPIC:
        base = base.removesuffix("/v1")
        wants_version = asked.surface is not Surface.OTHER or _behind(asked.path) != asked.path
        return f"{base}/v1{_behind(asked.path)}" if wants_version else base + asked.path
    own = base.rpartition("/")[2]
    return base + _behind(asked.path, own if _VERSION.fullmatch(own) else "v1")


def lack(provider: Provider, surface: Surface, dialect: Dialect, others: Iterable[Provider]) -> str:
    """Return why *provider* cannot answer on *surface* and what to do, empty where it can.

    *others* are the providers to choose another from.
    """
    if _offers(provider, surface, dialect):
        return ""
    able = {other.name: other for other in others if _offers(other, surface, dialect)}
    ways = [_choice(provider, able, dialect)] if able else []
    ways += [_CLIENTS[spoken] for spoken in provider.surfaces if spoken is not dialect]
    if surface is Surface.RESPONSES and dialect in provider.surfaces:
        ways.append(f"a client of OpenAI Chat (or set providers.{provider.name}.responses = true)")
    return (
        f"{provider.name} does not speak {_TITLES.get(surface, 'to this client')}, and bridge does "
        f"not translate yet: use {', or '.join(ways) or 'another provider'}"
    )


def _choice(provider: Provider, able: Mapping[str, Provider], dialect: Dialect) -> str:
    """Name the provider that has the same model, which may go by its maker's name elsewhere."""
    model = provider.models.primary
    for name, other in able.items():
        if dialect is Dialect.ANTHROPIC and other.models.primary and other.models.primary in model:
            return f"{name} for this model (claude-{name})"
    return f"another provider ({', '.join(sorted(able))})"


def _offers(provider: Provider, surface: Surface, dialect: Dialect) -> bool:
    if surface is Surface.RESPONSES and not provider.responses:
        return False
    return dialect in provider.surfaces


def _behind(path: str, version: str = "v1") -> str:
    """Return *path* without ``/v1`` and ``/``*version* at its start, however often they are there.

    Without one it is unchanged.
    """
    found = re.match(rf"(?:/+(?:v1|{version})(?=/|$))+", path)
    return path if found is None else "/" + path[found.end() :].lstrip("/")
