"""Words a failure in the language of the client that is told of it.

Pure. Agents show ``error.message`` and act on status and ``x-should-retry``; without that header
the real Claude Code repeats for three minutes what cannot succeed.
"""

from __future__ import annotations

import json
import math
import re
from typing import Final

from bridge.errors import BridgeError
from bridge.providers import Dialect
from bridge.proxy.head import RawPair

_CAPITAL: Final = re.compile(r"(?<!^)(?=[A-Z])")


def document(dialect: Dialect, kind: str, message: str, name: str = "error") -> bytes:
    """Return the error body of *dialect*.

    *kind* is ``error.type``; *name*, the name of an error's class, becomes OpenAI's ``error.code``.
    """
    error: dict[str, object] = {"type": kind, "message": message}
    if dialect is Dialect.ANTHROPIC:
        return json.dumps({"type": "error", "error": error}).encode()
    code = _CAPITAL.sub("_", name).lower()
    return json.dumps({"error": {**error, "code": code}}).encode()


def error_headers(error: BridgeError) -> list[RawPair]:
    """Return the headers that tell a client whether, and when, to try again."""
    pairs = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    if error.status == 426:
        # RFC 9110 section 15.5.22 wants to hear what is spoken instead.
        pairs.append((b"upgrade", b"HTTP/1.1"))
    if error.retry_after is None:
        return [*pairs, (b"x-should-retry", b"false")]
    return [*pairs, (b"retry-after", b"%d" % math.ceil(error.retry_after))]
