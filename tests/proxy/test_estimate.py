"""How many tokens a whole request has, where nobody upstream counts them."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import Refused
from bridge.proxy.estimate import answer, estimate
from bridge.proxy.picture import MOST
from bridge.proxy.weight import weigh
from tests.proxy.texts import COUNTED

ENGLISH, CHINESE = COUNTED["English"].text, COUNTED["Chinese"].text
TOOL: dict[str, Any] = json.loads(COUNTED["tool"].text)
PDF = base64.b64encode(b"%PDF-1.7\n<</Type /Pages/Count 2>> <</Type/Page>> <</Type /Page >>")


def request(*content: object, **fields: object) -> bytes:
    """Return a request to count one message with *content*."""
    return json.dumps({"messages": [{"role": "user", "content": list(content)}], **fields}).encode()


def added(*content: object) -> int:
    """Return how many tokens *content* adds to a message of no content."""
    return estimate(request(*content)) - estimate(request())


def text(words: str) -> dict[str, str]:
    """Return a block of text."""
    return {"type": "text", "text": words}


def test_the_smallest_request_has_what_surrounds_it() -> None:
    """Claude Code asks about one word to learn this; the official APIs say 8 to 10."""
    body = b'{"model":"kimi-k2.5","messages":[{"role":"user","content":"foo"}],"tools":[]}'
    assert 8 <= estimate(body) <= 10


def test_text_counts_wherever_it_stands() -> None:
    """In a string, in a block, in the system prompt, in a result, in a document: as often."""
    once = added(text(ENGLISH))
    assert once == pytest.approx(weigh(ENGLISH), abs=2)
    body = json.dumps({"messages": [{"role": "user", "content": ENGLISH}]}).encode()
    assert estimate(body) - estimate(request()) == pytest.approx(once, abs=1)
    for system in (ENGLISH, [{**text(ENGLISH), "cache_control": {"type": "ephemeral"}}]):
        assert estimate(request(system=system)) - estimate(request()) == pytest.approx(once, abs=2)
    plain = {"type": "text", "media_type": "text/plain", "data": ENGLISH}
    for block in (
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": ENGLISH},
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": [text(ENGLISH)]},
        {"type": "web_fetch_tool_result", "content": [text(ENGLISH)]},
        {"type": "thinking", "thinking": ENGLISH, "signature": "x" * 5000},
        {"type": "document", "source": plain},
        {"type": "document", "source": {"type": "content", "content": [text(ENGLISH)]}},
    ):  # fmt: skip
        assert added(block) == pytest.approx(once, abs=2)


def test_every_message_and_tool_adds_up() -> None:
    """Two messages have a frame more than one; a tool has its schema, and the first its manual."""
    two = json.dumps({"messages": [{"role": "user", "content": "a"}] * 2}).encode()
    one = json.dumps({"messages": [{"role": "user", "content": "a"}]}).encode()
    assert 3 <= estimate(two) - estimate(one) <= 5
    none, first, second = (estimate(request(tools=[TOOL] * number)) for number in range(3))
    schema = weigh(json.dumps(TOOL, separators=(",", ":")))
    assert second - first == pytest.approx(schema, abs=3)
    assert first - none == pytest.approx(500 + schema, abs=3)
    cached = {**TOOL, "cache_control": {"type": "ephemeral"}}
    assert estimate(request(tools=[cached])) == first
    assert estimate(request(tools=[], system=None)) == none


def test_the_use_of_a_tool_counts_its_input() -> None:
    """Its arguments are what a model reads of it, not their escapes."""
    use = {"type": "tool_use", "id": "toolu_1", "name": "Write", "input": {"content": CHINESE}}
    assert added(use) == pytest.approx(weigh(CHINESE), abs=12)
    assert added({**use, "type": "server_tool_use"}) == added(use)


def test_pictures_and_documents_count_by_their_size() -> None:
    """What is not here (a URL, a file by its id) counts as the largest picture or as one page."""
    front = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x02\x80\x00\x00\x01\xe0"
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(front).decode()}
    assert added({"type": "image", "source": source}) == 410
    assert added({"type": "image", "source": {"type": "url", "url": "https://x"}}) == MOST
    assert added({"type": "image"}) == MOST
    page = added({"type": "document", "source": {"type": "file", "file_id": "file_1"}})
    pdf = {"type": "base64", "media_type": "application/pdf", "data": PDF.decode()}
    assert 1500 <= page <= 5000
    assert added({"type": "document", "source": pdf}) == 2 * page
    hidden = base64.b64encode(bytes(120_000)).decode()
    assert added({"type": "document", "source": {**pdf, "data": hidden}}) == 3 * page
    assert added({"type": "document", "source": {**pdf, "data": "é"}}) == page


def test_what_is_not_known_counts_as_its_json() -> None:
    """A block of next year is not taken for nothing; what is encrypted is."""
    odd = {"type": "tool_reference", "tool_name": "Search", "words": ENGLISH}
    assert added(odd) > added(text(ENGLISH))
    assert added({"type": "redacted_thinking", "data": "x" * 5000}) == 0


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no JSON document"),
        (b"\xff\xfe", "no JSON document"),
        (b"[" * 100_000, "no JSON document"),
        (b"[]", "no JSON object"),
        (b"{}", "messages is no list of objects"),
        (b'{"messages": "hello"}', "messages is no list of objects"),
        (b'{"messages": ["hello"]}', "messages is no list of objects"),
        (b'{"messages": [{"content": [1]}]}', r"messages\.content is no list of objects"),
        (b'{"messages": [], "tools": {}, "system": 7}', "system is no list of objects"),
        (b'{"messages": [], "tools": "x"}', "tools is no list of objects"),
    ],
)
def test_what_is_no_request_is_said_to_be_none(body: bytes, words: str) -> None:
    """The client hears 400 and why, whatever it sent."""
    with pytest.raises(ValueError, match=words):
        estimate(body)
    with pytest.raises(Refused, match=words) as caught:
        answer(body)
    assert (caught.value.status, caught.value.kind) == (400, "invalid_request_error")


def test_the_answer_is_marked() -> None:
    """It looks like the official one, and says that it is none."""
    headers, content = answer(request(text(ENGLISH)))
    assert (b"x-bridge-estimated", b"true") in headers
    assert (b"content-type", b"application/json") in headers
    assert json.loads(content) == {"input_tokens": estimate(request(text(ENGLISH)))}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["type", "text", "content", "source", "data", "input", "name", "x"]),
        inner | st.sampled_from(["text", "image", "document", "tool_use", "tool_result"]),
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(
    st.fixed_dictionaries(
        {"messages": json_values},
        optional={"system": json_values, "tools": json_values, "model": json_values},
    ),
    st.lists(json_values, max_size=3),
)
def test_any_json_is_counted_or_refused(document: dict[str, Any], content: list[Any]) -> None:
    """No document of whatever shape is a surprise."""
    for body in (json.dumps(document).encode(), request(*content)):
        with suppress(ValueError):
            assert estimate(body) >= 6
