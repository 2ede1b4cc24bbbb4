"""Estimates how many input tokens a Messages request has, where nobody upstream counts them.

Pure. Text is weighed (see ``weight``, which says how well), pictures are measured. What surrounds
the text is as ``ai-tokenizer`` 1.0.6 found it at the real APIs: 3 to 9 tokens for a request, 1 to 4
for a message, and for a tool about as many as its JSON has.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from typing import Any, Final

from bridge.errors import Refused
from bridge.proxy import picture
from bridge.proxy.head import RawPair
from bridge.proxy.weight import weigh

_REQUEST: Final = 6
_MESSAGE: Final = 2
#: The first tool brings instructions with it, 33 to 147 tokens by provider and 549 at Anthropic;
#: Claude Code takes 500 off the count of each tool, so that less would show tools as free.
_TOOLS: Final = 500
#: Anthropic's documentation has 1500 to 3000 for the text of a page, and its picture beside.
_PAGE: Final = 3000
_PAGES: Final = re.compile(rb"/Type\s*/Page\b")
#: What a page is at least, where the document does not show its pages.
_PAGE_BYTES: Final = 50_000


def answer(body: bytes) -> tuple[list[RawPair], bytes]:
    """Return headers and content of the answer to a request to count the tokens of *body*.

    Raises ``Refused`` (400) for what is no Messages request. Some 50 ms for a MiB of text; whoever
    must not wait so long asks in a thread.
    """
    try:
        count = estimate(body)
    except ValueError as error:
        raise Refused(
            f"these tokens cannot be counted: {error}", status=400, kind="invalid_request_error"
        ) from None
    headers = [(b"content-type", b"application/json"), (b"x-bridge-estimated", b"true")]
    return headers, json.dumps({"input_tokens": count}).encode()


def estimate(body: bytes) -> int:
    """Return about how many input tokens the Messages request *body* has.

    Raises ``ValueError`` for what is no Messages request.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("the body is no JSON document") from None
    if not isinstance(document, dict):
        raise ValueError("the body is no JSON object")  # noqa: TRY004 - of a value, for the caller
    return _Sheet().request(document)


class _Sheet:
    """What a request is made of: *texts* to be weighed together, *tokens* of everything else."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.tokens = _REQUEST

    def request(self, document: dict[str, Any]) -> int:
        """Return the tokens of the whole *document*."""
        self.content(document.get("system"), "system")
        for message in _listed(document.get("messages"), "messages"):
            self.tokens += _MESSAGE
            self.content(message.get("content"), "messages.content")
        tools = _listed(document.get("tools") or [], "tools")
        self.tokens += _TOOLS if tools else 0
        for tool in tools:
            self.json({key: value for key, value in tool.items() if key != "cache_control"})
        return round(self.tokens + weigh("\n".join(self.texts)))

    def content(self, content: object, key: str) -> None:
        """Add a text, or a list of blocks."""
        if isinstance(content, str):
            self.texts.append(content)
        elif content is not None:
            for block in _listed(content, key):
                self.block(block)

    def block(self, block: dict[str, Any]) -> None:
        """Add one block of content."""
        kind = str(block.get("type"))
        if kind in {"text", "thinking"}:
            self.texts.append(str(block.get(kind, "")))
        elif kind.endswith("tool_use"):
            self.texts.append(str(block.get("name", "")))
            self.json(block.get("input"))
        elif kind.endswith("tool_result"):
            self.content(block.get("content"), kind)
        elif kind in {"image", "document"}:
            self.source(kind, block.get("source"))
        elif kind != "redacted_thinking":  # nobody here knows how long that is
            self.json(block)

    def source(self, kind: str, source: object) -> None:
        """Add a picture or a document, as far as it is here."""
        source = source if isinstance(source, dict) else {}
        data = source.get("data")
        if source.get("type") == "content":
            self.content(source.get("content"), kind)
        elif source.get("type") == "text":
            self.texts.append(str(data))
        elif kind == "image":
            self.tokens += picture.tokens(data) if isinstance(data, str) else picture.MOST
        else:
            self.tokens += _PAGE * (_pages(data) if isinstance(data, str) else 1)

    def json(self, value: object) -> None:
        """Add a value as the JSON that a model is shown of it."""
        self.texts.append(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _listed(value: object, key: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise ValueError(f"{key} is no list of objects")
    return value


def _pages(encoded: str) -> int:
    """Return about how many pages a PDF has."""
    try:
        data = b64decode(encoded)
    except ValueError:
        return 1
    return len(_PAGES.findall(data)) or -(-len(data) // _PAGE_BYTES) or 1
