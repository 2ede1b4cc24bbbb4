"""Reads what only the row of a provider has: base URLs, places of a key, headers, quirks, names.

Pure. A key pasted where its place belongs is refused and never repeated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final

from bridge.config.kinds import FILE, HIDDEN, Kind, Mismatch
from bridge.providers import QUIRKS, RESERVED_NAMES, KeyPlace, url_mistake

#: RFC 9110 sections 5.6.2 (token) and 5.5 (field value, without obs-text).
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_HEADER_VALUE: Final = re.compile(r"[\t -~]*", re.ASCII)
#: Headers that carry a credential, which has keys of its own.
_CREDENTIALS: Final = frozenset(
    {"authorization", "x-api-key", "x-bridge-key", "proxy-authorization"}
)
#: Headers about one connection or one body: nobody but the sender can say them.
_FRAMING: Final = frozenset(
    {"connection", "content-length", "expect", "host", "keep-alive", "proxy-connection", "te"}
    | {"proxy-authenticate", "trailer", "transfer-encoding", "upgrade"}
)
_PROVIDER: Final = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,38}[a-z0-9])?", re.ASCII)
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_WORD: Final = re.compile(r"[!-~]+")
_VERSION: Final = re.compile(r"/v\d+[a-z0-9]*$")
_ENDPOINTS: Final = ("/chat/completions", "/completions", "/messages", "/responses", "/models")
_FORMS: Final = '{ env = "NAME" }, { file = "PATH" } or { command = ["PROGRAM", "ARGUMENT"] }'


def name_mistake(name: str) -> str:
    """Return why no provider can be called *name*, or an empty string."""
    if name in RESERVED_NAMES:
        return "this name is a path of bridge's own: choose another"
    if not _PROVIDER.fullmatch(name):
        return "a provider's name has only a to z, 0 to 9, - and _: choose another"
    return ""


def _base(value: object) -> str:
    """Read a base URL; what comes behind it is the client's to say."""
    if not isinstance(value, str):
        raise Mismatch
    url = value.rstrip("/")
    if value and (mistake := url_mistake(url or value)):  # "/" does not mean "none"
        raise Mismatch(said=mistake)
    if endpoint := next((end for end in _ENDPOINTS if url.endswith(end)), ""):
        raise Mismatch(said=f"write the base URL only, without {endpoint}")
    return url


def _anthropic(value: object) -> str:
    url = _base(value)
    while url.endswith("/v1"):
        url = url.removesuffix("/v1").rstrip("/")
    return url


def _kimi(value: object) -> str:
    url = _base(value)
    return url if url.endswith("/v1") or not url else f"{url}/v1"


def _host(value: object) -> str:
    if url := _base(value):
        return url
    raise Mismatch


def _leaves_version_out(raw: object) -> str:
    text = str(raw).rstrip("/")
    return "its /v1 is left out, as clients add one" if text.endswith("/v1") else ""


def _lacks_version(raw: object) -> str:
    url = str(raw).rstrip("/")
    if not url or _VERSION.search(url):
        return ""
    return f"requests go to {url}/chat/completions: add /v1 if the provider wants it"


def _keys(value: object) -> tuple[KeyPlace, ...]:
    if isinstance(value, str):
        raise Mismatch(said=_literal(value))
    places = value if isinstance(value, list) else [value]
    if not places:
        raise Mismatch("name at least one")
    return tuple(_key(place) for place in places)


def _literal(value: str) -> str:
    """Say how to write what *value* seems to be, without repeating it."""
    if value.startswith("$"):
        return 'write the name of the variable as { env = "NAME" }, without $'
    if value.startswith(("/", "~/")):
        return 'write the path as { file = "PATH" }'
    return (
        "a key does not belong in this file: put it into a file of its own (chmod 600) and write "
        '{ file = "PATH" }, or write { env = "NAME" } or { command = ["PROGRAM", "ARGUMENT"] }'
    )


def _key(value: object) -> KeyPlace:
    if isinstance(value, str):
        raise Mismatch(said=_literal(value))
    if not isinstance(value, dict) or not value:
        raise Mismatch
    if len(value) > 1:
        raise Mismatch(said="one place in each pair of braces: write [{ … }, { … }] for several")
    [(form, place)] = value.items()
    if form not in _PLACES:
        near = get_close_matches(form, _PLACES, 1)
        raise Mismatch(f"did you mean {near[0]}?" if near else "")
    return _PLACES[form](place)


def _env(name: object) -> KeyPlace:
    if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
        raise Mismatch(said="env is the name of a variable, without $ and without its value")
    return KeyPlace(env=name)


def _file(path: object) -> KeyPlace:
    try:
        return KeyPlace(file=FILE.read(path))
    except Mismatch:
        raise Mismatch(said=f"file is {FILE.expected}") from None


def _command(words: object) -> KeyPlace:
    good = isinstance(words, list) and words and all(isinstance(w, str) for w in words)
    if not isinstance(words, list) or not good or not words[0] or any("\0" in w for w in words):
        raise Mismatch(said='command is a list of texts such as ["pass", "show", "api/key"]')
    return KeyPlace(command=tuple(words))


_PLACES: Final[Mapping[str, Callable[[object], KeyPlace]]] = {
    "env": _env,
    "file": _file,
    "command": _command,
}


def shown_place(place: KeyPlace) -> dict[str, object]:
    """Return *place* as one writes it; the arguments of a command may be secrets and are hidden."""
    if place.env:
        return {"env": place.env}
    if place.file:
        return {"file": place.file}
    return {"command": [place.command[0], *(HIDDEN for _ in place.command[1:])]}


def _shown_places(places: tuple[KeyPlace, ...]) -> object:
    shown = [shown_place(place) for place in places]
    return shown[0] if len(shown) == 1 else shown


def _headers(value: object) -> Mapping[str, str]:
    """Read a table of header fields; what one holds may be a secret and is in no message."""
    if not isinstance(value, dict):
        raise Mismatch
    for name, content in value.items():
        if not _HEADER_NAME.fullmatch(name):
            raise Mismatch("a header name has only letters, digits and dashes")
        if name.lower() in _CREDENTIALS:
            raise Mismatch(said=f"{name} carries a credential: write key = {{ … }} instead")
        if name.lower() in _FRAMING:
            raise Mismatch(said=f"{name} is bridge's own to send: leave it out")
        if not isinstance(content, str) or not _HEADER_VALUE.fullmatch(content):
            raise Mismatch(f"the value of {name} is no single line of ASCII text")
    return MappingProxyType(dict(value))


def _veiled(headers: Mapping[str, str]) -> object:
    return {name: value and HIDDEN for name, value in headers.items()}


def _quirks(value: object) -> Mapping[str, bool]:
    if not isinstance(value, dict):
        raise Mismatch
    for name, holds in value.items():
        if name not in QUIRKS:
            near = get_close_matches(name, QUIRKS, 1)
            raise Mismatch(f"did you mean {near[0]}?" if near else f"known: {', '.join(QUIRKS)}")
        if not isinstance(holds, bool):
            raise Mismatch(f"{name} is true or false")
    return MappingProxyType(dict(value))


def _words(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise Mismatch
    if not all(isinstance(word, str) and _WORD.fullmatch(word) for word in value):
        raise Mismatch
    return tuple(value)


def _names(value: object) -> tuple[str, ...]:
    names = _words(value)
    if mistake := next(filter(None, map(name_mistake, names)), ""):
        raise Mismatch(said=mistake)
    return names


_URL: Final = 'a URL such as "https://HOST/PATH", or "" for no such surface'
ANTHROPIC: Final = Kind(_URL, _anthropic, private=True, remark=_leaves_version_out)
OPENAI: Final = Kind(_URL, _base, private=True, remark=_lacks_version)
#: Both surfaces of Kimi hang on one base, which is often written without its version.
KIMI_OPENAI: Final = Kind(_URL, _kimi, private=True)
KIMI_ANTHROPIC: Final = Kind(_URL, _anthropic, private=True)
OAUTH_HOST: Final = Kind('a URL such as "https://HOST"', _host, private=True)
KEY: Final = Kind(f"{_FORMS}, or a list of such places", _keys, private=True, show=_shown_places)
HEADERS: Final = Kind(
    'a table of header names and texts, such as { X-Name = "value" }',
    _headers,
    private=True,
    show=_veiled,
)
QUIRK_TABLE: Final = Kind("a table such as { no_images = true }", _quirks, show=dict)
PREFIXES: Final = Kind('a list of texts such as ["sk-"]', _words, private=True, show=list)
NAMES: Final = Kind('a list of names such as ["other-name"]', _names, show=list)
