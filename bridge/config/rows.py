"""Makes the rows of the providers from what a reading says of each, and tells what does not fit.

Pure. The catalogue and the user's file are read in one language; the one lies beneath the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from bridge import location
from bridge.config import schema
from bridge.config.fields import name_mistake
from bridge.config.reading import Reading
from bridge.config.wording import nearest
from bridge.providers import (
    KIMI_CLIENT_ID,
    KIMI_REGIONS,
    Auth,
    Dialect,
    KeyHeader,
    Models,
    OAuth,
    Provider,
)


def read_rows(
    reading: Reading, built_in: Iterable[str], added: Iterable[str], environment: Mapping[str, str]
) -> Mapping[str, Provider]:
    """Return the rows by name, those *built_in* first, then those *added* by the file.

    What is wrong with one is told to *reading*.
    """
    built_in = tuple(built_in)
    rows: dict[str, Provider] = {}
    for name in (*built_in, *added):
        if name not in built_in and (mistake := _misnamed(reading, name, rows)):
            reading.refuse_table(("providers", name), mistake)
            continue
        rows[name] = _row(reading, name, environment)
        _check(reading, rows[name])
    _check_names(reading, rows)
    return MappingProxyType(rows)


def default_row(reading: Reading, rows: Mapping[str, Provider]) -> str:
    """Return the name of the provider that answers without a prefix; an alias is resolved."""
    name = reading.value(schema.DEFAULT_PROVIDER)
    names = {alias: row.name for row in rows.values() for alias in (row.name, *row.aliases)}
    if name not in names:
        what = f"there is no provider {name[:40]!r}"
        hint = nearest(name, names) or f" (known: {', '.join(rows)})"
        reading.refuse(schema.DEFAULT_PROVIDER, what + hint)
    return names.get(name, name)


def _row(reading: Reading, name: str, environment: Mapping[str, str]) -> Provider:
    oauth = _login(reading, name)
    surfaces = {
        Dialect.ANTHROPIC: reading.value(schema.ANTHROPIC.of(name)),
        Dialect.OPENAI: reading.value(schema.OPENAI.of(name)),
    }
    ca_file = reading.value(schema.ROW_CA_FILE.of(name))
    return Provider(
        name=name,
        title=reading.value(schema.TITLE.of(name)) or name,
        aliases=reading.value(schema.ALIASES.of(name)),
        auth=Auth(reading.value(schema.AUTH.of(name))),
        surfaces=MappingProxyType({dialect: url for dialect, url in surfaces.items() if url}),
        models=_models(reading, name),
        key_header=KeyHeader(reading.value(schema.KEY_HEADER.of(name))),
        keys=reading.value(schema.KEY.of(name)),
        key_prefixes=reading.value(schema.KEY_PREFIXES.of(name)),
        oauth=oauth,
        headers=reading.value(schema.HEADERS.of(name)),
        responses=reading.value(schema.RESPONSES.of(name)),
        context=reading.value(schema.CONTEXT.of(name)),
        timeout_seconds=reading.value(schema.TIMEOUT.of(name)),
        counts_tokens=reading.value(schema.COUNTS_TOKENS.of(name)),
        quirks=reading.value(schema.QUIRKS.of(name)),
        proxy=reading.value(schema.ROW_PROXY.of(name)),
        ca_file=location.expanded(ca_file or "", environment) or None,
    )


def _login(reading: Reading, name: str) -> OAuth | None:
    """Return the authorization server of *name*; its region gives that and both surfaces."""
    key = schema.REGION.of(name)
    region = reading.value(key)
    if name == "kimi":
        host, base = KIMI_REGIONS[region or "cn"]
        places = {"oauth_host": host, "openai": base, "anthropic": base}
        reading.lay_beneath({"providers": {name: places}}, f"region {region or 'cn'}")
    elif region:
        reading.refuse(key, "only kimi has regions: leave it out")
    host = reading.value(schema.OAUTH_HOST.of(name))
    if name == "kimi":
        return OAuth(host=host, client_id=KIMI_CLIENT_ID)
    if host:
        reading.refuse(schema.OAUTH_HOST.of(name), "only kimi has a login: leave it out")
    return None


def _models(reading: Reading, name: str) -> Models:
    primary = reading.value(schema.PRIMARY.of(name))
    return Models(
        primary=primary,
        fast=reading.value(schema.FAST.of(name)) or primary,
        opus=reading.value(schema.OPUS.of(name)),
        sonnet=reading.value(schema.SONNET.of(name)),
        haiku=reading.value(schema.HAIKU.of(name)),
    )


def _check(reading: Reading, row: Provider) -> None:
    """Tell what does not go together in *row*."""
    auth, key = schema.AUTH.of(row.name), schema.KEY.of(row.name)
    if row.auth is Auth.OAUTH and row.oauth is None:
        reading.refuse(auth, 'only kimi has a login: write auth = "key"')
    if row.auth is Auth.PASSTHROUGH and row.name != "anthropic":
        what = 'only anthropic gets the caller\'s own credential: write auth = "key"'
        reading.refuse(auth, what)
    if row.auth is not Auth.KEY and reading.ours(auth) and not reading.ours(key):
        own = "the login" if row.auth is Auth.OAUTH else "the caller's own credential"
        reading.refuse(key, f'{row.name} uses {own}: write auth = "key" too, or leave the key out')
    nowhere = not row.surfaces and reading.miss(
        ("providers", row.name),
        [schema.ANTHROPIC.of(row.name), schema.OPENAI.of(row.name)],
        'a provider needs anthropic = "https://HOST/PATH" or openai = "https://HOST/v1"'
        + ("" if row.keys else ', and key = { env = "NAME" }'),
    )
    if row.auth is Auth.KEY and not row.keys and not nowhere:
        what = 'a provider needs a key: write key = { env = "NAME" }'
        reading.miss(("providers", row.name), [key], what)
    if row.responses and Dialect.OPENAI not in row.surfaces:
        reading.refuse(schema.RESPONSES.of(row.name), 'it needs openai = "https://HOST/v1"')
    if not row.models.primary and row.models != Models("", ""):
        reading.miss(
            ("providers", row.name, "models"),
            [schema.PRIMARY.of(row.name)],
            "name the primary model too",
        )


def _misnamed(reading: Reading, name: str, rows: Mapping[str, Provider]) -> str:
    """Return why the file's row *name* cannot be beside *rows*, or an empty string.

    One that says of no surface where it is and is called almost like one of *rows* is that one.
    """
    if mistake := name_mistake(name):
        return mistake
    if owner := next((row.name for row in rows.values() if name in row.aliases), ""):
        return f"{name} is another name of {owner}: write [providers.{owner}]"
    if reading.value(schema.ANTHROPIC.of(name)) or reading.value(schema.OPENAI.of(name)):
        return ""
    near = nearest(name, rows)
    return f"unknown provider{near}" if near else ""


def _check_names(reading: Reading, rows: Mapping[str, Provider]) -> None:
    """Tell which alias means two providers; those of the catalogue were there first."""
    owners = {name: name for name in rows}
    for row in sorted(rows.values(), key=lambda row: not reading.ours(schema.ALIASES.of(row.name))):
        for alias in row.aliases:
            owner = owners.setdefault(alias, row.name)
            if owner != row.name:
                taken = "is a provider" if owner == alias else f"is another name of {owner}"
                reading.refuse(schema.ALIASES.of(row.name), f"{alias} {taken}: choose another")
