"""The rows: the catalogue as the specification has it, and as a person's file changes it."""

from __future__ import annotations

import tomllib

import pytest

from bridge.config.schema import FIELDS
from bridge.config.toml import read
from bridge.providers import Auth, Dialect, KeyHeader, KeyPlace, Models, Provider, url_mistake
from bridge.service.settings import catalogue
from tests.configured import configured, row

BUILT_IN = tuple(configured().providers.values())


def named(provider: Provider) -> str:
    """The name of a row, for the name of a test."""
    return provider.name


def test_the_catalogue() -> None:
    """Every provider of the specification is there, with its surfaces, models and key places."""
    told = {
        provider.name: (
            str(provider.auth),
            dict(provider.surfaces),
            (provider.models.primary, provider.models.fast),
            [place.env or place.file for place in provider.keys],
        )
        for provider in BUILT_IN
    }
    anthropic, openai = Dialect.ANTHROPIC, Dialect.OPENAI
    assert told == {
        "kimi": (
            "oauth",
            {
                anthropic: "https://api.kimi.com/coding",
                openai: "https://api.kimi.com/coding/v1",
            },
            ("kimi-k2.5", "kimi-k2.5"),
            ["KIMI_CODE_API_KEY", "KIMI_API_KEY", "~/.KimiAZ1.api.key"],
        ),
        "minimax": (
            "key",
            {
                anthropic: "https://api.minimax.io/anthropic",
                openai: "https://api.minimax.io/v1",
            },
            ("MiniMax-M2.5", "MiniMax-M2.5"),
            ["MINIMAX_API_KEY", "~/.MiniMaxAZ1.api.key"],
        ),
        "deepseek": (
            "key",
            {
                anthropic: "https://api.deepseek.com/anthropic",
                openai: "https://api.deepseek.com/v1",
            },
            ("deepseek-reasoner", "deepseek-chat"),
            ["DEEPSEEK_API_KEY", "~/.DeepSeekAZ1.api.key"],
        ),
        "glm": (
            "key",
            {
                anthropic: "https://api.z.ai/api/anthropic",
                openai: "https://api.z.ai/api/coding/paas/v4",
            },
            ("glm-4.7", "glm-4.5-air"),
            ["ZAI_API_KEY", "GLM_API_KEY", "~/.GLMAZ1.api.key"],
        ),
        "openrouter": (
            "key",
            {anthropic: "https://openrouter.ai/api", openai: "https://openrouter.ai/api/v1"},
            ("anthropic/claude-sonnet-4", "anthropic/claude-sonnet-4"),
            ["OPENROUTER_API_KEY", "~/.OpenRouterAZ1.api.key"],
        ),
        "cerebras": (
            "key",
            {openai: "https://api.cerebras.ai/v1"},
            ("zai-glm-4.7", "zai-glm-4.7"),
            ["CEREBRAS_API_KEY", "~/.CerebrasAZ1.api.key"],
        ),
        "anthropic": (
            "passthrough",
            {anthropic: "https://api.anthropic.com"},
            ("", ""),
            ["ANTHROPIC_API_KEY"],
        ),
    }


@pytest.mark.parametrize("provider", BUILT_IN, ids=named)
def test_a_built_in_row(provider: Provider) -> None:
    """A row of ours goes only to https, has a title, and a window that is a plausible one."""
    for url in provider.surfaces.values():
        assert url.startswith("https://")
        assert not url_mistake(url)
    assert provider.title
    assert provider.context is None or 100_000 <= provider.context <= 2_000_000
    assert provider.responses == (provider.name == "minimax")
    assert (provider.oauth is not None) == (provider.name == "kimi")
    bearer = provider.name != "anthropic"
    assert provider.key_header is (KeyHeader.BEARER if bearer else KeyHeader.API_KEY)


def test_the_catalogue_is_in_the_language_of_the_file() -> None:
    """What stands in the catalogue could stand in a person's file, and means the same there."""
    assert dict(configured(catalogue()).providers) == dict(configured().providers)
    fields = {key.path[2] for key in FIELDS}
    for fields_of_row in tomllib.loads(catalogue())["providers"].values():
        assert fields_of_row.keys() <= fields
    assert set(read(catalogue()).values) == {"providers"}


def test_the_other_region() -> None:
    """The global region changes both hosts, never one of them, and says why."""
    config = configured("providers.kimi.region = 'global'")
    kimi = config.providers["kimi"]
    assert kimi.oauth is not None
    assert kimi.oauth.token_endpoint == "https://auth.kimi.ai/api/oauth/token"
    assert kimi.surfaces == {
        Dialect.ANTHROPIC: "https://api.kimi.ai/coding",
        Dialect.OPENAI: "https://api.kimi.ai/coding/v1",
    }
    assert config.origins["providers.kimi.openai"] == "region global"


@pytest.mark.parametrize("region", ["cn", "global"])
@pytest.mark.parametrize(
    ("environment", "host", "base"),
    [
        ({"KIMI_OAUTH_HOST": "https://a.example/"}, "https://a.example", None),
        (
            {"KIMI_CODE_OAUTH_HOST": "https://b.example", "KIMI_OAUTH_HOST": "https://a.example"},
            "https://b.example",
            None,
        ),
        ({"KIMI_CODE_OAUTH_HOST": ""}, None, None),
        (
            {"KIMI_CODE_BASE_URL": "http://127.0.0.1:9/coding/v1/"},
            None,
            "http://127.0.0.1:9/coding",
        ),
        ({"KIMI_CODE_BASE_URL": "https://c.example"}, None, "https://c.example"),
    ],
)
def test_variables_of_the_official_cli(
    region: str, environment: dict[str, str], host: str | None, base: str | None
) -> None:
    """They count as they do there, in either region; empty falls through."""
    end = {"cn": "com", "global": "ai"}[region]
    kimi = row("kimi", f"providers.kimi.region = '{region}'", environment)
    assert kimi.oauth is not None
    assert kimi.oauth.host == (host or f"https://auth.kimi.{end}")
    base = base or f"https://api.kimi.{end}/coding"
    assert kimi.surfaces == {Dialect.ANTHROPIC: base, Dialect.OPENAI: f"{base}/v1"}


def test_a_variable_wins_over_the_file() -> None:
    """The environment overrides a place that the file names, and the file the region's."""
    text = "providers.kimi.anthropic = 'https://file.example'"
    assert row("kimi", text).surfaces[Dialect.ANTHROPIC] == "https://file.example"
    variable = {"KIMI_CODE_BASE_URL": "https://env.example"}
    assert row("kimi", text, variable).surfaces[Dialect.ANTHROPIC] == "https://env.example"


def test_a_row_of_ones_own() -> None:
    """The example of the specification is a provider of its own, behind those built in."""
    config = configured(
        """
        [providers.minimax]
        key = { file = "~/.MiniMaxAZ1.api.key" }
        [providers.my-gateway]
        anthropic = "https://llm.example.org"
        key = { env = "MY_KEY" }
        models = { primary = "big-model", fast = "small-model" }
        """
    )
    mine = config.providers["my-gateway"]
    assert mine.auth is Auth.KEY
    assert mine.title == "my-gateway"
    assert mine.surfaces == {Dialect.ANTHROPIC: "https://llm.example.org"}
    assert mine.models == Models("big-model", "small-model")
    assert mine.keys == (KeyPlace(env="MY_KEY"),)
    assert (mine.context, mine.timeout_seconds, mine.counts_tokens) == (None, 3000.0, True)
    assert config.providers["minimax"].keys == (KeyPlace(file="~/.MiniMaxAZ1.api.key"),)
    assert tuple(config.providers) == (*(provider.name for provider in BUILT_IN), "my-gateway")


def test_every_field() -> None:
    """A file that sets every field of a row is taken at its word."""
    mine = row(
        "mine",
        """
        [providers.mine]
        title = "My own"
        aliases = ["own"]
        auth = "key"
        anthropic = "http://localhost:1/"
        openai = "https://h/v1"
        responses = true
        counts_tokens = false
        key = [{ env = "A" }, { command = ["pass", "k"] }]
        key_header = "x-api-key"
        key_prefixes = ["sk-"]
        models = { primary = "p", fast = "f", opus = "o", sonnet = "s", haiku = "h" }
        context = 200000
        timeout_seconds = 600
        headers = { X-Team = "blue" }
        quirks = { no_images = true }
        proxy = ""
        ca_file = "~/ca.pem"
        """,
    )
    assert mine == Provider(
        name="mine",
        title="My own",
        aliases=("own",),
        auth=Auth.KEY,
        surfaces={Dialect.ANTHROPIC: "http://localhost:1", Dialect.OPENAI: "https://h/v1"},
        responses=True,
        counts_tokens=False,
        keys=(KeyPlace(env="A"), KeyPlace(command=("pass", "k"))),
        key_header=KeyHeader.API_KEY,
        key_prefixes=("sk-",),
        models=Models("p", "f", "o", "s", "h"),
        context=200000,
        timeout_seconds=600.0,
        headers={"X-Team": "blue"},
        quirks={"no_images": True},
        proxy="",
        ca_file="/home/ada/ca.pem",
    )


def test_one_model_alone() -> None:
    """One model named leaves those of the catalogue; in a row of one's own it is both."""
    assert row("glm", 'providers.glm.models.primary = "x"').models == Models("x", "glm-4.5-air")
    text = "[providers.a]\nopenai = 'https://h/v1'\nkey = { env = 'A' }\nmodels.primary = 'm'"
    assert row("a", text).models == Models("m", "m")


def test_a_surface_taken_away() -> None:
    """An empty text takes a surface away."""
    assert row("glm", "providers.glm.openai = ''").surfaces.keys() == {Dialect.ANTHROPIC}


def test_keys_instead_of_what_is_built_in() -> None:
    """Kimi with a console key and Anthropic with one of its own are a word each."""
    assert row("kimi", "providers.kimi.auth = 'key'").auth is Auth.KEY
    text = "[providers.anthropic]\nauth = 'key'\nkey = { file = '/k' }"
    assert row("anthropic", text).keys == (KeyPlace(file="/k"),)


def test_an_alias_set_free() -> None:
    """An alias of ours that a person takes away can be a provider of theirs."""
    text = (
        "[providers.glm]\naliases = []\n"
        "[providers.zai]\nopenai = 'https://h/v1'\nkey = { env = 'A' }"
    )
    assert row("zai", text).surfaces == {Dialect.OPENAI: "https://h/v1"}
