"""Writes launchd's agent of the daemon, and reads what an agent of ours says of itself. Pure."""

from __future__ import annotations

import plistlib
from collections.abc import Callable
from typing import Any, Final
from xml.parsers.expat import ExpatError

from bridge.errors import ServiceError
from bridge.units.order import Made, Order

#: What an agent of ours has in its head, with the version that wrote it.
MARK: Final = b"<!-- Written by: bridge service install "
_END: Final = b" -->"


def agent(template: str, order: Order) -> bytes:
    """Return the property list for *order*.

    Raises ``ServiceError`` for what XML cannot hold.
    """
    gaps = {"@BRIDGE@": order.program, "@LOGS@": order.logs}

    def gap(text: str) -> str:
        for name, value in gaps.items():
            text = text.replace(name, value)
        return text

    document = _mapped(plistlib.loads(template.encode()), gap)
    document["EnvironmentVariables"] = dict(order.environment)
    try:
        text = plistlib.dumps(document, sort_keys=False)
    except (ValueError, UnicodeEncodeError):
        raise ServiceError(
            "launchd cannot be told of a path or variable with control characters in it: "
            "choose another name"
        ) from None
    head, line, rest = text.partition(b"<plist ")
    return b"".join((head, MARK, order.version.encode(), _END, b"\n", line, rest))


def made(content: bytes) -> Made | None:
    """Return what the property list *content* says of itself, ``None`` if it is not of ours."""
    _, mark, rest = content.partition(MARK)
    if not mark:
        return None
    version = rest.partition(_END)[0].decode("utf-8", "replace")
    try:
        words = plistlib.loads(content)["ProgramArguments"]
        return Made(str(words[0]), version)
    except (ValueError, KeyError, IndexError, TypeError, ExpatError):
        return Made("", version)


def _mapped(value: Any, text: Callable[[str], str]) -> Any:  # noqa: ANN401 - a plist holds anything
    if isinstance(value, str):
        return text(value)
    if isinstance(value, list):
        return [_mapped(each, text) for each in value]
    if isinstance(value, dict):
        return {name: _mapped(each, text) for name, each in value.items()}
    return value
