"""Which way leads to a place: by environment, by configuration, and for single providers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined] # not in typeshed

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ConfigError
from bridge.providers import Auth, Dialect, Models, OAuth, Provider
from bridge.way import Outbound, Way, outbound


def provider(
    name: str = "minimax",
    url: str = "https://api.example.test/anthropic",
    *,
    proxy: str | None = None,
    ca_file: str | None = None,
    oauth: OAuth | None = None,
) -> Provider:
    """Return a row with its own way out."""
    return Provider(
        name=name,
        auth=Auth.KEY,
        surfaces=MappingProxyType({Dialect.ANTHROPIC: url}),
        models=Models("m", "m"),
        oauth=oauth,
        proxy=proxy,
        ca_file=ca_file,
    )


def test_nothing_set_is_a_direct_connection() -> None:
    """Without settings there is no proxy and no further authority."""
    assert outbound({}) == Outbound({"https": "", "http": ""}, "", None)
    assert outbound({}).proxy_for("https://api.kimi.com") is None


@pytest.mark.parametrize(
    ("environment", "https", "http"),
    [
        ({"HTTPS_PROXY": "http://p:1"}, "http://p:1", None),
        ({"https_proxy": "http://p:1", "HTTPS_PROXY": "http://q:1"}, "http://p:1", None),
        ({"ALL_PROXY": "http://p:1"}, "http://p:1", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "all_proxy": "http://q:1"}, "http://p:1", "http://q:1"),
        ({"http_proxy": "http://p:1"}, None, "http://p:1"),
        ({"HTTP_PROXY": "http://p:1"}, None, None),
        ({"HTTPS_PROXY": ""}, None, None),
    ],
)
def test_proxy_variables(
    environment: Mapping[str, str], https: str | None, http: str | None
) -> None:
    """The usual variables count, small letters first; ``HTTP_PROXY`` is for CGI to set, not us."""
    settings = outbound(environment)
    assert settings.proxy_for("https://api.kimi.com") == https
    assert settings.proxy_for("http://api.kimi.com") == http


def test_configuration_wins() -> None:
    """What the configuration says counts more than the environment."""
    environment = {"HTTPS_PROXY": "http://e:1", "SSL_CERT_FILE": "/e.pem"}
    settings = outbound(environment, proxy="http://c:2", ca_file="/c.pem")
    assert settings.proxy_for("https://api.kimi.com") == "http://c:2"
    assert settings.ca_file == "/c.pem"
    assert outbound(environment).ca_file == "/e.pem"


@pytest.mark.parametrize(
    ("no_proxy", "proxied"),
    [
        ("", True),
        ("api.kimi.com", False),
        ("kimi.com", False),
        (".kimi.com", False),
        ("example.org, api.kimi.com", False),
        ("*", False),
        ("imi.com", True),
        ("kimi.com.evil.test", True),
    ],
)
def test_no_proxy(no_proxy: str, proxied: bool) -> None:
    """``NO_PROXY`` names hosts and domains that are asked directly."""
    settings = outbound({"HTTPS_PROXY": "http://p:1", "NO_PROXY": no_proxy})
    assert (settings.proxy_for("https://api.kimi.com/coding") is not None) == proxied


_NAMES = st.lists(st.sampled_from(["a", "B", ".", "..", "*", " ", ",", "1", "-"]), max_size=8)


@given(_NAMES.map("".join), _NAMES.map("".join))
def test_no_proxy_as_the_standard_library_reads_it(host: str, no_proxy: str) -> None:
    """It means what it means to every other Python program."""
    host = f"h{host.translate(dict.fromkeys(map(ord, ' ,*')))}".lower()
    settings = outbound({"HTTPS_PROXY": "http://p:1", "NO_PROXY": no_proxy})
    bypassed = proxy_bypass_environment(host, {"no": no_proxy})
    assert (settings.proxy_for(f"https://{host}/") is None) == bypassed


@pytest.mark.parametrize("host", ["127.0.0.1:18462", "localhost", "[::1]:80", "LOCALHOST"])
def test_loopback_is_never_proxied(host: str) -> None:
    """What runs on this machine is nobody else's business, whatever the variables say."""
    settings = outbound({"ALL_PROXY": "http://p:1", "http_proxy": "http://p:1"})
    assert settings.proxy_for(f"http://{host}/v1") is None


@pytest.mark.parametrize(
    "proxy",
    ["p:3128", "https://user:PROXYsecret@p:3128",
     "user:PROXYsecret@p:3128", "socks5://user:PROXYsecret@p:1080", "http://", "http://[p",
     "http://user:PROXYsecret@p:99999", "PROXYsecret", "//p:1", "http://PROXYsecret p:1",
     "http://user\\PROXYsecret:1", "http://p:PROXYsecret", "HTTPS://p:1"],
)  # fmt: skip
def test_unusable_proxy(proxy: str) -> None:
    """A proxy that cannot be used is a mistake in the configuration; no part of it is shown."""
    for settings in ({"proxy": proxy}, {"environment": {"HTTPS_PROXY": proxy}}):
        with pytest.raises(ConfigError, match="write http://HOST:PORT") as caught:
            outbound(**{"environment": {}, **settings})  # type: ignore[arg-type] # mixed values
        assert "secret" not in str(caught.value)


def test_route_of_traffic() -> None:
    """Traffic goes the way that login and refresh go, whatever is in its path."""
    settings = outbound({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "example.org"})
    proxied = settings.route(urlsplit("https://api.kimi.com/a%2Fb?q=%20"))
    assert proxied == urlsplit("http://p:1")
    assert settings.route(urlsplit("https://example.org/")) is None
    assert settings.route(urlsplit("https://localhost/")) is None


# --- single providers


def test_a_provider_with_a_proxy_of_its_own() -> None:
    """What a provider has for itself holds for its hosts and no other, whatever they ask for."""
    own = provider(proxy="http://own:1", oauth=OAuth("https://auth.example.test:8443", "id"))
    settings = outbound(
        {"HTTPS_PROXY": "http://p:1"}, providers=[own, provider("b", "https://b.test")]
    )
    assert settings.route(urlsplit("https://api.example.test/v1/x?y")) == urlsplit("http://own:1")
    assert settings.proxy_for("https://auth.example.test:8443/api") == "http://own:1"
    assert settings.proxy_for("https://auth.example.test/api") == "http://p:1"
    assert settings.proxy_for("https://b.test/") == "http://p:1"


def test_an_own_proxy_is_meant() -> None:
    """``NO_PROXY`` is about everybody's proxy; a provider's own is used all the same."""
    environment = {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "example.test"}
    url = "https://api.example.test/"
    assert outbound(environment, providers=[provider()]).proxy_for(url) is None
    own = outbound(environment, providers=[provider(proxy="http://own:1")])
    assert own.proxy_for(url) == "http://own:1"


def test_no_proxy_for_one_provider() -> None:
    """An empty proxy asks this provider directly where all others go through one."""
    settings = outbound({"HTTPS_PROXY": "http://p:1"}, providers=[provider(proxy="")])
    assert settings.proxy_for("https://api.example.test/") is None
    assert settings.proxy_for("https://other.test/") == "http://p:1"


def test_a_provider_on_loopback() -> None:
    """A local server is asked directly, also where its row names a proxy."""
    settings = outbound({}, providers=[provider(url="http://127.0.0.1:1", proxy="http://own:1")])
    assert settings.proxy_for("http://127.0.0.1:1/v1") is None


def test_what_is_everybodys_is_said_once() -> None:
    """Rows without anything of their own leave the settings as they are."""
    assert outbound({}, providers=[provider()]) == outbound({})
    ways = outbound({}, providers=[provider(ca_file="/c.pem")]).ways
    assert ways == {("api.example.test", 443): Way(ca_file="/c.pem")}


@pytest.mark.parametrize("proxy", ["https://user:PROXYsecret@p:1", "p:1", "http://"])
def test_unusable_proxy_of_a_provider(proxy: str) -> None:
    """A provider's proxy that cannot be used is told with its key, and no part of it is shown."""
    with pytest.raises(
        ConfigError, match=r"providers\.minimax\.proxy: .*write http://HOST:PORT"
    ) as caught:
        outbound({}, providers=[provider(proxy=proxy)])
    assert "secret" not in str(caught.value)


def test_two_ways_to_one_place() -> None:
    """Two rows with one host cannot go there in two ways: nobody could tell which is meant."""
    rows = [provider("a"), provider("b", proxy="http://own:1")]
    with pytest.raises(
        ConfigError, match=r"providers\.b: api\.example\.test is also the host of"
    ) as caught:
        outbound({}, providers=rows)
    assert "own:1" not in str(caught.value)
    assert outbound({}, providers=[rows[1], provider("c", proxy="http://own:1")]).ways


def test_settings_show_no_password() -> None:
    """The description of the settings is safe to be logged."""
    rows = [provider(proxy="http://user:PROXYsecret@p:1")]
    settings = outbound({}, "http://user:PROXYsecret@q:1", providers=rows)
    assert "secret" not in repr(settings)
