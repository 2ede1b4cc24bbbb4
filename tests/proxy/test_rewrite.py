"""Where a request goes, for every form in which a client may ask."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ConfigError, Refused
from bridge.providers import RESERVED_NAMES, Dialect, Provider
from bridge.proxy.head import Head
from bridge.proxy.rewrite import REMEMBERED, Routes, choose, dialect_of
from tests.proxy.rows import NAMES, row, rows

A, B = Dialect.ANTHROPIC, Dialect.OPENAI
ROUTES = Routes.of(rows(), default="kimi")
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
        ("/minimax/responses", "https://api.minimax.io/v1/responses"),
        ("/minimax/v1/responses/r_1?stream=true", "https://api.minimax.io/v1/responses/r_1?stream=true"),
        ("/openrouter/v1/messages/", "https://openrouter.ai/api/v1/messages"),
        ("/zai/v1/messages", "https://api.z.ai/api/anthropic/v1/messages"),
        ("/zai/v4/chat/completions", "https://api.z.ai/api/coding/paas/v4/chat/completions"),
        ("/kimi/v1/usages", "https://api.kimi.com/coding/v1/usages"),
        ("/glm/v1/messages", "https://api.z.ai/api/anthropic/v1/messages"),
        ("/glm/v1/chat/completions", "https://api.z.ai/api/coding/paas/v4/chat/completions"),
        ("/glm/v1/models", "https://api.z.ai/api/coding/paas/v4/models"),
        ("/anthropic/v1/models", "https://api.anthropic.com/v1/models"),
        ("/anthropic/v1/models/claude%2Fx", "https://api.anthropic.com/v1/models/claude%2Fx"),
        ("/anthropic/api/oauth/usage", "https://api.anthropic.com/api/oauth/usage"),
        ("/kimi/v1beta/messages", "https://api.kimi.com/coding/v1/v1beta/messages"),
        ("/unknown/v1/usages", "https://api.kimi.com/coding/v1/unknown/v1/usages"),
        ("/v1", "https://api.kimi.com/coding/v1/"),
        ("/v1/messages?q=%2F..%2F&r=a//b?c", "https://api.kimi.com/coding/v1/messages?q=%2F..%2F&r=a//b?c"),
    ],
)  # fmt: skip
def test_every_form_of_a_path_arrives(target: str, expected: str) -> None:
    """Prefix or not, ``/v1`` or not or twice: the URL is the provider's, raw and with its query."""
    assert url(target) == expected


@given(
    prefix=st.sampled_from(["", *NAMES, "zai"]),
    base=st.sampled_from(["", "/", "/v1", "/v1/", "/v1//", "/v1/v1"]),
    slashes=st.sampled_from(["/", "//"]),
    call=st.sampled_from(
        ["/v1/messages?beta=true", "/v1/messages/count_tokens?beta=true", "/messages", "/v1/models",
         "/chat/completions", "/responses", "/models?limit=1000", "/v1/chat/completions?a=/v1/v1"]
    ),
    anthropic=st.booleans(),
)  # fmt: skip
def test_every_client_arrives_at_every_provider(
    prefix: str, base: str, slashes: str, call: str, *, anthropic: bool
) -> None:
    """Any base URL a person writes, and what a client appends: the right place, one version."""
    target = f"{slashes if prefix else ''}{prefix}{base}{call}"
    head = Head("POST", target, [VERSION] if anthropic else [])
    route = choose(head, ROUTES)
    provider = row({"": "kimi", "zai": "glm"}.get(prefix, prefix))
    assert route.provider == provider
    path, _, query = call.removeprefix("/v1").partition("?")
    wanted = A if "messages" in path or (anthropic and path == "/models") else B
    if path == "/models" and wanted not in provider.surfaces:
        wanted = A if wanted is B else B
    if wanted not in provider.surfaces or (path == "/responses" and not provider.responses):
        with pytest.raises(Refused, match="does not speak"):
            _ = route.url
        return
    root = provider.surfaces[wanted] + ("/v1" if wanted is A else "")
    assert route.url == root + path + (f"?{query}" if query else "")
    assert (route.dialect, route.only_counts) == (wanted, "count_tokens" in path)


@pytest.mark.parametrize(
    ("target", "headers", "expected"),
    [
        ("/glm/v1/models", [VERSION], "https://api.z.ai/api/anthropic/v1/models"),
        ("/glm/v1/models", [], "https://api.z.ai/api/coding/paas/v4/models"),
        ("/cerebras/v1/models", [VERSION], "https://api.cerebras.ai/v1/models"),
        ("/glm/v1/files", [VERSION], "https://api.z.ai/api/anthropic/v1/files"),
        ("/glm/v1/files", [], "https://api.z.ai/api/coding/paas/v4/files"),
    ],
)
def test_what_both_languages_have_is_of_the_one_that_asks(
    target: str, headers: list[tuple[str, str]], expected: str
) -> None:
    """With ``anthropic-version`` it is asked of the Anthropic surface, else of the other."""
    assert url(target, *headers) == expected


@pytest.mark.parametrize(
    ("target", "status", "kind", "words"),
    [
        (
            "/cerebras/v1/messages",
            403,
            "permission_error",
            "cerebras does not speak Anthropic Mess",
        ),
        ("/anthropic/chat/completions", 403, "permission_error", "anthropic does not speak OpenAI"),
        (
            "/kimi/v1/responses",
            400,
            "invalid_request_error",
            "kimi does not speak OpenAI Responses",
        ),
    ],
)
def test_a_surface_that_a_provider_does_not_have_is_refused(
    target: str, status: int, kind: str, words: str
) -> None:
    """The refusal has a status whose text the client shows, and after which it gives up."""
    with pytest.raises(Refused, match=words) as caught:
        url(target)
    assert (caught.value.status, caught.value.kind) == (status, kind)
    assert caught.value.retry_after is None


@pytest.mark.parametrize(
    "target",
    ["/minimaxx/v1/messages", "/k2/chat/completions", "//GLM//v1//models", "/v1beta/messages"],
)
def test_a_name_that_nobody_has_gets_no_ones_answer(target: str) -> None:
    """What was meant for one provider does not go to another; the message names them all."""
    with pytest.raises(Refused, match=r"anthropic, cerebras, .*, or with /v1 for kimi") as caught:
        url(target)
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
    with pytest.raises(ConfigError, match="no provider 'grok': name one of glm, kimi, zai"):
        Routes.of([row("kimi"), row("glm")], default="grok")


def test_the_default_provider_may_go_by_an_alias() -> None:
    """Whatever names it in a path names it there."""
    assert Routes.of([row("glm")], default="zai").default == row("glm")


@pytest.mark.parametrize(
    ("providers", "complaint"),
    [
        ([row("glm"), row("kimi", aliases=("zai",))], "providers.kimi.aliases: 'zai' means glm"),
        ([row("kimi", aliases=("glm",)), row("glm")], "providers.glm: 'glm' means kimi"),
        ([row("kimi"), row("kimi")], "providers.kimi: 'kimi' means kimi"),
        (
            [row("kimi", aliases=("health",))],
            "providers.kimi.aliases: 'health' is a path of bridge",
        ),
        ([row("kimi", aliases=("v1",))], "providers.kimi.aliases: 'v1' is a path of bridge's own"),
    ],
)
def test_a_prefix_means_one_provider(providers: list[Provider], complaint: str) -> None:
    """A collision is told by its key, and so is a name that would hide a path of our own."""
    with pytest.raises(ConfigError, match=complaint):
        Routes.of(providers, default="kimi")


def test_a_name_said_twice_is_no_collision() -> None:
    """A row whose alias is its own name means itself."""
    assert set(Routes.of([row("glm", aliases=("glm", "z"))], default="z").providers) == {"glm", "z"}


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
def test_no_provider_is_called_like_a_path(name: str) -> None:
    """Its prefix could not be told from what it stands before."""
    with pytest.raises(ConfigError, match=f"'{name}' is a path"):
        Routes.of([replace(row("kimi"), name=name)], default=name)


def test_routes_are_remembered_but_not_without_end() -> None:
    """The same question finds the same route; many targets do not fill the memory."""
    routes = Routes.of(rows(), default="kimi")
    first = choose(Head("POST", "/v1/messages"), routes)
    assert choose(Head("POST", "/v1/messages", [("x-app", "cli")]), routes) is first
    for number in range(3 * REMEMBERED):
        choose(Head("GET", f"/v1/models/{number}"), routes)
    assert len(routes.chosen) <= REMEMBERED


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


@pytest.mark.parametrize(
    ("target", "headers", "dialect"),
    [
        ("/anthropic/v1/files", (), A),
        ("/anthropic/v1/models", (), A),
        ("/cerebras/v1/models", (VERSION,), A),
        ("/cerebras/v1/messages", (), A),
        ("/kimi/v1/models", (), B),
    ],
)
def test_an_error_is_worded_for_the_client_that_asks(
    target: str, headers: tuple[tuple[str, str], ...], dialect: Dialect
) -> None:
    """What the client shows of itself counts; else it speaks what the surface speaks."""
    head = Head("GET", target, headers)
    assert dialect_of(head, choose(head, ROUTES)) is dialect


@pytest.mark.parametrize(
    ("target", "location", "leads"),
    [
        ("/kimi/v1/messages", "/minimax/v1/messages", True),
        ("/kimi/v1/messages", "../../minimax/v1/messages", True),
        ("/kimi/v1/messages", "/\\/zai/v1/messages", True),
        ("/v1/messages", "../minimax/v1/messages", True),
        ("/messages", "minimax/messages", True),
        ("//messages", "glm/messages", True),
        ("/kimi/v1/messages", "https://evil.example/", True),
        ("/kimi/v1/messages", "https://api.kimi.com/minimax/login", False),
        ("/kimi/v1/messages", "minimax/messages", False),
        ("/kimi/v1/messages", "/kimi/v1/messages/", False),
        ("/kimi/v1/messages", "/coding/v1/messages/", False),
    ],
)
def test_a_redirect_to_another_provider_is_seen(target: str, location: str, leads: bool) -> None:
    """A client reads a path as one of ours, where another provider's credential would be added."""
    assert choose(Head("POST", target), ROUTES).leads_away(target, location) is leads
