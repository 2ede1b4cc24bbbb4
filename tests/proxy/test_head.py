"""Which headers go through, for every list of headers anybody may send."""

from __future__ import annotations

from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import Refused
from bridge.providers import Auth, KeyHeader
from bridge.proxy.head import (
    CREDENTIALS,
    HOP_BY_HOP,
    OWN_CREDENTIALS,
    RESET,
    Head,
    Pair,
    answer_headers,
    outbound_headers,
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
    st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f")),
    st.just(f"Bearer {KEY}"),
    names,
)
headers = st.lists(st.tuples(cased, values), max_size=12)


def lowered(pairs: list[Pair]) -> list[str]:
    """The names of *pairs* in lower case."""
    return [name.lower() for name, _ in pairs]


@given(headers)
def test_no_inbound_credential_and_no_hop_by_hop_header_leaves(sent: list[Pair]) -> None:
    """Whatever is sent: one credential leaves, and it is ours; nothing hop-by-hop leaves at all."""
    left = outbound_headers(Head("POST", "/", tuple(sent)), KIMI, "fresh", KEY)
    assert [pair for pair in left if pair[0].lower() in PRIVATE] == [
        ("Authorization", "Bearer fresh")
    ]
    named = {n.strip().lower() for k, v in sent if k.lower() == "connection" for n in v.split(",")}
    assert set(lowered(left[:-1])).isdisjoint(HOP_BY_HOP | RESET | named)
    assert not any(KEY in value for _, value in left)


@given(headers)
def test_everything_else_leaves_in_its_order_and_case(sent: list[Pair]) -> None:
    """What is neither a credential nor hop-by-hop is there unchanged, and nothing is added."""
    head = Head("POST", "/", tuple(sent))
    left = outbound_headers(head, KIMI, "fresh", KEY)[:-1]
    remaining = iter(sent)
    assert all(pair in remaining for pair in left)
    assert outbound_headers(Head("POST", "/", tuple(left)), KIMI, "fresh", KEY)[:-1] == left


def test_the_credential_goes_in_the_header_that_the_provider_wants() -> None:
    """A provider with ``x-api-key`` gets no bearer, although the client sent both."""
    sent = (("Authorization", "Bearer dummy"), ("X-Api-Key", "dummy"), ("accept", "*/*"))
    row = provider("https://api.kimi.com", key_header=KeyHeader.API_KEY)
    left = outbound_headers(Head("POST", "/", sent), row, "sk-1", KEY)
    assert left == [("accept", "*/*"), ("x-api-key", "sk-1")]


def test_a_passthrough_provider_gets_the_callers_own_credential() -> None:
    """It stays as it came, except where it is the caller key, which no provider ever sees."""
    row = provider("https://api.anthropic.com", auth=Auth.PASSTHROUGH)
    sent = (("authorization", "Bearer sk-own"), ("x-api-key", KEY), ("x-bridge-key", KEY))
    left = outbound_headers(Head("POST", "/", sent), row, "", KEY)
    assert left == [("authorization", "Bearer sk-own")]


def test_a_provider_adds_replaces_and_removes_headers() -> None:
    """Its row wins over the client's header of that name; an empty value takes the header away."""
    own = {"X-Msh-Platform": "bridge", "User-Agent": "", "Authorization": "Bearer of-the-row"}
    row = provider("https://api.kimi.com", headers=MappingProxyType(own))
    sent = (("x-msh-platform", "forged"), ("user-agent", "claude-cli"), ("x-app", "cli"))
    left = outbound_headers(Head("POST", "/", sent), row, "fresh", "")
    assert left == [
        ("x-app", "cli"),
        ("Authorization", "Bearer fresh"),
        ("X-Msh-Platform", "bridge"),
    ]


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\x00", "a\x7f", "caf\udce9"])
def test_what_http_does_not_carry_is_refused(value: str) -> None:
    """A control character or bytes that are no text are refused and not silently dropped."""
    with pytest.raises(Refused, match="'x-odd' has a character") as caught:
        outbound_headers(Head("POST", "/", (("x-odd", value),)), KIMI, "fresh", KEY)
    assert caught.value.status == 400


def test_a_head_keeps_what_is_no_ascii() -> None:
    """UTF-8 is read as text, anything else is kept so that it can be found."""
    head = Head.of("GET", "/", [(b"X-Name", "kühl".encode()), (b"x-odd", b"caf\xe9")])
    assert head.headers == (("X-Name", "kühl"), ("x-odd", "caf\udce9"))
    assert (head.value("x-name"), head.value("x-none"), head.values("x-odd")) == (
        "kühl",
        "",
        ["caf\udce9"],
    )


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
    left = answer_headers([*dropped[:4], *kept, *dropped[4:]], "kimi")
    assert left == [*kept, (b"x-bridge-provider", b"kimi")]
