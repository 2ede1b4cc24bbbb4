"""Where a request goes, for every form in which a client may ask."""

from __future__ import annotations

from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ConfigError, Refused
from bridge.providers import Dialect, Provider
from bridge.proxy.head import Head
from bridge.proxy.rewrite import Routes, choose, dialect_of, outbound, redirect_leaves
from tests.proxy.doorway import provider

A, B = Dialect.ANTHROPIC, Dialect.OPENAI
KIMI = provider("https://api.kimi.com")
GLM = provider(
    "https://api.z.ai",
    name="glm",
    surfaces=MappingProxyType(
        {A: "https://api.z.ai/api/anthropic", B: "https://api.z.ai/api/coding/paas/v4"}
    ),
)
CLAUDE = provider(
    "https://unused", name="anthropic", surfaces=MappingProxyType({A: "https://api.anthropic.com"})
)
CEREBRAS = provider(
    "https://unused", name="cerebras", surfaces=MappingProxyType({B: "https://api.cerebras.ai/v1"})
)
ROUTES = Routes.of([KIMI, GLM, CLAUDE, CEREBRAS], default="kimi")
VERSION = ("anthropic-version", "2023-06-01")


def url(target: str, *headers: tuple[str, str], method: str = "POST") -> str:
    """Return where a request for *target* is sent."""
    return choose(Head(method, target, headers), ROUTES).url


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/v1/messages?beta=true", "https://api.kimi.com/coding/v1/messages?beta=true"),
        ("/kimi/v1/messages?beta=true", "https://api.kimi.com/coding/v1/messages?beta=true"),
        ("/kimi/messages", "https://api.kimi.com/coding/v1/messages"),
        ("/kimi/v1/v1/messages", "https://api.kimi.com/coding/v1/messages"),
        ("//kimi//v1//messages", "https://api.kimi.com/coding/v1/messages"),
        ("/kimi/v1/messages/count_tokens", "https://api.kimi.com/coding/v1/messages/count_tokens"),
        ("/kimi/v1/chat/completions", "https://api.kimi.com/coding/v1/chat/completions"),
        ("/kimi/responses", "https://api.kimi.com/coding/v1/responses"),
        ("/kimi/responses/r_1?stream=true", "https://api.kimi.com/coding/v1/responses/r_1?stream=true"),
        ("/kimi/v1/usages", "https://api.kimi.com/coding/v1/usages"),
        ("/glm/v1/messages", "https://api.z.ai/api/anthropic/v1/messages"),
        ("/glm/v1/chat/completions", "https://api.z.ai/api/coding/paas/v4/chat/completions"),
        ("/glm/v1/models", "https://api.z.ai/api/coding/paas/v4/models"),
        ("/anthropic/v1/models", "https://api.anthropic.com/v1/models"),
        ("/anthropic/v1/models/claude%2Fx", "https://api.anthropic.com/v1/models/claude%2Fx"),
        ("/anthropic/api/oauth/usage", "https://api.anthropic.com/api/oauth/usage"),
        ("/kimi/v1beta/messages", "https://api.kimi.com/coding/v1/v1beta/messages"),
        ("/unknown/v1/messages", "https://api.kimi.com/coding/v1/unknown/v1/messages"),
        ("/v1/messages?q=%2F..%2F&r=a//b?c", "https://api.kimi.com/coding/v1/messages?q=%2F..%2F&r=a//b?c"),
    ],
)  # fmt: skip
def test_every_form_of_a_path_arrives(target: str, expected: str) -> None:
    """Prefix or not, ``/v1`` or not or twice: the URL is the provider's, raw and with its query."""
    assert url(target) == expected


@given(
    prefix=st.sampled_from(["", "/kimi", "/glm", "//kimi/"]),
    versions=st.lists(st.sampled_from(["/v1", "//v1"]), max_size=3).map("".join),
    surface=st.sampled_from(
        ["/messages", "/messages/count_tokens", "/chat/completions", "/responses", "/models"]
    ),
    anthropic=st.booleans(),
)
def test_exactly_one_version_whatever_the_client_sends(
    prefix: str, versions: str, surface: str, anthropic: bool
) -> None:
    """There is one version segment in the URL, and it is the one of the surface's base."""
    sent = url(prefix + versions + surface, *([VERSION] if anthropic else []))
    is_openai = not surface.startswith("/messages") and not (anthropic and surface == "/models")
    version = "v4" if "glm" in prefix and is_openai else "v1"
    assert sent.endswith(f"/{version}{surface}")
    assert [part for part in sent.split("/") if part in {"v1", "v4"}] == [version]


def test_a_model_list_is_of_the_dialect_that_asks() -> None:
    """With ``anthropic-version`` it is asked of the Anthropic surface, without of the other."""
    assert url("/glm/v1/models", VERSION) == "https://api.z.ai/api/anthropic/v1/models"
    assert url("/cerebras/v1/models", VERSION) == "https://api.cerebras.ai/v1/models"


def test_a_surface_that_a_provider_does_not_have_is_refused() -> None:
    """The refusal has a status whose text agents show."""
    with pytest.raises(Refused, match="cerebras does not speak Anthropic Messages") as caught:
        url("/cerebras/v1/messages")
    assert caught.value.status == 403


@pytest.mark.parametrize(
    "target",
    [
        "*", "", "kimi/v1/messages", "http://127.0.0.1/v1/messages", "api.kimi.com:443",
        "/kimi/../v1/messages", "/kimi/./messages", "/kimi/..", "/kimi/%2e%2e/x", "/kimi/.%2E/x",
        "/kimi/..%2fx", "/kimi/%2e%2e%5cx", "/kimi/%252e%252e/x", "/kimi/..;a=b/x", "/kimi/..%3bx",
        "/kimi\\..\\x", "/kimi/v1/mess\\ages", "/kimi/a b", "/kimi/caf\xe9", "/kimi/v1#x", "/a\x00",
    ],
)  # fmt: skip
def test_a_target_that_could_mean_another_place_is_refused(target: str) -> None:
    """No absolute form, no dot segment however it is encoded, nothing unprintable: 400."""
    with pytest.raises(Refused, match="the request target ") as caught:
        url(target)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "target", ["/kimi/v1/a..b", "/kimi/...", "/kimi/.well-known", "/a%2Fb", "/100%2525252525"]
)
def test_dots_that_are_no_segment_pass(target: str) -> None:
    """Only whole segments of one or two dots are suspicious."""
    assert url(target).startswith("https://api.kimi.com/coding")


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
def test_methods_that_would_show_the_credential_are_refused(method: str) -> None:
    """A tunnel or an echo of the request is nobody's business."""
    with pytest.raises(Refused, match=method):
        url("/kimi/v1/messages", method=method)


def test_the_default_provider_must_exist() -> None:
    """A configuration that names another is wrong, and is told which there are."""
    with pytest.raises(ConfigError, match="no provider 'grok': name one of glm, kimi"):
        Routes.of([KIMI, GLM], default="grok")


@pytest.mark.parametrize(
    ("target", "headers", "dialect"),
    [
        ("/kimi/v1/messages", (), A),
        ("/kimi/v1/chat/completions", (VERSION,), B),
        ("/kimi/responses?x=/messages", (), B),
        ("/anything", (VERSION,), A),
        ("/anything", (), B),
        ("http://[", (), B),
    ],
)
def test_an_error_has_a_language_even_without_a_route(
    target: str, headers: tuple[tuple[str, str], ...], dialect: Dialect
) -> None:
    """The surface in the path decides, then ``anthropic-version``."""
    assert dialect_of(Head("POST", target, headers)) is dialect


def test_outbound_is_url_and_headers() -> None:
    """A request leaves with its provider's URL and credential."""
    head = Head("POST", "/messages", (("x-api-key", "dummy"),))
    assert outbound(head, choose(head, ROUTES), "fresh", "") == (
        "https://api.kimi.com/coding/v1/messages",
        [("Authorization", "Bearer fresh")],
    )


@pytest.mark.parametrize(
    ("target", "counts"),
    [
        ("/v1/messages/count_tokens?beta=true", True),
        ("/glm/messages/count_tokens", True),
        ("/v1/messages", False),
        ("/v1/messages/count_tokens_not", False),
    ],
)
def test_only_counting_may_be_asked_twice(target: str, counts: bool) -> None:
    """Counting tokens changes nothing; making a message costs."""
    assert choose(Head("POST", target, ()), ROUTES).only_counts is counts


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


def test_a_row_that_is_not_told_apart() -> None:
    """Routes know a provider by every prefix they are given, so that aliases need no code."""
    providers: dict[str, Provider] = {"glm": GLM, "zai": GLM}
    routes = Routes(MappingProxyType(providers), KIMI)
    assert choose(Head("POST", "/zai/messages", ()), routes).provider is GLM
