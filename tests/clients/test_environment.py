"""How an environment is changed, whichever client it is for."""

from __future__ import annotations

from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined] # not in typeshed

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.clients.environment import GIVEN, LOOPBACK, NO_KEY, Environment, no_proxy

MADE = Environment(
    fixed={"PLACE": "here"},
    preferred={"MODEL": "big", "SEARCH": ""},
    unset=("RIVAL",),
    stale=("TOKEN",),
    keys=("KEY",),
)
PASSING = Environment(
    fixed={"PLACE": "there"}, preferred={"MODEL": ""}, stale=("KEY",), header="LINES"
)


def changed(made: Environment, key: str = "k", **before: str) -> dict[str, str]:
    """What becomes of *before*, but for NO_PROXY."""
    after = made.applied(before, key)
    return {name: value for name, value in after.items() if name.lower() != "no_proxy"}


def test_everything_at_once() -> None:
    """Fixed values and the key are set, preferences too, rivals are gone and the rest is left."""
    after = changed(MADE, RIVAL="x", PLACE="elsewhere", KEY="stale", PATH="/bin")
    assert after == {
        "PATH": "/bin",
        "PLACE": "here",
        "MODEL": "big",
        "KEY": "k",
        GIVEN: "MODEL=big",
    }


def test_preference_of_the_person() -> None:
    """What the person set wins over a preference; set to nothing, it does not count."""
    assert changed(MADE, MODEL="mine")["MODEL"] == "mine"
    assert changed(MADE, MODEL="")["MODEL"] == "big"
    assert changed(MADE, SEARCH="on")["SEARCH"] == "on"


def test_client_inside_of_a_client() -> None:
    """What bridge gave to the outer client is not the person's choice for the inner one."""
    other = Environment(fixed={}, preferred={"MODEL": "small", "SEARCH": "off"})
    inner = changed(MADE, **changed(other))
    assert (inner["MODEL"], inner[GIVEN]) == ("big", "MODEL=big")
    assert "SEARCH" not in inner


def test_choice_inside_of_a_client() -> None:
    """Inside of a client, too, a person's choice for this very launch wins."""
    outer = changed(Environment(fixed={}, preferred={"MODEL": "small"}))
    assert changed(MADE, **{**outer, "MODEL": "mine"})["MODEL"] == "mine"


def test_choice_for_the_outer_client() -> None:
    """A choice that was made for the outer client says nothing about the inner one."""
    outer = changed(MADE, MODEL="mine")
    assert changed(MADE, **outer)["MODEL"] == "big"


def test_passing_through() -> None:
    """A client with its own credential keeps it, and loses only what an outer one was given."""
    assert changed(PASSING, KEY="own", MODEL="mine")["KEY"] == "own"
    assert changed(PASSING, KEY="own", MODEL="mine")["MODEL"] == "mine"
    after = changed(PASSING, **changed(MADE))
    assert "KEY" not in after
    assert "MODEL" not in after


def test_key_beside_a_credential() -> None:
    """The caller key can stand in a line of its own, after the lines that are there."""
    assert changed(PASSING)["LINES"] == "x-bridge-key: k"
    assert changed(PASSING, LINES="a: b")["LINES"] == "a: b\nx-bridge-key: k"


def test_no_key() -> None:
    """Without a caller key a dummy is shown, because clients do not start without one."""
    assert changed(MADE, key="")["KEY"] == NO_KEY


@pytest.mark.parametrize(
    ("before", "upper", "lower"),
    [
        ({}, LOOPBACK, LOOPBACK),
        ({"NO_PROXY": "a"}, f"a,{LOOPBACK}", f"a,{LOOPBACK}"),
        ({"no_proxy": "b"}, f"b,{LOOPBACK}", f"b,{LOOPBACK}"),
        ({"NO_PROXY": "a", "no_proxy": "b"}, f"a,{LOOPBACK}", f"b,{LOOPBACK}"),
        ({"NO_PROXY": "*"}, "*", "*"),
        ({"NO_PROXY": f"a,{LOOPBACK}"}, f"a,{LOOPBACK}", f"a,{LOOPBACK}"),
    ],
)
def test_no_proxy(before: dict[str, str], upper: str, lower: str) -> None:
    """Loopback is added to what was there, once, in both spellings."""
    assert no_proxy(before) == {"NO_PROXY": upper, "no_proxy": lower}
    assert no_proxy(no_proxy(before)) == no_proxy(before)


NAMES = st.sampled_from(["NO_PROXY", "no_proxy", "MODEL", "KEY", "PATH"])
HOSTS = st.lists(st.sampled_from(["*", "a.example", ".b.example", "10.0.0.1"])).map(",".join)


@given(st.dictionaries(NAMES, HOSTS))
def test_loopback_is_never_proxied(before: dict[str, str]) -> None:
    """Whatever was there, loopback bypasses the proxy, and so does all that did before."""
    after = MADE.applied(before, "k")
    for name in ("NO_PROXY", "no_proxy"):
        assert proxy_bypass_environment("127.0.0.1", {"no": after[name]})
        for host in ("a.example", "x.b.example", "10.0.0.1"):
            was = proxy_bypass_environment(host, {"no": before.get(name, "")})
            assert not was or proxy_bypass_environment(host, {"no": after[name]})


TEXTS = st.text(st.characters(codec="ascii", exclude_characters="\x00"), max_size=8)


@given(st.dictionaries(st.sampled_from(["MODEL", "SEARCH", "OTHER", "PLACE"]), TEXTS))
def test_twice_is_once(before: dict[str, str]) -> None:
    """A client started inside of the same client gets what it gets when started outside."""
    plain = {name: value for name, value in before.items() if name not in {"MODEL", "SEARCH"}}
    assert MADE.applied(MADE.applied(before, "k"), "k") in (
        MADE.applied(plain, "k"),
        MADE.applied({**plain, "SEARCH": before.get("SEARCH", "")}, "k"),
    )
