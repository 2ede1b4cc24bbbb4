"""The parts of the README that are made of data; ``python -m tests.readme`` prints them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from bridge.providers import Auth, Dialect, Provider
from tests.configured import configured

README = Path(__file__).parents[1] / "README.md"


def provider_table(providers: Iterable[Provider]) -> str:
    """Return the table of *providers* in Markdown."""
    head = "| name | Anthropic Messages | OpenAI | models (primary / fast) | context | credential |"
    return "\n".join([head, "|---|---|---|---|---|---|", *map(_line, providers)])


def _line(row: Provider) -> str:
    cells = [
        "`, `".join((row.name, *row.aliases)).join("``"),
        _surface(row, Dialect.ANTHROPIC),
        _surface(row, Dialect.OPENAI) + (" (Chat, Responses)" if row.responses else ""),
        _models(row),
        f"{row.context:,}" if row.context else "",
        ", ".join(_credential(row)),
    ]
    return f"| {' | '.join(cells)} |"


def _surface(row: Provider, dialect: Dialect) -> str:
    url = row.surfaces.get(dialect)
    return f"`{url}`" if url else "no"


def _models(row: Provider) -> str:
    primary, fast = row.models.primary, row.models.fast
    if not primary:
        return "as asked"
    return primary if primary == fast else f"{primary} / {fast}"


def _credential(row: Provider) -> Iterator[str]:
    places = [f"`{place.env or place.file}`" for place in row.keys]
    if row.auth is Auth.KEY:
        yield from places
        return
    yield "login" if row.auth is Auth.OAUTH else "the caller's own"
    yield f'with `auth = "key"`: {places[0]}'
    yield from places[1:]


if __name__ == "__main__":
    print(provider_table(configured().providers.values()))
