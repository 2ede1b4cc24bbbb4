"""Says which targets mean one place to everybody behind us, and where a redirect leads.

Pure, text only. Servers decode a path a different number of times and by different rules; a target
that could mean another place to one of them is refused.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote, urljoin, urlsplit

from bridge.errors import Refused
from bridge.proxy.head import Head

_PORTS: Final = {"https": 443, "http": 80}

_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+")
#: Also with a path parameter (``..;x``), which some servers cut off before they look, and before
#: what ends a path for those who decode it first.
_DOT_SEGMENT: Final = re.compile(r"(?:^|[/\\])\.{1,2}(?:[/\\;?#]|$)")
#: Decoded by somebody behind us, these end a line or a text.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
#: UTF-8 longer than allowed, which careless decoders read as ``.``, ``/`` and ``\``.
_OVERLONG: Final = {"\xc0\xae": ".", "\xc0\xaf": "/", "\xc1\x9c": "\\"}


def check_target(head: Head) -> None:
    """Let the target of *head* pass if it is a plain path that everybody reads in one way.

    Raises ``Refused`` (400): for a proxy's forms, for what must be encoded and is not, and for dot
    segments and control characters however often they are encoded.
    """
    path = head.target.partition("?")[0]
    if head.method in {"CONNECT", "TRACE"}:
        # TRACE would show the provider's credential to whoever asks.
        raise _bad_target(f"cannot be reached with {head.method}: use it as a base URL")
    if not path.startswith("/"):
        raise _bad_target("is no path: bridge is not a forward proxy, use it as a base URL")
    if not _PRINTABLE.fullmatch(head.target) or "#" in head.target or "\\" in path:
        raise _bad_target("has a character that must be percent-encoded")
    if "%" in path:
        path = _decoded(path)
        if _CONTROL.search(path):
            raise _bad_target("has an encoded control character: leave it out")
    if _DOT_SEGMENT.search(path):
        raise _bad_target("has a dot segment: write the path that is meant")


def redirect_leaves(url: str, location: str) -> bool:
    """Say whether *location*, answered by *url*, leads away from the origin of *url*.

    A location that cannot be read leads away.
    """
    try:
        there = _origin(urljoin(url, _plain(location)))
    except ValueError:
        return True
    return there != _origin(url)


def first_segment(target: str, location: str) -> str:
    """Return the first segment of the path of ours to which a client takes *location*.

    It was answered to a request for *target*. Empty where it leads to another server.
    """
    place = urlsplit(urljoin(f"http://bridge.invalid/{target.lstrip('/')}", _plain(location)))
    path = place.path if place.netloc == "bridge.invalid" else ""
    return path.lstrip("/").partition("/")[0]


def _plain(location: str) -> str:
    # Clients read a backslash as a slash, so that "/\HOST" names a host.
    return location.strip().replace("\\", "/")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


def _decoded(path: str) -> str:
    """Return *path* decoded as often as anybody behind us might decode it."""
    for _ in range(4):
        if "%" not in path:
            break
        path = unquote(path, "latin-1")
    for long, short in _OVERLONG.items():
        path = path.replace(long, short)
    return path


def _bad_target(reason: str) -> Refused:
    return Refused(f"the request target {reason}", status=400, kind="invalid_request_error")
