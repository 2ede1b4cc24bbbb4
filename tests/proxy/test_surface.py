"""What paths ask for, and where they arrive, for every client, provider and surface."""

from __future__ import annotations

from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.providers import Dialect
from bridge.proxy.surface import Asked, Surface, find, join, lack
from tests.proxy.rows import CATALOGUE, NAMES, row, rows

A, B = Dialect.ANTHROPIC, Dialect.OPENAI
#: What clients append to their base URL, and the surface they mean by it.
CALLS = {
    "/messages": A,
    "/messages/count_tokens": A,
    "/messages/batches/msgbatch_1/results": A,
    "/models": A,
    "/models/claude%2Fx": A,
    "/chat/completions": B,
    "/responses": B,
    "/responses/resp_1/input_items": B,
    "/models/": B,
}
#: Where each surface of the catalogue expects its calls: with its one version.
ROOTS = {
    ("kimi", A): "https://api.kimi.com/coding/v1",
    ("kimi", B): "https://api.kimi.com/coding/v1",
    ("minimax", A): "https://api.minimax.io/anthropic/v1",
    ("minimax", B): "https://api.minimax.io/v1",
    ("deepseek", A): "https://api.deepseek.com/anthropic/v1",
    ("deepseek", B): "https://api.deepseek.com/v1",
    ("glm", A): "https://api.z.ai/api/anthropic/v1",
    ("glm", B): "https://api.z.ai/api/coding/paas/v4",
    ("openrouter", A): "https://openrouter.ai/api/v1",
    ("openrouter", B): "https://openrouter.ai/api/v1",
    ("cerebras", B): "https://api.cerebras.ai/v1",
    ("anthropic", A): "https://api.anthropic.com/v1",
}
slashes = st.integers(1, 3).map(lambda number: "/" * number)


def test_every_surface_of_the_catalogue_is_in_the_tables() -> None:
    """None is left out of what follows."""
    assert set(ROOTS) == {
        (name, dialect) for name, row in CATALOGUE.items() for dialect in row.surfaces
    }


@given(
    surface=st.sampled_from(sorted(ROOTS)),
    call=st.sampled_from(sorted(CALLS)),
    versions=st.lists(st.sampled_from(["v1", "v1", "v4", "v2"]), max_size=3),
    separators=st.lists(slashes, min_size=12, max_size=12),
    tail=st.sampled_from(["", "/", "//"]),
)
def test_exactly_one_version_arrives_whatever_the_client_sends(
    surface: tuple[str, Dialect], call: str, versions: list[str], separators: list[str], tail: str
) -> None:
    """No version, one, many or a wrong one, slashes doubled or trailing: the URL is the same."""
    name, dialect = surface
    if CALLS[call] is not dialect:
        return
    parts = zip(separators, [*versions, *call.strip("/").split("/")], strict=False)
    path = "".join(f"{separator}{part}" for separator, part in parts) + tail
    base = CATALOGUE[name].surfaces[dialect]
    assert join(base, find(path), dialect) == ROOTS[surface] + call.rstrip("/")


@pytest.mark.parametrize(
    "base", ["https://h/x", "https://h/x/", "https://h/x/v1", "https://h/x/v1/"]
)
def test_an_anthropic_base_may_have_a_version_too_much(base: str) -> None:
    """People copy it with ``/v1``; there is still exactly one."""
    assert join(base, find("/v1/messages"), A) == "https://h/x/v1/messages"


def test_an_openai_base_without_a_version_stays_without() -> None:
    """Some gateways have none, and only the configuration knows."""
    assert join("https://gw.example.org/", find("/v1/chat/completions"), B) == (
        "https://gw.example.org/chat/completions"
    )


@pytest.mark.parametrize(
    ("base", "dialect", "path", "url"),
    [
        ("https://h", A, "/v1/files", "https://h/v1/files"),
        ("https://h", A, "//v1//v1//files/", "https://h/v1/files/"),
        ("https://h", A, "/api/oauth/usage", "https://h/api/oauth/usage"),
        ("https://h", A, "/v1", "https://h/v1/"),
        ("https://h/v4", B, "/v1/embeddings", "https://h/v4/embeddings"),
        ("https://h/v4", B, "/v4/v1/embeddings", "https://h/v4/embeddings"),
        ("https://h/v4", B, "/a//b/", "https://h/v4/a//b/"),
        ("https://h/v1", B, "/v4/embeddings", "https://h/v1/v4/embeddings"),
        ("https://h/v1", B, "/v1beta/messages", "https://h/v1/v1beta/messages"),
        ("https://h/x.y", B, "/x.y/embeddings", "https://h/x.y/x.y/embeddings"),
        ("https://h/v1", B, "/", "https://h/v1/"),
    ],
)  # fmt: skip
def test_a_path_of_no_known_surface_is_hardly_touched(
    base: str, dialect: Dialect, path: str, url: str
) -> None:
    """It gets no version, loses only one that the base has already, and stays raw."""
    assert join(base, find(path), dialect) == url


@pytest.mark.parametrize(
    ("path", "surface"),
    [
        ("/v1/messages", Surface.MESSAGES),
        ("/messagesx", Surface.OTHER),
        ("/v1/chat", Surface.OTHER),
        ("/v1/chat/completions/1", Surface.CHAT),
        ("/responses/r", Surface.RESPONSES),
        ("/v1/models", Surface.MODELS),
        ("/v1", Surface.OTHER),
        ("/", Surface.OTHER),
        ("/v100/messages", Surface.OTHER),
        ("/x/messages", Surface.OTHER),
    ],
)
def test_a_surface_is_known_by_its_whole_segments(path: str, surface: Surface) -> None:
    """What merely begins like one is none."""
    assert find(path).surface is surface


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("/v1/messages/count_tokens/", True),
        ("/messages//count_tokens", True),
        ("/messages", False),
        ("/messages/count_tokens/x", False),
    ],
)
def test_counting_tokens_is_known(path: str, counts: bool) -> None:
    """It is asked in bursts, changes nothing, and can be answered by an estimate."""
    assert find(path).counts_tokens is counts


@given(st.text("/v1m.%-", max_size=12).map(lambda text: f"/{text}"))
def test_whatever_is_asked_stays_below_the_base(path: str) -> None:
    """Joining never leads out of what the configuration names."""
    for dialect in Dialect:
        assert join("https://h/x", find(path), dialect).startswith("https://h/x/")


def lacks(name: str, asked: Asked, dialect: Dialect) -> str:
    """Return why the row called *name* cannot answer."""
    return lack(row(name), asked.surface, dialect, rows())


def test_who_lacks_a_surface_is_told_what_to_do() -> None:
    """The advice names what works now: a provider with that model, others, another client."""
    messages, chat, responses = find("/messages"), find("/chat/completions"), find("/responses")
    begin = "does not speak"
    end = "and bridge does not translate yet: use"
    assert lacks("cerebras", messages, A) == (
        f"cerebras {begin} Anthropic Messages, {end} glm for this model (claude-glm), "
        "or an OpenAI client"
    )
    assert lacks("anthropic", chat, B) == (
        f"anthropic {begin} OpenAI Chat, {end} another provider "
        "(cerebras, deepseek, glm, kimi, minimax, openrouter), or an Anthropic client"
    )
    assert lacks("kimi", responses, B) == (
        f"kimi {begin} OpenAI Responses, {end} another provider (minimax), "
        "or an Anthropic client, or a client of OpenAI Chat "
        "(or set providers.kimi.responses = true)"
    )


def test_who_is_alone_is_told_so_too() -> None:
    """There is always something to do."""
    alone = row("cerebras", surfaces=MappingProxyType({}))
    assert lack(alone, Surface.OTHER, B, [alone]) == (
        "cerebras does not speak to this client, and bridge does not translate yet: "
        "use another provider"
    )


@pytest.mark.parametrize("name", NAMES)
def test_who_has_a_surface_lacks_nothing(name: str) -> None:
    """An empty word means that all is well."""
    for dialect in CATALOGUE[name].surfaces:
        assert lacks(name, find("/v1/models"), dialect) == ""
    assert (lacks(name, find("/responses"), B) == "") is CATALOGUE[name].responses
