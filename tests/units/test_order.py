"""What goes along to a service: what the daemon needs, and never a key."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bridge.providers import Auth, KeyPlace, Models, Provider
from bridge.units import order

HOME = {"HOME": "/home/me"}
ROW = Provider(name="p", auth=Auth.KEY, surfaces={}, models=Models("a", "b"))
PASSWORD = "http://me:secret@proxy:3128"


def carried(environment: dict[str, str], **options: object) -> dict[str, str]:
    """What goes along of *environment*."""
    return order.carried(HOME | environment, options, "/home/me/")


def test_nothing() -> None:
    """Of a plain shell nothing goes along."""
    assert carried({"PATH": "/bin", "LANG": "C", "BRIDGE_TEST_FULL": "1", "TERM": "x"}) == {}


def test_places() -> None:
    """What changes where the files are, and who is asked, goes along; what is default does not."""
    environment = {
        "BRIDGE_CONFIG": "/etc/bridge.toml",
        "KIMI_SHARE_DIR": "/home/me/kimi",
        "XDG_STATE_HOME": "/home/me/state/",
        "HTTPS_PROXY": "http://proxy:3128",
        "NO_PROXY": "localhost",
        "BRIDGE_DRAIN_SECONDS": "5",
    }
    default = {"XDG_CONFIG_HOME": "/home/me/.config", "KIMI_CODE_BASE_URL": ""}
    assert carried(environment | default) == environment | {"XDG_STATE_HOME": "/home/me/state"}
    assert carried({"XDG_CONFIG_HOME": "relative"}) == {}


def test_options() -> None:
    """An option of the install wins over the shell; places come by the environment anyway."""
    found = carried({"BRIDGE_PORT": "1"}, port=77, log_level=None, config="x", pid_file="y")
    assert found == {"BRIDGE_PORT": "77"}


def test_another_home() -> None:
    """A home that is not the account's goes along."""
    assert order.carried({"HOME": "/srv/me"}, {}, "/home/me") == {"HOME": "/srv/me"}


@given(
    st.dictionaries(
        st.from_regex(r"[A-Z_]{1,12}_(API_KEY|TOKEN|SECRET)", fullmatch=True), st.text()
    )
)
def test_keys(environment: dict[str, str]) -> None:
    """Nothing that looks like a secret ever does."""
    assert carried(environment) == {}


def test_passwords() -> None:
    """An address with a password stays behind and is named; an at sign in a path is no password."""
    environment = {
        "HTTPS_PROXY": PASSWORD,
        "all_proxy": "me:secret@proxy:1",
        "KIMI_CODE_BASE_URL": "https://me:secret@host/v1",
        "KIMI_SHARE_DIR": "/home/me@work/kimi",
    }
    assert carried(environment) == {"KIMI_SHARE_DIR": "/home/me@work/kimi"}
    assert order.withheld(environment) == ["KIMI_CODE_BASE_URL", "HTTPS_PROXY", "all_proxy"]


def test_keys_places() -> None:
    """Programs and variables that yield keys are found in the rows, each once."""
    places = (KeyPlace(env="A"), KeyPlace(command=("op", "read")), KeyPlace(file="~/.key"))
    rows = [replace(ROW, keys=places), replace(ROW, keys=(*places, KeyPlace(env="B")))]
    assert order.key_programs(rows) == ["op"]
    assert order.key_variables(rows, {"A": "x", "B": ""}) == ["A"]


def test_written() -> None:
    """The folders of the files that the daemon writes, each once."""
    written = order.written("/s/bridge/bridge.log", "/s/bridge/key", "/r/bridge.pid", "/k")
    assert written == ("/k", "/s/bridge", "/r")
