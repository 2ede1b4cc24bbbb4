"""Which headers go through, for every list of headers anybody may send."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import Refused
from bridge.providers import Auth, KeyHeader, Provider
from bridge.proxy.head import (
    CREDENTIALS,
    HOP_BY_HOP,
    OWN_CREDENTIALS,
    RESET,
    Head,
    Manner,
    Pair,
    RawPair,
    answer_lines,
    outbound_lines,
)
from tests.proxy.doorway import provider

KEY = "the-caller-key"
KIMI = provider("https://api.kimi.com")
PRIVATE = sorted(CREDENTIALS | OWN_CREDENTIALS)

token = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12)
names = st.one_of(
    token, st.sampled_from([*PRIVATE, *sorted(HOP_BY_HOP | RESET), "accept", "x-app", "user-agent"])
)
cased = st.tuples(names, st.sampled_from([str.lower, str.upper, str.title])).map(
    lambda pair: pair[1](pair[0])
)
values = st.one_of(
    st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="\x7f")),
    st.just(f"Bearer {KEY}"),
    names,
)
headers = st.lists(st.tuples(cased, values), max_size=12)


def sent_to(row: Provider, sent: Iterable[Pair], credential: str, caller_key: str) -> list[Pair]:
    """The headers with which a request that came with *sent* goes to *row*."""
    head = Head("POST", "/", tuple(sent))
    return pairs(outbound_lines(head, Manner.of(row), credential, caller_key))


def pairs(lines: bytes) -> list[Pair]:
    """The headers that *lines* are."""
    assert lines.endswith(b"\r\n")
    texts = [line.decode("utf-8", "surrogateescape") for line in lines.split(b"\r\n")[:-1]]
    return [(name, value) for name, _, value in (text.partition(": ") for text in texts)]


def answered(sent: list[RawPair], *, bare: bool = False) -> list[Pair]:
    """The headers that a client gets of an answer that came with *sent*."""
    return pairs(b"".join(answer_lines(sent, Manner.of(KIMI).mark, bare=bare)))


def lowered(pairs: list[Pair]) -> list[str]:
    """The names of *pairs* in lower case."""
    return [name.lower() for name, _ in pairs]


@given(headers)
def test_no_inbound_credential_and_no_hop_by_hop_header_leaves(sent: list[Pair]) -> None:
    """Whatever is sent: one credential leaves, and it is ours; nothing hop-by-hop leaves at all."""
    left = sent_to(KIMI, sent, "fresh", KEY)
    assert [pair for pair in left if pair[0].lower() in PRIVATE] == [
        ("Authorization", "Bearer fresh")
    ]
    named = {n.strip().lower() for k, v in sent if k.lower() == "connection" for n in v.split(",")}
    assert set(lowered(left[:-1])).isdisjoint(HOP_BY_HOP | RESET | named)
    assert not any(KEY in value for _, value in left)


@given(headers)
def test_everything_else_leaves_in_its_order_and_case(sent: list[Pair]) -> None:
    """What is neither a credential nor hop-by-hop is there unchanged, and nothing is added."""
    left = sent_to(KIMI, sent, "fresh", KEY)[:-1]
    remaining = iter(sent)
    assert all(pair in remaining for pair in left)
    assert sent_to(KIMI, left, "fresh", KEY)[:-1] == left


def test_the_credential_goes_in_the_header_that_the_provider_wants() -> None:
    """A provider with ``x-api-key`` gets no bearer, although the client sent both."""
    sent = (("Authorization", "Bearer dummy"), ("X-Api-Key", "dummy"), ("accept", "*/*"))
    row = provider("https://api.kimi.com", key_header=KeyHeader.API_KEY)
    left = sent_to(row, sent, "sk-1", KEY)
    assert left == [("accept", "*/*"), ("x-api-key", "sk-1")]


def test_a_passthrough_provider_gets_the_callers_own_credential() -> None:
    """It stays as it came, except where it is the caller key, which no provider ever sees."""
    row = provider("https://api.anthropic.com", auth=Auth.PASSTHROUGH)
    sent = (("authorization", "Bearer sk-own"), ("x-api-key", KEY), ("x-bridge-key", KEY))
    left = sent_to(row, sent, "", KEY)
    assert left == [("authorization", "Bearer sk-own")]


def test_a_provider_adds_replaces_and_removes_headers() -> None:
    """Its row wins over the client's header of that name; an empty value takes the header away."""
    own = {"X-Msh-Platform": "bridge", "User-Agent": "", "Authorization": "Bearer of-the-row"}
    row = provider("https://api.kimi.com", headers=MappingProxyType(own))
    sent = (("x-msh-platform", "forged"), ("user-agent", "claude-cli"), ("x-app", "cli"))
    left = sent_to(row, sent, "fresh", "")
    assert left == [
        ("x-app", "cli"),
        ("Authorization", "Bearer fresh"),
        ("X-Msh-Platform", "bridge"),
    ]


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb: c", "a\rb", "a\x00"])
def test_what_http_does_not_carry_is_refused(value: str) -> None:
    """What could end a header line is refused and not silently dropped, the credential's too."""
    with pytest.raises(Refused, match="'x-odd' has a character") as caught:
        sent_to(KIMI, [("x-odd", value)], "fresh", KEY)
    assert caught.value.status == 400
    with pytest.raises(Refused, match="credential"):
        sent_to(KIMI, [], value, KEY)


def test_bytes_that_are_no_text_go_through() -> None:
    """A header is the caller's and the provider's business; only its bounds are ours."""
    head = Head.of("POST", "/", [(b"X-Odd", b"caf\xe9"), (b"x-utf", "k\u00fchl".encode())])
    lines = outbound_lines(head, Manner.of(KIMI), "fresh", KEY)
    assert lines.startswith(b"X-Odd: caf\xe9\r\nx-utf: k\xc3\xbchl\r\n")


def test_a_head_is_asked_by_name() -> None:
    """In lower case, for the first or all values, as text that keeps what is none."""
    head = Head.of("GET", "/", [(b"X-Name", "k\u00fchl".encode()), (b"x-odd", b"caf\xe9")])
    assert (head.value("x-name"), head.value("x-none")) == ("k\u00fchl", "")
    assert (head.values("x-odd"), head.values("x-none")) == (["caf\udce9"], [])
    assert (head.get(b"x-odd"), head.get(b"x-none")) == (b"caf\xe9", None)
    assert (head.has(b"x-name"), head.has(b"x-none"), head.repeats) == (True, False, False)
    twice = Head("GET", "/", [("A", "1"), ("b", "2"), ("a", "3")])
    assert (twice.values("a"), twice.repeats) == (["1", "3"], True)


def test_a_head_shows_no_value() -> None:
    """A header may be a credential, and a query may hold one."""
    head = Head("GET", "/path?key=secret", [("authorization", "Bearer secret")])
    assert repr(head) == "Head(GET /path, 1 headers)"


def test_an_answer_loses_what_is_not_for_the_agent() -> None:
    """Hop-by-hop, cookies, other ways in and permissions for web pages stay behind."""
    kept = [(b"Content-Type", b"text/event-stream"), (b"Request-Id", b"1"), (b"X-Odd", b"caf\xe9")]
    dropped = [
        (b"Connection", b"close, X-Hop"),
        (b"X-Hop", b"1"),
        (b"Keep-Alive", b"timeout=5"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Set-Cookie", b"a=b"),
        (b"Alt-Svc", b'h3=":443"'),
        (b"Access-Control-Allow-Origin", b"*"),
        (b"X-Broken", b"a\rb"),
        (b"X-Bridge-Provider", b"forged"),
    ]
    left = answered([*dropped[:4], *kept, *dropped[4:]])
    assert left == [
        ("Content-Type", "text/event-stream"),
        ("Request-Id", "1"),
        ("X-Odd", "caf\udce9"),
        ("x-bridge-provider", "kimi"),
    ]


def test_an_answer_without_content_announces_none() -> None:
    """Some clients wait for what a 204 announces (RFC 9110 section 8.6)."""
    sent = [(b"Content-Length", b"5"), (b"x-a", b"b")]
    assert answered(sent, bare=True) == [("x-a", "b"), ("x-bridge-provider", "kimi")]
    assert ("Content-Length", "5") in answered(sent)
