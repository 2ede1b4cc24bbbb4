"""Which targets mean one place to everybody, and where redirects lead."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.errors import Refused
from bridge.providers import Dialect
from bridge.proxy.head import Head
from bridge.proxy.rewrite import Routes, choose
from bridge.proxy.target import check_target, first_segment, redirect_leaves
from tests.proxy.rows import rows

ROUTES = Routes.of(rows(), default="kimi")

#: What somebody puts together who wants to get out of the provider's prefix.
PIECES = st.sampled_from(
    [
        *("/", "//", "\\", ".", "..", "...", ";", ";a=b", ":", "@", "?", "#", "&", "%", "*"),
        *("%2e", "%2E", "%2f", "%2F", "%5c", "%252e", "%252f", "%25252e", "%25", "%00", "%0d%0a"),
        *("%c0%ae", "%c0%af", "%3f", "%23", "%3b", "%09", "%7f", "%u002e", "%e0%80%ae"),
        *("kimi", "minimax", "anthropic", "v1", "v4", "messages", "chat/completions", "models"),
        *("health", "http://", "evil.example", "a b", "\xe9", "\x00", "\x1b", "\x9b", "[", "]"),
    ]
)
TARGETS = st.one_of(
    st.lists(PIECES, max_size=14).map("".join),
    st.lists(PIECES, max_size=14).map(lambda pieces: "/" + "".join(pieces)),
    st.lists(PIECES, max_size=8).map(lambda pieces: "/kimi/" + "".join(pieces)),
    st.text(st.characters(max_codepoint=255), max_size=60).map(lambda text: f"/{text}"),
)


def decoded(path: str, times: int) -> str:
    """Return *path* decoded so often, overlong UTF-8 too, by code that is not bridge's."""
    data = path.encode("latin-1")
    for _ in range(times):
        out, place = b"", 0
        while place < len(data):
            if data[place : place + 1] == b"%":
                try:
                    out += bytes.fromhex(data[place + 1 : place + 3].decode("ascii"))
                except ValueError:
                    pass
                else:
                    if len(data) >= place + 3:
                        place += 3
                        continue
            out += data[place : place + 1]
            place += 1
        data = out
    data = data.replace(b"\xc0\xae", b".").replace(b"\xc0\xaf", b"/").replace(b"\xc1\x9c", b"\\")
    return data.decode("latin-1")


@given(target=TARGETS, version=st.booleans())
@example(target="/kimi/%2e%2e%3fx", version=False)
@example(target="/kimi/..%00/x", version=False)
@example(target="/kimi/%c0%ae%c0%ae/x", version=True)
@example(target="/kimi/x%0d%0aHost: evil", version=True)
def test_every_target_stays_below_its_provider_or_is_refused(target: str, *, version: bool) -> None:
    """Whoever reads the URL, however often they decode it: the row's host, and below its base.

    No line ends in it, no dot segment is in it, and the provider is the one that the plain first
    segment names.
    """
    head = Head("POST", target, [("anthropic-version", "1")] if version else [])
    try:
        route = choose(head, ROUTES)
        url = route.url
    except Refused:
        return
    first = target.partition("?")[0].lstrip("/").partition("/")[0]
    assert route.provider is ROUTES.providers.get(first, ROUTES.default)
    speaks = [Dialect.ANTHROPIC, Dialect.OPENAI]
    bases = [route.provider.surfaces[each] for each in speaks if each in route.provider.surfaces]
    assert any(url == base or url.startswith(f"{base}/") for base in bases), url
    start = route.start.decode("ascii").split("\r\n")
    assert len(start) == 3
    assert start[1] == f"Host: {url.split('/')[2]}"
    _, sent, version_word = start[0].split(" ")
    assert version_word == "HTTP/1.1"
    assert f"https://{url.split('/')[2]}{sent}" == url
    for times in range(5):
        path = decoded(sent.partition("?")[0], times)
        segments = path.replace("\\", "/").split("/")
        ends = [segment.split(";")[0].split("?")[0].split("#")[0] for segment in segments]
        assert not {".", ".."} & set(ends), path
        assert not any(c < " " or c == "\x7f" for c in path), path


@pytest.mark.parametrize(
    "target",
    ["/kimi/%0d%0aX:%20y", "/kimi/a%00b", "/kimi/%1b[2J", "/kimi/%250a", "/kimi/%25252500"],
)
def test_an_encoded_control_character_is_refused(target: str) -> None:
    """Whoever decodes it ends a line or a text there."""
    with pytest.raises(Refused, match="an encoded control character"):
        check_target(Head("POST", target))


@pytest.mark.parametrize(
    "target",
    [
        "/kimi/%2e%2e%3fx",
        "/kimi/..%23",
        "/kimi/%c0%ae%c0%ae/x",
        "/kimi/..%c0%afx",
        "/a/%252e%3bx/b",
    ],
)
def test_a_dot_segment_in_disguise_is_refused(target: str) -> None:
    """Before an encoded end of the path, or in bytes that only careless decoders accept."""
    with pytest.raises(Refused, match="a dot segment"):
        check_target(Head("POST", target))


@pytest.mark.parametrize("target", ["/kimi/v1/files/a%20b", "/kimi/%C3%A9", "/kimi/a%2Fb?x=%00%0a"])
def test_what_people_encode_passes(target: str) -> None:
    """Blanks, umlauts and slashes in a name; a query is the provider's to read."""
    check_target(Head("GET", target))


@given(target=TARGETS, location=TARGETS)
def test_any_location_leads_somewhere(target: str, location: str) -> None:
    """Whatever an upstream says, there is an answer and no mistake of ours."""
    if not redirect_leaves("https://api.kimi.com/coding/v1/messages", location):
        assert isinstance(first_segment(target, location), str)


@pytest.mark.parametrize(
    ("location", "leaves"),
    [
        ("/coding/v1/messages/", False),
        ("elsewhere", False),
        ("https://api.kimi.com/login", False),
        ("https://API.kimi.com:443/login", False),
        ("https://api.kimi.com:444/login", True),
        ("http://api.kimi.com/login", True),
        ("https://evil.example/", True),
        ("//evil.example/", True),
        ("/\\evil.example/", True),
        ("https:\\\\evil.example", True),
        ("https://api.kimi.com@evil.example/", True),
        ("https://api.kimi.com:bad/", True),
        ("https://[", True),
    ],
)
def test_a_redirect_to_another_origin_is_seen(location: str, leaves: bool) -> None:
    """Another host, scheme or port leads away, however it is written."""
    assert redirect_leaves("https://api.kimi.com/coding/v1/messages", location) is leaves
